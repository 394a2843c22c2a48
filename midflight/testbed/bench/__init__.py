"""Benchmarks of the toolkit's own parts. Each is a function that returns figures."""
