"""The lab "Calculator"."""
