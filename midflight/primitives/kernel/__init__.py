"""The kernel language: a typed, restricted Python that runs as it stands and compiles to P4."""
