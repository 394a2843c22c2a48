"""Helpers of endpoints for the messages of one application: decoding, counters of refused ones, kinds between hosts."""

from __future__ import annotations

import operator
from collections.abc import Container
from dataclasses import dataclass

from midflight.errors import WireError
from midflight.primitives import Message, Schema

__all__ = ["ASK", "FOUND", "MISSING", "Refused", "decoded", "whole"]

ASK = 8
"""Kind of a message that asks another host for the outcome of a request. Switches only forward it."""

FOUND = 9
"""Kind of a positive reply to an `ASK`, if a plain result would not show which question it answers."""

MISSING = 10
"""Kind of a negative reply to an `ASK`: the host does not have the outcome."""


@dataclass(slots=True)
class Refused:
    """Counters of the datagrams that an endpoint refused, by reason. A refused datagram changes nothing else.

    `malformed` were no message of the application, or of a kind that this endpoint does not process; the others had
    another `token`, came from a `source` that such messages cannot have, or were of another `job` or `epoch`.
    """

    malformed: int = 0  # not a message of the application, or of a kind that this endpoint does not take
    token: int = 0  # with another token than the application's members have
    source: int = 0  # from an address and port that such a message cannot come from
    job: int = 0  # of another job
    epoch: int = 0  # of an epoch that the endpoint does not rely on


def decoded(
    schema: Schema, application: str, datagram: bytes, kinds: Container[int], refused: Refused
) -> Message | None:
    """Return the message in a datagram, or None if it is invalid or not for this application and one of these kinds.

    It also has to carry the schema's token for the application. In the case of None, the counter in `refused` for the
    reason is increased. Raises nothing.
    """
    try:
        message = schema.decode(datagram)
    except WireError:
        refused.malformed += 1
        return None
    if message.application != application or message.kind not in kinds:
        refused.malformed += 1
        return None
    if message.token != schema.token(application):
        refused.token += 1
        return None
    return message


def whole(message: Message, name: str) -> int:
    """Return the value of a message's field that has no lanes, as an int. KeyError if the message has no such field."""
    return operator.index(message.fields[name])  # type: ignore[arg-type]
