"""The encoding of commands and errors as JSON, shared by the command server and its client."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from midflight import errors
from midflight.errors import KernelErrors, MidflightError, Place

__all__ = ["SERVICE", "Json", "decoded", "encoded", "error_from", "error_text", "target"]

Json = dict[str, Any]
"""The arguments or a result of a command: a JSON object."""

SERVICE = "midflight.Controller"
_MAX_SOCKET_PATH = 107  # bytes, on Linux


def encoded(value: Json) -> bytes:
    """Return a JSON object as UTF-8 bytes. TypeError if JSON cannot represent a value."""
    return json.dumps(value).encode()


def decoded(data: bytes) -> Json:
    """Return the JSON object that `encoded` turned into bytes. ValueError if they are not JSON.

    Bytes of other JSON are not expected: most raise TypeError or ValueError.
    """
    return dict(json.loads(data))


def target(socket: Path) -> str:
    """Return the address that gRPC uses for a Unix socket: "unix:" and its absolute path.

    MidflightError if the path has more than 107 bytes, the limit of the operating system.
    """
    path = str(socket.absolute())
    if len(path.encode()) > _MAX_SOCKET_PATH:
        raise MidflightError(
            f"{path} is too long for a socket: it has {len(path.encode())} bytes, the limit is {_MAX_SOCKET_PATH}",
            hint="choose a state folder with a shorter path",
        )
    return f"unix:{path}"


def error_text(error: MidflightError) -> str:
    """Return an error as JSON text, which `error_from` decodes: its class, message, hint and place.

    For `KernelErrors`, the text has all of its errors. For a class that is not in `midflight.errors`, it names the
    nearest base class that is.
    """
    if isinstance(error, KernelErrors):
        return json.dumps({"errors": [json.loads(error_text(each)) for each in error.errors]})
    known = next(each.__name__ for each in type(error).__mro__ if getattr(errors, each.__name__, None) is each)
    place = asdict(error.place) if error.place else None
    return json.dumps({"kind": known, "message": error.message, "hint": error.hint, "place": place})


def error_from(text: str) -> MidflightError | None:
    """Return the error that `error_text` encoded, with the class, message, hint and place that the text names.

    Return None for any other text.
    """
    try:
        found = json.loads(text)
        made = KernelErrors(map(_error, found["errors"])) if "errors" in found else _error(found)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return made if isinstance(made, MidflightError) else None


def _error(found: Json) -> Any:
    place = Place(**found["place"]) if found["place"] else None
    return getattr(errors, found["kind"])(found["message"], place=place, hint=found["hint"])
