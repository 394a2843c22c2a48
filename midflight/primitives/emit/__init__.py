"""The emitter: prints compiled kernels and the code that they share as P4_16 text for v1model."""
