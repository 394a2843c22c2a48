"""The text of a kernel function: its syntax tree, and where in the user's file each node stands."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from midflight.errors import KernelError, Place

__all__ = ["Source", "source_of"]


@dataclass(frozen=True, slots=True)
class Source:
    """A stretch of a file. `first` is the number of its first line; a node's line counts from 1 within it."""

    file: str
    first: int
    lines: tuple[str, ...]

    def line(self, node: ast.AST) -> int:
        """Return the node's line in the file."""
        return self.first + int(getattr(node, "lineno", 1)) - 1

    def text(self, node: ast.AST) -> str:
        """Return the node as the user wrote it, on one line."""
        return ast.unparse(node)

    def place(self, node: ast.AST) -> Place:
        """Return where the node stands, as far as its first line goes."""
        number = int(getattr(node, "lineno", 1))
        text = self.lines[number - 1] if number <= len(self.lines) else ""
        raw = text.encode()
        start = len(raw[: int(getattr(node, "col_offset", 0))].decode())
        if getattr(node, "end_lineno", number) == number:
            end = len(raw[: int(getattr(node, "end_col_offset", 0))].decode())
        else:
            end = len(text.rstrip())
        return Place(self.file, self.first + number - 1, start + 1, max(1, end - start), text.rstrip("\n"))

    def error(self, node: ast.AST, message: str, hint: str = "") -> KernelError:
        """Return the error to raise about a node."""
        return KernelError(message, place=self.place(node), hint=hint)


def source_of(function: Callable[..., Any]) -> tuple[Source, ast.FunctionDef]:
    """Read and parse a function's source; KernelError where Python has not kept it."""
    try:
        lines, first = inspect.getsourcelines(function)
        file = inspect.getsourcefile(function) or "<unknown>"
    except (OSError, TypeError):
        name = getattr(function, "__qualname__", repr(function))
        raise KernelError(f"the source of {name} cannot be read", hint="put the primitive into a file") from None
    if lines[0][:1].isspace():
        # An indented function parses under a line of our own, which keeps every column as it is in the file.
        tree = ast.parse("if True:\n" + "".join(lines)).body[0]
        assert isinstance(tree, ast.If)
        node = tree.body[0]
        lines, first = ["if True:\n", *lines], first - 1
    else:
        node = ast.parse("".join(lines)).body[0]
    source = Source(file, first, tuple(lines))
    if not isinstance(node, ast.FunctionDef):
        raise source.error(node, "a kernel is a plain function", "write `def ingress(self, packet, wire):`")
    return source, node
