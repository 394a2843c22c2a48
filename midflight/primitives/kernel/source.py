"""The source of a kernel function: its syntax tree, and the places of nodes in the user's file."""

from __future__ import annotations

import ast
import copy
import inspect
import linecache
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

from midflight.errors import KernelError, Place

__all__ = ["Line", "Source", "as_load", "place_of", "quoted", "source_of"]

MAX_NESTING = 40
"""The maximum depth of an expression that a message quotes as a whole."""


class Line(int):
    """A line number, from 1, that also has its file, as helpers may be in other files than the kernel."""

    file: str

    def __new__(cls, number: int, file: str) -> Line:
        """Create the number of a line in a file."""
        self = int.__new__(cls, number)
        self.file = file
        return self


@dataclass(frozen=True, slots=True)
class Source:
    """Consecutive lines of a file, the first of which has the number `first`.

    Before an indented function, an added `if True:` takes the place of the line above. Syntax nodes have line numbers
    that are relative to these lines, from 1.
    """

    file: str
    first: int
    lines: tuple[str, ...]

    def line(self, node: ast.AST) -> Line:
        """Return the number in the file of the line on which a node starts."""
        return Line(self.first + int(getattr(node, "lineno", 1)) - 1, self.file)

    def where(self, line: Line) -> str:
        """Return a line as text for a message: `line 7`, or `line 7 of helpers.py` if it is in another file."""
        return f"line {line}" if line.file == self.file else f"line {line} of {Path(line.file).name}"

    def text(self, node: ast.AST) -> str:
        """Return a node's source on one line, normalised; only the start of it if it is nested more than 40 deep."""
        if _deeper(node, MAX_NESTING):
            place = self.place(node)
            return place.text[place.column - 1 : place.column + 40].strip() + "..."
        return ast.unparse(node)

    def place(self, node: ast.AST) -> Place:
        """Return the place of a node in the file, from its first character to its end or the end of that line."""
        number = int(getattr(node, "lineno", 1))
        text = self.lines[number - 1] if number <= len(self.lines) else ""
        raw = text.encode()
        start = len(raw[: int(getattr(node, "col_offset", 0))].decode(errors="replace"))
        if getattr(node, "end_lineno", number) == number:
            end = len(raw[: int(getattr(node, "end_col_offset", 0))].decode(errors="replace"))
        else:
            end = len(text.rstrip())
        return Place(self.file, self.first + number - 1, start + 1, max(1, end - start), text.rstrip("\n"))

    def error(self, node: ast.AST, message: str, hint: str = "") -> KernelError:
        """Return an error about a node of the kernel's syntax tree, with its place. The caller raises it."""
        return KernelError(message, place=self.place(node), hint=hint)


def as_load(target: ast.expr) -> ast.expr:
    """Return a copy of an assignment's target, such as `x` or `wire.x`, as an expression that reads it."""
    read = copy.copy(target)
    read.ctx = ast.Load()  # type: ignore[attr-defined]
    return read


def place_of(line: Line) -> Place:
    """Return the place of a whole line without its indentation. Reads the file; the text is empty if it is missing."""
    text = linecache.getline(line.file, line).rstrip("\n")
    indent = len(text) - len(text.lstrip())
    return Place(line.file, line, indent + 1, max(1, len(text) - indent), text)


def quoted(line: Line) -> str:
    """Return a line with its place and carets, as text to put before the hint of an error about another line."""
    place = place_of(line)
    return f"{place}:\n{place.caret()}\n    "


def source_of(function: Callable[..., Any]) -> tuple[Source, ast.FunctionDef]:
    """Return the source of a function defined with `def`, and its syntax tree. Reads the file.

    Raises KernelError if Python does not have the source, cannot parse it, or if it is a lambda.
    """
    try:
        lines, first = inspect.getsourcelines(function)
        file = inspect.getsourcefile(function) or "<unknown>"
    except (OSError, TypeError, SyntaxError, TokenError):  # also of a file that has changed since it was imported
        name = getattr(function, "__qualname__", repr(function))
        raise KernelError(f"the source of {name} cannot be read", hint="define the primitive in a file") from None
    try:
        source, node = _parsed(file, lines, first)
    except (RecursionError, MemoryError):
        raise Source(file, first, tuple(lines)).error(
            ast.Pass(lineno=1, col_offset=0),
            "Python cannot parse this function: an expression or a chain of branches in it is too long",
            "move parts of it into variables or helpers",
        ) from None
    except SyntaxError:  # a lambda inside a statement
        source, node = Source(file, first, tuple(lines)), ast.Pass(lineno=1, col_offset=0)
    if not isinstance(node, ast.FunctionDef):
        name = getattr(function, "__name__", "")
        raise source.error(
            node,
            "this is not a function defined with `def`",
            f"write `def {name if name.isidentifier() else 'helper'}(...):`",
        )
    return source, node


def _deeper(node: ast.AST, limit: int) -> bool:
    """Return whether a node is nested deeper than `limit`."""
    level = [node]
    for _ in range(limit):
        level = [child for each in level for child in ast.iter_child_nodes(each)]
        if not level:
            return False
    return True


def _parsed(file: str, lines: list[str], first: int) -> tuple[Source, ast.stmt]:
    if lines[0][:1].isspace():
        # An indented function parses below an added `if`, which keeps the columns of the file.
        tree = ast.parse("if True:\n" + "".join(lines)).body[0]
        assert isinstance(tree, ast.If)
        return Source(file, first - 1, ("if True:\n", *lines)), tree.body[0]
    return Source(file, first, tuple(lines)), ast.parse("".join(lines)).body[0]
