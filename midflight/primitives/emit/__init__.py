"""Emits compiled kernels as P4_16 text for v1model."""
