"""Changes of a pipeline in two steps, of which only the second one holds the switch's lock."""

from __future__ import annotations

from collections.abc import Callable, Generator

from midflight.runtime.engine import Reason, TableError
from midflight.runtime.p4runtime.status import Code, Refusal

__all__ = ["Change", "Undo", "apply", "refusal_of"]

CODES = {
    Reason.EXISTS: Code.ALREADY_EXISTS,
    Reason.NOT_FOUND: Code.NOT_FOUND,
    Reason.FULL: Code.RESOURCE_EXHAUSTED,
    Reason.INVALID: Code.INVALID_ARGUMENT,
    Reason.CONSTANT: Code.PERMISSION_DENIED,
    Reason.IN_USE: Code.FAILED_PRECONDITION,
}

Undo = Callable[[], None]
"""Undoes a change."""

Change = Generator[None, None, Undo]
"""Yields once, when all that depends on the pipeline's program and the message alone has been checked and decoded.

Until then it takes no lock and reads nothing that another change writes. Then it changes the pipeline. Either step may
raise Refusal, and leaves everything as it was.
"""


def apply(change: Change) -> Undo:
    """Do the second step of a change, which modifies the pipeline, and return the function that undoes it.

    The caller holds the switch's lock. Refusal if the pipeline cannot take the change; it is then unmodified.
    """
    try:
        next(change)
    except StopIteration as end:
        undo: Undo = end.value
        return undo
    raise AssertionError("a change yields once")


def refusal_of(error: TableError) -> Refusal:
    """Return the P4Runtime error for an error that the engine raised when it modified a table."""
    return Refusal(CODES[error.reason], error.message)
