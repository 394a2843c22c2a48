"""The text of a kernel function: its syntax tree, and where in the user's file each node stands."""

from __future__ import annotations

import ast
import copy
import inspect
import linecache
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midflight.errors import KernelError, Place

__all__ = ["Line", "Source", "as_load", "place_of", "quoted", "source_of"]

MAX_NESTING = 40
"""How deep an expression may be for a message to quote it whole."""


class Line(int):
    """The number of a line; knows its file, as the helpers of a kernel may be in other ones."""

    file: str

    def __new__(cls, number: int, file: str) -> Line:
        """Number the line."""
        self = int.__new__(cls, number)
        self.file = file
        return self


@dataclass(frozen=True, slots=True)
class Source:
    """A stretch of a file. `first` is the number of its first line; a node's line counts from 1 within it."""

    file: str
    first: int
    lines: tuple[str, ...]

    def line(self, node: ast.AST) -> Line:
        """Return the node's line in the file."""
        return Line(self.first + int(getattr(node, "lineno", 1)) - 1, self.file)

    def where(self, line: Line) -> str:
        """Return which line it is, for a message: of which file, if it is another one."""
        return f"line {line}" if line.file == self.file else f"line {line} of {Path(line.file).name}"

    def text(self, node: ast.AST) -> str:
        """Return the node as the user wrote it, on one line; the first line of one that is too deep for a message."""
        if _deeper(node, MAX_NESTING):
            place = self.place(node)
            return place.text[place.column - 1 : place.column + 40].strip() + "..."
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


def as_load(target: ast.expr) -> ast.expr:
    """Return an assignment's target as an expression that reads it."""
    read = copy.copy(target)
    read.ctx = ast.Load()  # type: ignore[attr-defined]
    return read


def place_of(line: Line) -> Place:
    """Return where a line stands, all of it."""
    text = linecache.getline(line.file, line).rstrip("\n")
    indent = len(text) - len(text.lstrip())
    return Place(line.file, line, indent + 1, max(1, len(text) - indent), text)


def quoted(line: Line) -> str:
    """Return a line with its place, to stand before the hint of an error that is about another line as well."""
    place = place_of(line)
    return f"{place}:\n{place.caret()}\n    "


def source_of(function: Callable[..., Any]) -> tuple[Source, ast.FunctionDef]:
    """Read and parse a function's source; KernelError where Python has not kept it."""
    try:
        lines, first = inspect.getsourcelines(function)
        file = inspect.getsourcefile(function) or "<unknown>"
    except (OSError, TypeError):
        name = getattr(function, "__qualname__", repr(function))
        raise KernelError(f"the source of {name} cannot be read", hint="put the primitive into a file") from None
    try:
        source, node = _parsed(file, lines, first)
    except (RecursionError, MemoryError):
        raise Source(file, first, tuple(lines)).error(
            ast.Pass(lineno=1, col_offset=0),
            "Python cannot parse this function: an expression or a chain of branches in it is too long",
            "put parts of it into variables or helpers",
        ) from None
    except SyntaxError:  # a lambda in the midst of a statement
        source, node = Source(file, first, tuple(lines)), ast.Pass(lineno=1, col_offset=0)
    if not isinstance(node, ast.FunctionDef):
        name = getattr(function, "__name__", "")
        raise source.error(
            node,
            "this is not a function that is written with `def`",
            f"write `def {name if name.isidentifier() else 'helper'}(...):`",
        )
    return source, node


def _deeper(node: ast.AST, limit: int) -> bool:
    """Tell whether a node has more than so many others inside each other."""
    level = [node]
    for _ in range(limit):
        level = [child for each in level for child in ast.iter_child_nodes(each)]
        if not level:
            return False
    return True


def _parsed(file: str, lines: list[str], first: int) -> tuple[Source, ast.stmt]:
    if lines[0][:1].isspace():
        # An indented function parses under a line of our own, which keeps every column as it is in the file.
        tree = ast.parse("if True:\n" + "".join(lines)).body[0]
        assert isinstance(tree, ast.If)
        return Source(file, first - 1, ("if True:\n", *lines)), tree.body[0]
    return Source(file, first, tuple(lines)), ast.parse("".join(lines)).body[0]
