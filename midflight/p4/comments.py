"""Replaces comments, and lines that start with `#` but no directive, by spaces before the preprocessor runs.

C does so as well (C11, 5.1.1.2). Each remaining character keeps its line and column.
"""

from __future__ import annotations

import re

__all__ = ["OpenCommentError", "blank"]

DIRECTIVES = frozenset(
    [
        "define",
        "elif",
        "else",
        "endif",
        "error",
        "if",
        "ifdef",
        "ifndef",
        "include",
        "line",
        "pragma",
        "undef",
        "warning",
    ]
)
"""The words after `#` that make a line a directive."""

# A string may be left open: the tokeniser reports it. The last alternative is a single mark that starts nothing.
_PART = re.compile(r'"(?:[^"\\\n]|\\.)*"?|//|/\*|\\[ \t\r]*\n|\n|[^"/\\\n]+|.')
_LINE_COMMENT = re.compile(r"(?:[^\\\n]|\\(?![ \t\r]*\n)|\\[ \t\r]*\n)*")
_DIRECTIVE = re.compile(r"\s*#[ \t]*(\w*)")
_NOT_SPACE = re.compile(r"[^\s]")
# Characters that Python, and so pcpp, takes for line breaks, but that are none in P4.
_BREAKS = re.compile("[\v\f\x1c\x1d\x1e\x85\u2028\u2029]|\r(?!\n)")


class OpenCommentError(Exception):
    """A block comment is not closed. `start` is the offset of its `/*` in the text."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self.start = start


def blank(text: str) -> str:
    """Return a text with comments, and lines that start with `#` but no directive, replaced by spaces.

    Lines and columns of the rest stay the same. A comment inside a directive does not end it: its line breaks become
    continuations. Other line breaks than line feeds, such as form feeds, become spaces. Raises OpenCommentError for a
    block comment that is not closed.
    """
    if "#" not in text and "/" not in text:
        return _BREAKS.sub(" ", text)
    kept: list[str] = []
    at, fresh, directive, dropped = 0, True, False, False
    while at < len(text):
        match = _PART.match(text, at)
        assert match is not None
        part, end = match[0], match.end()
        if part == "\n":
            fresh, directive, dropped = True, False, False
        elif part == "//":
            end = _end(_LINE_COMMENT, text, at)
            part = _spaces(text[at:end])
        elif part == "/*":
            closed = text.find("*/", end)
            if closed < 0:
                raise OpenCommentError(at)
            end = closed + 2
            part = _spaces(text[at:end])
            if directive and not dropped:
                part = part.replace("\n", "\\\n")
        elif fresh and (found := _DIRECTIVE.match(part)):
            fresh, directive = False, True
            dropped = found[1] not in DIRECTIVES
        elif fresh and part.strip() and not part.startswith("\\"):
            fresh = False
        kept.append(_spaces(part) if dropped and part != "\n" else part)
        at = end
    return _BREAKS.sub(" ", "".join(kept))


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    assert match is not None
    return match.end()


def _spaces(text: str) -> str:
    return _NOT_SPACE.sub(" ", text)
