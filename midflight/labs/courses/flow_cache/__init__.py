"""The lab "Flow cache"."""
