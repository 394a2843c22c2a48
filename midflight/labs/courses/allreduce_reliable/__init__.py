"""The lab "Reliable all-reduce"."""
