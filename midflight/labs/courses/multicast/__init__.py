"""The lab "Multicast"."""
