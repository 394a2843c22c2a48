"""The lab "Decision tree"."""
