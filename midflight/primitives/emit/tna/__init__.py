"""The emitter for Tofino's architectures: the same kernels as P4_16 for TNA and T2NA."""
