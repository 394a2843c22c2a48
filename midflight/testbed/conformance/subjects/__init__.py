"""The primitives as subjects of tests: one module for each, named like the primitive's own, with a `SUBJECT`."""
