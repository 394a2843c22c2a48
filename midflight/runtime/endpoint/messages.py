"""Messages of one application out of datagrams, and the whole numbers in them."""

from __future__ import annotations

import operator

from midflight.errors import WireError
from midflight.primitives import Message, Schema

__all__ = ["ASK", "LACKS", "TOLD", "decoded", "whole"]

ASK = 8
"""The kind of a message that asks another host for what came of a request; switches forward it."""

TOLD = 9
"""The kind of the answer to such a message that has it, where a result would not tell which it answers."""

LACKS = 10
"""The kind of the answer that does not have it."""


def decoded(schema: Schema, application: str, datagram: bytes) -> Message | None:
    """Return the message in a datagram; None where it is none, or another application's."""
    try:
        message = schema.decode(datagram)
    except WireError:
        return None
    return message if message.application == application else None


def whole(message: Message, name: str) -> int:
    """Return a field that is a single number."""
    return operator.index(message.fields[name])  # type: ignore[arg-type]
