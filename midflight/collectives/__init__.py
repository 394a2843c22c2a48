"""Collective operations of a job's ranks through a switch, on NumPy arrays: what `midflight.torch` is built on."""
