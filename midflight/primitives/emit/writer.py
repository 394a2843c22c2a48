"""Writes indented text line by line, and records which line of a user's source each line comes from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from textwrap import dedent, wrap

from midflight.primitives.kernel.source import Line

__all__ = ["Writer"]


WIDTH = 120
NARROW = 40
"""The width below which a statement is not broken any further, as nesting is too deep for that to help."""


class Writer:
    """Collects lines, indented by four spaces per level, and the line of the user's source that each comes from."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._depth = 0
        self._origin: Line | None = None
        self.origins: list[Line | None] = []
        """For each line of the text, the line of a kernel that it comes from, or None."""

    def line(self, text: str = "") -> None:
        """Add one line of P4 at the current indentation; an empty text adds an empty line."""
        self._lines.append("    " * self._depth + text if text else "")
        self.origins.append(self._origin)

    def long(self, text: str) -> None:
        """Add one statement. If it is wider than 120 columns, it is broken at its outermost operators and indented."""
        for number, each in enumerate(_broken(text, WIDTH - 4 * self._depth)):
            self.line(each if not number else f"    {each}")

    def comment(self, text: str) -> None:
        """Add a comment in `//`, filled to 120 columns."""
        for each in wrap(text, WIDTH - 4 * self._depth - 3, break_long_words=False, break_on_hyphens=False):
            self.line(f"// {each}")

    def lines(self, text: str) -> None:
        """Add several lines, given as one text. Their relative indentation is kept, blank lines around them are not."""
        for each in dedent(text).strip("\n").split("\n"):
            self.line(each)

    @contextmanager
    def block(self, opening: str, closing: str = "}") -> Iterator[None]:
        """Write `opening {` and, after the body of the `with`, `closing`. What the body writes is one level deeper."""
        self.long(f"{opening} {{" if opening else "{")
        self._depth += 1
        yield
        self._depth -= 1
        self.line(closing)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Indent what the body of the `with` writes by one level."""
        self._depth += 1
        yield
        self._depth -= 1

    def undo(self) -> None:
        """Remove the last line, for example to write an `else` instead of a closing brace."""
        self._lines.pop()
        self.origins.pop()

    @contextmanager
    def origin(self, line: Line) -> Iterator[None]:
        """Record `line` of the user's source as the origin of the lines written in the body."""
        outer, self._origin = self._origin, line
        yield
        self._origin = outer

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"


def _broken(text: str, width: int) -> list[str]:
    """Break a statement where the fewest parentheses enclose it: after commas, or before operators."""
    if len(text) <= width or width < NARROW:
        return [text]
    depth, places = 0, list[tuple[int, bool, int]]()
    for index, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if text.startswith(", ", index):
            places.append((depth, False, index + 1))
        elif any(text.startswith(each, index) for each in (" ? ", " : ", " && ", " || ")):
            places.append((depth, True, index))
    if not places:
        return [text]
    outermost = min(places)[:2]
    cuts = [0, *(index for *where, index in places if tuple(where) == outermost), len(text)]
    pieces = [text[start:end].strip() for start, end in pairwise(cuts)]
    first, *rest = [_broken(piece, width - 4) for piece in pieces]
    return [*_indented(first), *(line for piece in rest for line in _indented(piece))]


def _indented(lines: list[str]) -> list[str]:
    return [lines[0], *(f"    {each}" for each in lines[1:])]
