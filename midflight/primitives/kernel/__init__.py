"""The kernel language: a typed subset of Python that runs unchanged as the reference and compiles to P4."""
