"""From checked kernels to P4_16 text for v1model."""
