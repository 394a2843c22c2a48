"""The command line: `midflight`, one thin module a command."""

from midflight.cli.root import midflight as main

__all__ = ["main"]
