"""The error for a condition that did not become true in time, with its place in the user's source."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from midflight.errors import MidflightError, Place

__all__ = ["overdue"]


def overdue(until: Callable[[], bool], timeout: float | None) -> MidflightError:
    """Return the error for a condition, `until`, that did not become true within `timeout` seconds.

    A timeout of None means that a simulated network has no more events. The error's place is the line of the user's
    source that defines `until`, if it can be found.
    """
    place = None
    try:
        lines, first = inspect.getsourcelines(until)
        file = inspect.getsourcefile(until)
    except (OSError, TypeError):  # a built-in, or typed at a prompt
        file = None
    if file is not None:
        text = lines[0].rstrip("\n")
        column = len(text) - len(text.lstrip())
        place = Place(file, first, column + 1, len(text) - column, text)
    if timeout is None:
        message = "the simulated network has no more events, and this condition is not true"
        return MidflightError(message, place=place, hint="check that all endpoints that must take part do so")
    hint = "check that all endpoints that must take part do so, or allow a larger timeout"
    return MidflightError(f"this condition did not become true within {timeout:g} s", place=place, hint=hint)
