"""The lab "Link monitoring"."""
