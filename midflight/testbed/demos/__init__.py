"""Demonstrations: whole jobs on the testbed, each giving its figures as a value and printing nothing."""
