"""Measurements of the toolkit's own parts, each a function that returns figures."""
