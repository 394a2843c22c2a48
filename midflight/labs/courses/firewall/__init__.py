"""The lab "Bloom-filter firewall"."""
