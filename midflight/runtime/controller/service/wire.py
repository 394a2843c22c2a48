"""Encoding of calls and errors as JSON, shared by the command server and its client."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from midflight import errors
from midflight.errors import MidflightError, Place

__all__ = ["SERVICE", "Json", "decoded", "encoded", "error_from", "error_text", "target"]

Json = dict[str, Any]
"""The arguments or the result of a call."""

SERVICE = "midflight.Controller"
_MAX_SOCKET_PATH = 107  # bytes, on Linux


def encoded(value: Json) -> bytes:
    """Encode a JSON object as bytes."""
    return json.dumps(value).encode()


def decoded(data: bytes) -> Json:
    """Decode a JSON object from bytes."""
    return dict(json.loads(data))


def target(socket: Path) -> str:
    """Return the gRPC target of a Unix socket. MidflightError if its path has more than 107 bytes."""
    path = str(socket.absolute())
    if len(path.encode()) > _MAX_SOCKET_PATH:
        raise MidflightError(
            f"{path} is too long for a socket: it has {len(path.encode())} bytes, the limit is {_MAX_SOCKET_PATH}",
            hint="choose a state folder with a shorter path",
        )
    return f"unix:{path}"


def error_text(error: MidflightError) -> str:
    """Encode an error as JSON, for `error_from`."""
    known = next(each.__name__ for each in type(error).__mro__ if getattr(errors, each.__name__, None) is each)
    place = asdict(error.place) if error.place else None
    return json.dumps({"kind": known, "message": error.message, "hint": error.hint, "place": place})


def error_from(text: str) -> MidflightError | None:
    """Decode an error from the result of `error_text`. Return None for any other text."""
    try:
        found = json.loads(text)
        kind = getattr(errors, found["kind"])
        place = Place(**found["place"]) if found["place"] else None
        made = kind(found["message"], place=place, hint=found["hint"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return made if isinstance(made, MidflightError) else None
