"""Limits on how much a kernel grows while it is compiled: copies of code, and constants."""

from __future__ import annotations

import ast
from collections.abc import Sequence

__all__ = ["CONSTANT", "COPIED", "Copies", "bits_of_result"]

COPIED = 1 << 18
"""The largest number of nodes of Python's syntax tree that the rounds of loops and the calls of helpers may compile."""

LEAST = 32
"""The nodes that one round or call counts as at least."""

CONSTANT = 4096
"""The largest number of bits of a constant, and of characters of a string."""


class Copies:
    """The number of syntax nodes that one kernel may still compile more than once, at first COPIED.

    The body of a loop is compiled in each round, and that of a helper in each call.
    """

    def __init__(self) -> None:
        self._left = COPIED
        self._weights: dict[int, tuple[Sequence[ast.stmt], int]] = {}

    def take(self, body: Sequence[ast.stmt], times: int) -> bool:
        """Count a body as compiled `times` times, and return whether all bodies so far are within the limit."""
        if id(body) not in self._weights:
            self._weights[id(body)] = body, sum(1 for each in body for _ in ast.walk(each))
        self._left -= max(LEAST, self._weights[id(body)][1]) * times
        return self._left >= 0


def bits_of_result(operator: type[ast.operator], left: int, right: int) -> int:
    """Return about how many bits the value of `left <operator> right` has, without computing it.

    `left` and `right` are the operands' values. The value has at most one bit more than returned. For operators other
    than `+`, `-`, `*`, `**` and `<<`, 0 is returned: their values are no longer than their operands.
    """
    one, other = left.bit_length(), right.bit_length()
    if operator is ast.Pow:
        return one * max(right, 0)
    if operator is ast.LShift:
        return one + max(right, 0)
    if operator is ast.Mult:
        return one + other - 1
    return max(one, other) if operator in (ast.Add, ast.Sub) else 0
