"""The lab "Query pruning"."""
