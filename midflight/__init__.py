"""Midflight: in-network computing for programmable switches."""

__version__ = "0.1.0"
