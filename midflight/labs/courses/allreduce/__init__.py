"""The lab "All-reduce"."""
