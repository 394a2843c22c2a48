"""A change in two steps, of which only the second one holds the switch's lock."""

from __future__ import annotations

from collections.abc import Callable, Generator

__all__ = ["Change", "Undo", "apply"]

Undo = Callable[[], None]
"""Undoes a change."""

Change = Generator[None, None, Undo]
"""Yields once, when all that depends on the pipeline's program and the message alone has been checked and decoded.

Until then it takes no lock and reads nothing that another change writes. Then it changes the pipeline. Either step may
raise Refusal, and leaves everything as it was.
"""


def apply(change: Change) -> Undo:
    """Do the second step. The caller holds the switch's lock."""
    try:
        next(change)
    except StopIteration as end:
        undo: Undo = end.value
        return undo
    raise AssertionError("a change yields once")
