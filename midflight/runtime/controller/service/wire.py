"""Calls and errors as JSON: what a controller's server and its client share."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from midflight import errors
from midflight.errors import MidflightError, Place

__all__ = ["SERVICE", "Json", "decoded", "encoded", "error_from", "error_text", "target"]

Json = dict[str, Any]
"""The arguments of a call, or its result."""

SERVICE = "midflight.Controller"
_LONGEST = 107  # bytes of a Unix socket's path


def encoded(value: Json) -> bytes:
    """Return a JSON object as bytes."""
    return json.dumps(value).encode()


def decoded(data: bytes) -> Json:
    """Return the JSON object of these bytes."""
    return dict(json.loads(data))


def target(socket: Path) -> str:
    """Return a socket's path as gRPC takes it; MidflightError if it is too long for a Unix socket."""
    path = str(socket.absolute())
    if len(path.encode()) > _LONGEST:
        raise MidflightError(
            f"{path} is too long for a socket: {len(path.encode())} bytes, of {_LONGEST}",
            hint="choose a state folder with a shorter path",
        )
    return f"unix:{path}"


def error_text(error: MidflightError) -> str:
    """Return an error as JSON, for `error_from`."""
    known = next(each.__name__ for each in type(error).__mro__ if getattr(errors, each.__name__, None) is each)
    place = asdict(error.place) if error.place else None
    return json.dumps({"kind": known, "message": error.message, "hint": error.hint, "place": place})


def error_from(text: str) -> MidflightError | None:
    """Return the error that `error_text` has told; None if the text is something else."""
    try:
        found = json.loads(text)
        kind = getattr(errors, found["kind"])
        place = Place(**found["place"]) if found["place"] else None
        made = kind(found["message"], place=place, hint=found["hint"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return made if isinstance(made, MidflightError) else None
