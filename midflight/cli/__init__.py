"""The `midflight` command line. Each command is a thin module of its own."""

from midflight.cli.root import midflight as main

__all__ = ["main"]
