"""The wire: messages as values, and their bytes in a UDP payload, by the schema that a program generates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from midflight.errors import WireError

__all__ = ["REQUEST", "RESULT", "UDP_PORT", "VERSION", "FieldValue", "Message", "Schema", "lane_dtype", "record_type"]

UDP_PORT: Final = 19782
"""The UDP port of switches that compute: 0x4D46, "MF"."""

VERSION: Final = 1
REQUEST: Final = 1
"""The kind of a message that is to be computed on."""

RESULT: Final = 2
"""The kind of a message that carries a result; switches forward it."""

COMMON_FIELDS: Final = (("version", 8), ("kind", 8), ("application", 16), ("sequence", 32))
"""The common header's fields and their bits."""

COMMON: Final = 8
"""The common header's length in bytes."""

Array = npt.NDArray[Any]
FieldValue = int | Sequence[int] | Array
"""A field's value: a number or, for lanes, an array (of more than 64 bits: a list)."""


def lane_dtype(bits: int, signed: bool) -> np.dtype[Any] | None:
    """Return the type of the array that a lane field decodes to; None beyond 64 bits, which become a list."""
    size = next((each for each in (8, 16, 32, 64) if bits <= each), None)
    return None if size is None else np.dtype(f"{'i' if signed else 'u'}{size // 8}")


def record_type(fields: Iterable[tuple[str, int, bool, int | None]]) -> np.dtype[np.void]:
    """Return the NumPy type of a whole datagram, big-endian: the common header, then an application's fields.

    Each is a name, bits, whether it is signed, and how many lanes, or None. For programs that handle many messages
    at once, as arrays. WireError where a field is no number of 8, 16, 32 or 64 bits.
    """
    described: list[Any] = []
    for name, bits, signed, count in (*((*each, False, None) for each in COMMON_FIELDS), *fields):
        if bits not in (8, 16, 32, 64):
            raise WireError(f"{name} has {bits} bits, and an array's numbers have 8, 16, 32 or 64")
        number = f">{'i' if signed else 'u'}{bits // 8}"
        described.append((name, number) if count is None else (name, number, (count,)))
    return np.dtype(described)


@dataclass(frozen=True, slots=True)
class Message:
    """One packet's content above UDP. `application` is the name; lane fields are arrays or sequences of ints.

    `sequence` is bit[32]; `payload` is what follows the application's header.
    """

    kind: int
    application: str
    sequence: int
    fields: Mapping[str, FieldValue] = field(default_factory=dict)
    payload: bytes = b""

    def __eq__(self, other: object) -> bool:
        """Compare by value; lane arrays compare by their numbers."""
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
        return self.kind, self.application, self.sequence, fields, self.payload


@dataclass(frozen=True, slots=True)
class _Run:
    """Neighbouring fields that together fill whole bytes, packed as one big number: (name, bits, signed, count)."""

    fields: tuple[tuple[str, int, bool, int | None], ...]
    start: int
    bytes: int
    padding: int


@dataclass(frozen=True, slots=True)
class _Array:
    """A lane array whose numbers are 1, 2, 4 or 8 whole bytes, where a byte begins."""

    name: str
    bits: int
    signed: bool
    count: int
    start: int

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(f">{'i' if self.signed else 'u'}{self.bits // 8}")


@dataclass(frozen=True, slots=True)
class _Application:
    name: str
    id: int
    bytes: int
    parts: tuple[_Run | _Array, ...]
    names: frozenset[str]


