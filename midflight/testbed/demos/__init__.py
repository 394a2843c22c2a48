"""Demonstrations: whole jobs on the testbed. Each returns its figures as a value and prints nothing."""
