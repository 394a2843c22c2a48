"""The byte layout of one header of fixed length: big-endian fields of any width, and arrays, without gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from midflight.errors import WireError

__all__ = ["FieldValue", "Record", "lane_dtype"]

Array = npt.NDArray[Any]
FieldValue = int | Sequence[int] | Array
"""A field's value: an int, or for a field with several lanes one int per lane, as a sequence or a NumPy array."""


def lane_dtype(bits: int, signed: bool) -> np.dtype[Any] | None:
    """Return the NumPy type that an array of `bits`-bit numbers decodes to, or None for more than 64 bits.

    The type has the narrowest of 8, 16, 32 and 64 bits that holds the numbers, in native byte order. Wider arrays
    decode to lists of ints.
    """
    size = next((each for each in (8, 16, 32, 64) if bits <= each), None)
    return None if size is None else np.dtype(f"{'i' if signed else 'u'}{size // 8}")


@dataclass(frozen=True, slots=True)
class _Run:
    """Adjacent fields that together fill whole bytes, packed as one large number: (name, bits, signed, count)."""

    fields: tuple[tuple[str, int, bool, int | None], ...]
    start: int
    bytes: int
    padding: int


@dataclass(frozen=True, slots=True)
class _Array:
    """A byte-aligned lane array whose numbers have 1, 2, 4 or 8 bytes."""

    name: str
    bits: int
    signed: bool
    count: int
    start: int

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(f">{'i' if self.signed else 'u'}{self.bits // 8}")


class Record:
    """Encodes a header's values to bytes and decodes them.

    The header has a fixed length; `what` names it in error messages. `fields` are mappings in wire order with `name`,
    `bits` (the width of one number), `signed`, and `count`: the number of lanes, or None for a single number. Fields
    follow each other without gaps, and zero bits pad the header to whole bytes.
    """

    def __init__(self, what: str, fields: Sequence[Mapping[str, Any]]) -> None:
        self._what = what
        self.names = dict.fromkeys(each["name"] for each in fields).keys()  # a set in the fields' order
        self._parts: list[_Run | _Array] = []
        run: list[tuple[str, int, bool, int | None]] = []
        start = position = 0

        def close(padding: int = 0) -> None:
            nonlocal start, run
            if run:
                self._parts.append(_Run(tuple(run), start // 8, (position + padding - start) // 8, padding))
            run, start = [], position

        for each in fields:
            bits, count = int(each["bits"]), each["count"]
            if count is not None and bits in (8, 16, 32, 64) and position % 8 == 0:
                close()
                self._parts.append(_Array(each["name"], bits, each["signed"], count, position // 8))
                position += bits * count
                start = position
            else:
                run.append((each["name"], bits, each["signed"], count))
                position += bits * (1 if count is None else count)
        padding = -position % 8
        close(padding)
        self.bytes = (position + padding) // 8
        """The header's length in bytes, including the padding."""

    def length(self, data: bytes | memoryview) -> int:  # noqa: ARG002
        """Return the header's length in bytes, `bytes`, without examining `data`.

        `RecordWithItems.length` does examine it.
        """
        return self.bytes

    def encode(self, values: Mapping[str, FieldValue]) -> bytes:
        """Return the header as `bytes` bytes, big-endian.

        `values` has an int for each field, or as many ints as the field has lanes. Raises WireError for a missing or
        unknown name, a wrong number of lanes, or a number that does not fit its field's width.
        """
        if self.names != values.keys():
            missing = ", ".join(sorted(self.names - values.keys()))
            unknown = ", ".join(sorted(values.keys() - self.names))
            raise WireError(
                f"{self._what}: "
                + "; ".join(f"{what} {names}" for what, names in (("missing", missing), ("unknown", unknown)) if names)
            )
        return b"".join(
            _encode_array(self._what, part, values[part.name])
            if isinstance(part, _Array)
            else _encode_run(self._what, part, values)
            for part in self._parts
        )

    def decode(self, data: bytes | memoryview) -> dict[str, FieldValue]:
        """Return the values of the header at the start of `data`, by field name.

        A single number becomes an int, and lanes become an array of `lane_dtype`, or a list of ints if they are wider
        than 64 bits. `data` must have at least `bytes` bytes, which the caller checks; further bytes are ignored.
        """
        fields: dict[str, FieldValue] = {}
        for part in self._parts:
            if isinstance(part, _Array):
                raw = np.frombuffer(data, part.dtype, part.count, part.start)
                fields[part.name] = raw.astype(part.dtype.newbyteorder("="))
            else:
                _decode_run(part, data[part.start : part.start + part.bytes], fields)
        return fields


def _encode_array(what: str, part: _Array, value: FieldValue) -> bytes:
    try:
        array = np.asarray(value)
    except ValueError:  # lanes that are sequences of different lengths
        raise WireError(f"{what}: {part.name} takes {part.count} integers, not {value!r}") from None
    whole = array.dtype.kind in "iu"
    if not whole and isinstance(value, Sequence) and all(type(each) is int for each in value):
        # NumPy converts a mixture of values below and above 2**63 to floats.
        array, whole = np.array(value, dtype=object), True
    if array.shape != (part.count,) or not whole:
        raise WireError(f"{what}: {part.name} takes {part.count} integers, not {array.dtype}{array.shape}")
    if array.dtype.newbyteorder("=") != part.dtype.newbyteorder("="):
        bounds = np.iinfo(part.dtype)
        low, high = int(array.min()), int(array.max())
        if low < bounds.min or high > bounds.max:
            wrong = low if low < bounds.min else high
            raise WireError(f"{what}: {part.name}: {wrong} does not fit {_kind(part.bits, part.signed)}")
    return array.astype(part.dtype).tobytes()


def _whole(value: object) -> int:
    """Return a whole number as an int. TypeError for anything else, such as 1.5."""
    return int(value) if isinstance(value, np.bool_) else index(value)  # type: ignore[arg-type]


def _encode_run(what: str, part: _Run, fields: Mapping[str, FieldValue]) -> bytes:
    total = 0
    for name, bits, signed, count in part.fields:
        value = fields[name]
        try:
            numbers = [_whole(each) for each in ([value] if count is None else value)]  # type: ignore[union-attr]
        except TypeError:
            raise WireError(f"{what}: {name} cannot be {value!r}") from None
        if count is not None and len(numbers) != count:
            raise WireError(f"{what}: {name} takes {count} numbers, not {len(numbers)}")
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        for number in numbers:
            if not low <= number <= high:
                raise WireError(f"{what}: {name}: {number} does not fit {_kind(bits, signed)}")
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
