"""Errors for what was waited for and did not come."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from midflight.errors import MidflightError, Place

__all__ = ["overdue"]


def overdue(until: Callable[[], bool], timeout: float | None) -> MidflightError:
    """Return the error for a condition that did not hold within `timeout` seconds; None: nothing more will happen.

    Its place is the condition in the user's source.
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
        message = "nothing more happens in the simulated network, and this does not hold"
        return MidflightError(message, place=place, hint="see whether all who have to take part do")
    hint = "see whether all who have to take part do, or allow a larger timeout"
    return MidflightError(f"this did not hold within {timeout:g} s", place=place, hint=hint)
