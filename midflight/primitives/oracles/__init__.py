"""Oracles: second implementations of the primitives, in NumPy and Python, which share no code with the kernels."""
