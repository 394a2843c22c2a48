"""The lab "Compute-aware steering"."""
