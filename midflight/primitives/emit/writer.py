"""Indented text, line by line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import dedent

__all__ = ["Writer"]


class Writer:
    """Collects lines at the current depth, four spaces each."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._depth = 0

    def line(self, text: str = "") -> None:
        """Add one line; an empty one stays empty."""
        self._lines.append("    " * self._depth + text if text else "")

    def lines(self, text: str) -> None:
        """Add a text of several lines, its own indentation kept below the current one."""
        for each in dedent(text).strip("\n").split("\n"):
            self.line(each)

    @contextmanager
    def block(self, opening: str, closing: str = "}") -> Iterator[None]:
        """Write what follows between braces, one step deeper."""
        self.line(f"{opening} {{" if opening else "{")
        self._depth += 1
        yield
        self._depth -= 1
        self.line(closing)

    def undo(self) -> None:
        """Take the last line back."""
        self._lines.pop()

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"
