"""The wire format: a message is the payload of a UDP datagram, encoded by the schema that a program generates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import Any, Final

import numpy as np

from midflight.errors import WireError
from midflight.primitives.items import RecordWithItems, record_of
from midflight.primitives.record import FieldValue, Record

__all__ = ["FOR_HOST", "REQUEST", "RESULT", "RESULT_FOR_ALL", "UDP_PORT", "VERSION", "Message", "Schema", "record_type"]

UDP_PORT: Final = 19782
"""The UDP destination port of requests: 0x4D46, "MF"."""

VERSION: Final = 2
"""The version in the first byte of the common header. Hosts and switches reject messages with another one."""

REQUEST: Final = 1
"""The kind of a request, on which switches compute."""

RESULT: Final = 2
"""The kind of a result, which switches forward."""

RESULT_FOR_ALL: Final = 3
"""The kind of a result from a switch to those below it, which send it to all their members."""

FOR_HOST: Final = 4
"""The kind of a request after `packet.fallback`: the host that it is addressed to computes, switches only forward."""

# 16 and 17 are used between a switch and its controller, and 8 to 15 between hosts.

COMMON_FIELDS: Final = (("version", 8), ("kind", 8), ("application", 16), ("sequence", 32), ("token", 64))
"""The fields of the common header, with which every message starts, in wire order with their widths in bits."""

COMMON: Final = 16
"""The common header's length in bytes."""

_COMMON = Struct("!BBHIQ")


def record_type(fields: Iterable[tuple[str, int, bool, int | None]]) -> np.dtype[np.void]:
    """Return the NumPy type of a UDP payload: the common header's fields, then an application's fields, big-endian.

    `fields` are tuples (name, bits, signed, number of lanes, or None for a single number). An array of this type
    decodes or encodes many messages at once. Raises WireError for a field that does not have 8, 16, 32 or 64 bits.
    """
    described: list[Any] = []
    for name, bits, signed, count in (*((*each, False, None) for each in COMMON_FIELDS), *fields):
        if bits not in (8, 16, 32, 64):
            raise WireError(f"{name} has {bits} bits, but NumPy numbers have 8, 16, 32 or 64")
        number = f">{'i' if signed else 'u'}{bits // 8}"
        described.append((name, number) if count is None else (name, number, (count,)))
    return np.dtype(described)


@dataclass(frozen=True, slots=True)
class Message:
    """A message of an application: the decoded payload of a UDP datagram.

    `kind` is 8 bits wide, for example REQUEST or RESULT. `application` is the application's name. `sequence` (32 bits)
    is the sender's number for the message. `fields` are the values of the application's header by name: ints, and for
    lanes arrays or sequences of ints. `payload` is the data behind that header. `token` (64 bits) is the secret of the
    application's members; 0 means that `Schema.encode` inserts the token that the schema has. Nothing is checked before
    a message is encoded.
    """

    kind: int
    application: str
    sequence: int
    fields: Mapping[str, FieldValue] = field(default_factory=dict)
    payload: bytes = b""
    token: int = 0

    def __eq__(self, other: object) -> bool:
        """Compare by value; arrays compare equal to sequences with the same numbers."""
        if not isinstance(other, Message):
            return NotImplemented
        mine, theirs = (self._plain(), other._plain())
        return mine == theirs

    def __hash__(self) -> int:
        return hash((self.kind, self.application, self.sequence, self.payload))

    def _plain(self) -> tuple[Any, ...]:
        fields = {
            name: value.tolist()
            if isinstance(value, np.ndarray)
            else ([*value] if isinstance(value, Sequence) else int(value))
            for name, value in self.fields.items()
        }
        return self.kind, self.application, self.sequence, fields, self.payload, self.token


@dataclass(frozen=True, slots=True)
class _Application:
    name: str
    id: int
    record: Record | RecordWithItems


class Schema:
    """Encodes and decodes messages. `schema` is the dict that `Program.schema()` returns, or the same from JSON.

    `tokens` are the secrets of applications' members by application name, which `encode` writes into messages. An
    application that is not in it has the token 0, as those have that anybody may send to. Raises WireError if `schema`
    has another structure.
    """

    def __init__(self, schema: Mapping[str, Any], tokens: Mapping[str, int] | None = None) -> None:
        self._tokens = dict(tokens or {})
        try:
            applications = [
                _Application(name, int(each["id"]), record_of(name, each))
                for name, each in schema["applications"].items()
            ]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WireError(f"this is not a wire schema: {error!r}") from None
        self._alerts = {
            each["alert"]["name"]: [(field["bits"], field["signed"]) for field in each["alert"]["fields"]]
            for each in schema["applications"].values()
            if each.get("alert")
        }
        self._by_name = {each.name: each for each in applications}
        self._by_id = {each.id: each for each in applications}

    def alert(self, digest: str, values: Iterable[int]) -> tuple[int, ...]:
        """Return the numbers of an alert as the kernel raised them, with the signs that a P4 digest does not carry.

        `digest` is the name of the P4 digest. `values` are the digest's fields in order, as unsigned numbers;
        ValueError if their number is wrong. Raises WireError for a digest that no application has.
        """
        if digest not in self._alerts:
            raise WireError(f"no application has a digest {digest!r}: there are {', '.join(self._alerts) or 'none'}")
        fields = zip(values, self._alerts[digest], strict=True)
        return tuple(
            value - (1 << bits) if signed and value >> (bits - 1) == 1 else value for value, (bits, signed) in fields
        )

    def token(self, application: str) -> int:
        """Return the token of an application's members as passed to the constructor; 0 for any other name."""
        return self._tokens.get(application, 0)

    def encode(self, message: Message) -> bytes:
        """Return a message as a UDP payload: common header, the application's header, payload.

        A message with token 0 gets the application's token. Raises WireError for an unknown application, for missing or
        unknown fields, and for a kind, sequence, token or field that does not fit its width.
        """
        application = self._by_name.get(message.application)
        if application is None:
            raise WireError(f"no application {message.application!r}: there are {', '.join(self._by_name)}")
        token = message.token or self.token(message.application)
        for what, value, bits in (("kind", message.kind, 8), ("sequence", message.sequence, 32), ("token", token, 64)):
            if not 0 <= value < 1 << bits:
                raise WireError(f"{message.application}: {what} {value} does not fit bit[{bits}]")
        common = _COMMON.pack(VERSION, message.kind, application.id, message.sequence, token)
        return common + application.record.encode(message.fields) + message.payload

    def decode(self, data: bytes | memoryview) -> Message:
        """Return the message in a UDP payload.

        Lane fields are NumPy arrays in native byte order, or lists above 64 bits. The token is returned as received,
        without comparing it. Raises WireError if the data is too short, has another `VERSION`, names an unknown
        application id, or counts more items than the header can have. Bytes behind the headers become the message's
        `payload`.
        """
        if len(data) < COMMON:
            raise WireError(f"{len(data)} bytes are too short for the common header of {COMMON} bytes")
        if data[0] != VERSION:
            raise WireError(f"the message has version {data[0]}; only version {VERSION} is supported")
        _, kind, number, sequence, token = _COMMON.unpack_from(data)
        application = self._by_id.get(number)
        if application is None:
            raise WireError(f"no application has the id {number}")
        end = COMMON + application.record.length(data[COMMON:])
        if len(data) < end:
            raise WireError(f"{application.name}: the message has {len(data)} bytes, but needs {end}")
        fields = application.record.decode(data[COMMON:end])
        return Message(kind, application.name, sequence, fields, bytes(data[end:]), token)
