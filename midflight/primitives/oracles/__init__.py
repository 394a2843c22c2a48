"""Independent implementations of the primitives in NumPy. They share no code with the kernels that they check."""
