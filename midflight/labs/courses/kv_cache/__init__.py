"""The lab "Key-value cache"."""
