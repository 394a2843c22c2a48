"""The primitives as subjects of tests: one module each, named like the primitive's own, with a `SUBJECT`."""
