"""Mutants of a P4 program: its text with one plausible mistake."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from midflight.errors import P4Error
from midflight.p4.frontend import check

__all__ = ["TextMutant", "text_mutants"]

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:[^\"\\\n]|\\.)*\"", re.DOTALL)
_BLOCK = re.compile(r"\b(?:control|parser)\s+\w+\s*(?:<[^>]*>)?\s*\(")
_OPERATORS = {
    "==": "!=", "!=": "==", "<=": "<", ">=": ">", "&&": "||", "||": "&&", " < ": " <= ", " > ": " >= ", " + ": " - ",
    " - ": " + ", " & ": " | ", " | ": " & ", "|+|": " + ", "|-|": " - ",
}  # fmt: skip
_OPERATOR = re.compile("|".join(re.escape(each) for each in sorted(_OPERATORS, key=len, reverse=True)))
_NUMBER = re.compile(r"(?<![\w<.])(\d+[ws])?(0x[0-9a-fA-F]+|\d+)(?![\w>.])")
_CONDITION = re.compile(r"\bif\s*(\((?:[^()\n]|\([^()\n]*\))*\))")
_STATEMENT = re.compile(r"^[ \t]*((?:[\w.]+|\[[^\]\n]*\])+(?:\([^\n]*\)|\s*=[^=\n][^\n]*));[ \t]*$", re.MULTILINE)
_PROPERTY = re.compile(r"^(size|key|actions|default_action|const|implementation|counters|meters|transition)\b")


@dataclass(frozen=True, slots=True)
class TextMutant:
    """A changed program. `name` has its line before and after the change, with a number if that occurs again."""

    name: str
    text: str


def text_mutants(text: str, file: str, count: int) -> list[TextMutant]:
    """Return up to `count` mutants of a P4 program that are valid programs, the same ones every time.

    A mutant has another operator or constant, a condition negated, or a statement left out, in a parser or a control.
    Which ones are chosen depends on what they change, not on where. `file` is the program's name, in whose folder its
    included files are.
    """
    drawn = sorted(_candidates(text), key=lambda each: hashlib.sha256(each.name.encode()).digest())
    found: list[TextMutant] = []
    for each in drawn:
        if len(found) == count:
            break
        try:
            check(each.text, file)
        except P4Error:
            continue
        found.append(each)
    return found


def _candidates(text: str) -> Iterator[TextMutant]:
    code = _COMMENT.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    taken: Counter[str] = Counter()
    for start, end, new in sorted(_changes(code)):
        changed = text[:start] + new + text[end:]
        name = f"{_line(text, start)} -> {_line(changed, start)}"
        taken[name] += 1
        yield TextMutant(name if taken[name] == 1 else f"{name} ({taken[name]})", changed)


def _changes(code: str) -> Iterator[tuple[int, int, str]]:
    """Yield places in the text, each with what replaces it."""
    for first, last in _bodies(code):
        for found in _OPERATOR.finditer(code, first, last):
            yield found.start(), found.end(), _OPERATORS[found[0]]
        for found in _NUMBER.finditer(code, first, last):
            yield found.start(2), found.end(2), str(int(found[2], 0) + 1)
        for found in _CONDITION.finditer(code, first, last):
            yield found.start(1), found.end(1), f"(!{found[1]})"
        for found in _STATEMENT.finditer(code, first, last):
            if not _PROPERTY.match(found[1]):
                yield found.start(1), found.end(1), ""


def _bodies(code: str) -> Iterator[tuple[int, int]]:
    """Yield where the bodies of parsers and controls begin and end."""
    for found in _BLOCK.finditer(code):
        start = code.find("{", found.end())
        if start < 0 or ";" in code[found.end() : start]:
            continue  # a declaration of a type
        depth = 0
        for at in range(start, len(code)):
            depth += (code[at] == "{") - (code[at] == "}")
            if depth == 0:
                yield start, at
                break


def _line(text: str, at: int) -> str:
    start = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    return text[start : None if end < 0 else end].strip()
