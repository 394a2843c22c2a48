"""Fabrics: what a topology is brought to life with, behind one small interface."""
