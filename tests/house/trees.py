"""Syntax trees of the package's modules, which several checks read."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

__all__ = ["tree_of"]


@cache
def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a file of this repository, which must not be modified."""
    return ast.parse(path.read_text(encoding="utf-8"))
