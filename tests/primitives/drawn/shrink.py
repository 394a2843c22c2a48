"""Shrinking of the text of a failing primitive, by removing statements as long as it still fails."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

__all__ = ["shrunk"]


def shrunk(text: str, fails: Callable[[str], bool], tries: int = 300) -> str:
    """Return a text that still fails, from which no statement can be removed. Stops after `tries` attempts."""
    text = ast.unparse(ast.parse(text))
    place = 0
    while tries > 0:
        shorter = _without(text, place)
        if shorter is None:
            break
        for each in shorter:
            tries -= 1
            if fails(each):
                text = each
                break
        else:
            place += 1
    return text


def _without(text: str, place: int) -> list[str] | None:
    """Return variants of the text without one statement, or with its contents instead; None after the last one."""
    found = []
    for inside in (None, "body", "orelse"):
        tree = ast.parse(text)
        bodies = [*_bodies(tree)]
        position = place
        for body in reversed(bodies):
            if position < len(body):
                at = len(body) - 1 - position
                instead: list[ast.stmt] = [] if inside is None else getattr(body[at], inside, [])
                if inside is None or (instead and isinstance(body[at], (ast.If, ast.For))):
                    body[at : at + 1] = instead
                    body[:] = body or [ast.Pass()]
                    made = ast.unparse(tree)
                    if made != text:
                        found.append(made)
                break
            position -= len(body)
        else:
            return None
    return found


def _bodies(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(tree):
        for name in ("body", "orelse"):
            body = getattr(node, name, None)
            if isinstance(body, list) and body:
                yield body
