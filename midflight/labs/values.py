"""Values that cross the pipe to a student's process, as JSON: numbers, texts, bytes, lists and dictionaries."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["pack", "unpack"]

_DEPTH = 32


def pack(value: Any, depth: int = 0) -> Any:
    """Return a value as JSON data. Tuples become lists, and integers of other libraries become Python's.

    TypeError for other types, and ValueError for numbers that are not finite and for more than 32 levels of nesting.
    """
    if depth > _DEPTH:
        raise ValueError("the value is nested too deeply")
    match value:
        case None | bool() | str():
            return value
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{value} is not a finite number")
            return value
        case bytes() | bytearray():
            return {"bytes": bytes(value).hex()}
        case list() | tuple():
            return [pack(each, depth + 1) for each in value]
        case dict():
            return {"dict": [[pack(key, depth + 1), pack(each, depth + 1)] for key, each in value.items()]}
    if hasattr(value, "SerializeToString"):  # a protobuf message
        return {"bytes": value.SerializeToString().hex()}
    if hasattr(value, "__index__"):
        return int(value.__index__())
    raise TypeError(f"a {type(value).__name__} cannot be passed on")


def unpack(value: Any) -> Any:
    """Return the value that JSON data from `pack` stands for. ValueError for data that `pack` does not produce."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list():
            return [unpack(each) for each in value]
        case {"bytes": str(text)}:
            return bytes.fromhex(text)
        case {"dict": list(pairs)}:
            try:
                return {unpack(key): unpack(each) for key, each in pairs}
            except TypeError:
                raise ValueError("the key of a dictionary is a list") from None
    raise ValueError("not a value")
