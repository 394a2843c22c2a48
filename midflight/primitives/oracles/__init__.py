"""What the primitives compute, said a second time in NumPy; shares no code with the kernels it checks."""
