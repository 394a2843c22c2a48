"""The lab "Source routing"."""