class Schema:
    """Encodes and decodes messages. Made from the JSON-able dict of `Program.schema()`.

    Raises WireError for bytes or values that do not fit.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        try:
            applications = [_application(name, each) for name, each in schema["applications"].items()]
        except (KeyError, TypeError, AttributeError) as error:
            raise WireError(f"this is not a wire schema: {error!r}") from None
        self._by_name = {each.name: each for each in applications}
        self._by_id = {each.id: each for each in applications}

    def encode(self, message: Message) -> bytes:
        """Return a message as a UDP payload."""
        application = self._by_name.get(message.application)
        if application is None:
            raise WireError(f"no application {message.application!r}: there are {', '.join(self._by_name)}")
        for what, value, bits in (("kind", message.kind, 8), ("sequence", message.sequence, 32)):
            if not 0 <= value < 1 << bits:
                raise WireError(f"{message.application}: {what} {value} does not fit bit[{bits}]")
        if application.names != message.fields.keys():
            missing = ", ".join(sorted(application.names - message.fields.keys()))
            unknown = ", ".join(sorted(message.fields.keys() - application.names))
            raise WireError(
                f"{message.application}: "
                + "; ".join(f"{what} {names}" for what, names in (("missing", missing), ("unknown", unknown)) if names)
            )
        parts = [
            bytes((VERSION, message.kind)) + application.id.to_bytes(2, "big") + message.sequence.to_bytes(4, "big")
        ]
        for part in application.parts:
            if isinstance(part, _Array):
                parts.append(_encode_array(application.name, part, message.fields[part.name]))
            else:
                parts.append(_encode_run(application.name, part, message.fields))
        return b"".join((*parts, message.payload))

    def decode(self, data: bytes | memoryview) -> Message:
        """Return the message in a UDP payload. Lane fields come as NumPy arrays in the machine's byte order."""
        if len(data) < COMMON:
            raise WireError(f"{len(data)} bytes are too few for the common header of {COMMON}")
        if data[0] != VERSION:
            raise WireError(f"version {data[0]}; this is version {VERSION}")
        number = int.from_bytes(data[2:4], "big")
        application = self._by_id.get(number)
        if application is None:
            raise WireError(f"no application has the id {number}")
        end = COMMON + application.bytes
        if len(data) < end:
            raise WireError(f"{application.name}: {len(data)} bytes, {end} needed")
        fields: dict[str, FieldValue] = {}
        for part in application.parts:
            if isinstance(part, _Array):
                raw = np.frombuffer(data, part.dtype, part.count, COMMON + part.start)
                fields[part.name] = raw.astype(part.dtype.newbyteorder("="))
            else:
                _decode_run(part, data[COMMON + part.start : COMMON + part.start + part.bytes], fields)
        return Message(data[1], application.name, int.from_bytes(data[4:8], "big"), fields, bytes(data[end:]))


def _application(name: str, description: Mapping[str, Any]) -> _Application:
    parts: list[_Run | _Array] = []
    run: list[tuple[str, int, bool, int | None]] = []
    start = position = 0

    def close(padding: int = 0) -> None:
        nonlocal start, run
        if run:
            parts.append(_Run(tuple(run), start // 8, (position + padding - start) // 8, padding))
        run, start = [], position

    for each in description["fields"]:
        bits, count = int(each["bits"]), each["count"]
        if count is not None and bits in (8, 16, 32, 64) and position % 8 == 0:
            close()
            parts.append(_Array(each["name"], bits, each["signed"], count, position // 8))
            position += bits * count
            start = position
        else:
            run.append((each["name"], bits, each["signed"], count))
            position += bits * (1 if count is None else count)
    padding = -position % 8
    close(padding)
    names = frozenset(each["name"] for each in description["fields"])
    return _Application(name, int(description["id"]), (position + padding) // 8, tuple(parts), names)


def _encode_array(application: str, part: _Array, value: FieldValue) -> bytes:
    array = np.asarray(value)
    if array.shape != (part.count,) or array.dtype.kind not in "iu":
        raise WireError(f"{application}: {part.name} takes {part.count} whole numbers, not {array.dtype}{array.shape}")
    if array.dtype.newbyteorder("=") != part.dtype.newbyteorder("="):
        bounds = np.iinfo(part.dtype)
        low, high = int(array.min()), int(array.max())
        if low < bounds.min or high > bounds.max:
            wrong = low if low < bounds.min else high
            raise WireError(f"{application}: {part.name}: {wrong} does not fit {_kind(part.bits, part.signed)}")
    return array.astype(part.dtype).tobytes()


def _encode_run(application: str, part: _Run, fields: Mapping[str, FieldValue]) -> bytes:
    total = 0
    for name, bits, signed, count in part.fields:
        value = fields[name]
        try:
            numbers = [int(value)] if count is None else [int(each) for each in value]  # type: ignore[arg-type, union-attr]
        except TypeError:
            raise WireError(f"{application}: {name} cannot be {value!r}") from None
        if count is not None and len(numbers) != count:
            raise WireError(f"{application}: {name} takes {count} numbers, not {len(numbers)}")
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        for number in numbers:
            if not low <= number <= high:
                raise WireError(f"{application}: {name}: {number} does not fit {_kind(bits, signed)}")
            total = total << bits | number & ((1 << bits) - 1)
    return (total << part.padding).to_bytes(part.bytes, "big")


def _decode_run(part: _Run, data: bytes | memoryview, fields: dict[str, FieldValue]) -> None:
    total = int.from_bytes(data, "big")
    left = part.bytes * 8

    def take(bits: int, signed: bool) -> int:
        nonlocal left
        left -= bits
        value = total >> left & ((1 << bits) - 1)
        return value - (1 << bits) if signed and value >> (bits - 1) else value

    for name, bits, signed, count in part.fields:
        if count is None:
            fields[name] = take(bits, signed)
        else:
            numbers = [take(bits, signed) for _ in range(count)]
            dtype = lane_dtype(bits, signed)
            fields[name] = numbers if dtype is None else np.array(numbers, dtype=dtype)


def _kind(bits: int, signed: bool) -> str:
    return f"{'int_' if signed else 'bit'}[{bits}]"
