"""The entry point that PyTorch calls when it is imported. It does not import PyTorch, which is not ready then."""

from __future__ import annotations

__all__ = ["autoload"]


def autoload() -> None:
    """Do nothing: to call this, PyTorch has imported the package, which registers the backend."""
