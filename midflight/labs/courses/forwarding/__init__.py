"""The lab "IPv4 forwarding"."""
