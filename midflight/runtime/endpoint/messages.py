"""Helpers for the messages of one application: decoding, integer fields, and the kinds used between hosts."""

from __future__ import annotations

import operator

from midflight.errors import WireError
from midflight.primitives import Message, Schema

__all__ = ["ASK", "FOUND", "MISSING", "decoded", "whole"]

ASK = 8
"""Kind of a message that asks another host for the outcome of a request. Switches forward it."""

FOUND = 9
"""Kind of a positive reply to such a question, where a result would not identify the question."""

MISSING = 10
"""Kind of a negative reply: the host does not have it."""


def decoded(schema: Schema, application: str, datagram: bytes) -> Message | None:
    """Return the message in a datagram, or None if there is none or it belongs to another application."""
    try:
        message = schema.decode(datagram)
    except WireError:
        return None
    return message if message.application == application else None


def whole(message: Message, name: str) -> int:
    """Return a field that is a single integer."""
    return operator.index(message.fields[name])  # type: ignore[arg-type]
