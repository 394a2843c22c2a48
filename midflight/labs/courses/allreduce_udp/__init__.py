"""The lab "All-reduce over UDP"."""
