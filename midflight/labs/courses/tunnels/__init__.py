"""The lab "Tunnels"."""
