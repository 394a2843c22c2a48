"""Values of match fields and parameters: conversion between Python values, numbers and P4Runtime messages.

| kind     | accepted                                             | read back as         |
|----------|------------------------------------------------------|----------------------|
| exact    | value                                                | int                  |
| lpm      | value, "10.0.0.0/8", (value, prefix length)          | (int, prefix length) |
| ternary  | value, (value, mask), "10.0.0.0/8", "0x10&&&0xf0"    | (int, mask)          |
| range    | value, (low, high), "10..20"                         | (low, high)          |
| optional | value                                                | int                  |

A value is an int, a bool, bytes (big-endian), a NumPy integer, an address of `ipaddress`, or a string with an int
("0x2a"), an IPv4 or IPv6 address or a MAC address. In an exact or optional field whose type is translated to strings,
it may also be any string.

In the match of an entry, None is the same as an omitted field and matches everything. An exact field cannot be omitted.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Literal

from finsy.proto import p4i, p4r

from midflight.errors import DeviceError
from midflight.runtime.p4runtime.schema import match_fields
from midflight.runtime.p4runtime.values import encode

__all__ = ["MatchValue", "decode_match", "encode_match", "match_value", "number"]

MatchValue = int | tuple[int, int]
"""The value of a match field in a table entry that was read."""

MAC = re.compile(r"[0-9a-fA-F]{1,2}([:-][0-9a-fA-F]{1,2}){5}")


def number(value: object, width: int, what: str) -> int:
    """Return a value as an integer from 0 to 2**width - 1. The module's docstring has the accepted forms.

    DeviceError, with `what` in its message, for another form, a negative value, or one of more than `width` bits.
    """
    result: int
    match value:
        case bool() | int():
            result = int(value)
        case bytes():
            result = int.from_bytes(value, "big")
        case str():
            result = _spelled(value, what)
        case _ if hasattr(value, "__index__"):  # NumPy's integers and ipaddress's addresses
            result = int(value)
        case ipaddress.IPv4Address() | ipaddress.IPv6Address():
            result = int(value)
        case _:
            raise DeviceError(f"{what}: {value!r} is not a value", hint="use an int, an address or bytes")
    if result < 0 or result >> width:
        raise DeviceError(f"{what}: {value!r} does not fit bit<{width}>", hint=f"0 to {(1 << width) - 1:#x} is allowed")
    return result


def match_value(kind: Literal["exact", "lpm", "ternary", "range"], value: object, width: int, what: str) -> MatchValue:
    """Return a value of a match field of `width` bits in the form in which it is read back: see the module's table.

    DeviceError, with `what` in its message, for a value that does not fit, and for None, whatever the kind: what
    matches everything is written as a prefix length of 0, a mask of 0 or the whole range.
    """
    match kind:
        case "exact":
            return number(value, width, what)
        case "lpm":
            return _prefix(value, width, what)
        case "ternary":
            return _masked(value, width, what)
        case "range":
            return _interval(value, width, what)


def encode_match(table: p4i.Table, match: Mapping[str, object]) -> list[p4r.FieldMatch]:
    """Return the P4Runtime messages for a match: values by field name, in the forms of the module's table.

    Several fields with one name are numbered, as by `match_fields`.

    Fields that match everything have no message. DeviceError, which names the table and the field, for an unknown
    field, a value that does not fit its field, an omitted exact field, or a match kind that is not in the table.
    """
    name = table.preamble.name
    fields = match_fields(table)
    for each in match:
        if each not in fields:
            hint = f"its key is {', '.join(fields)}" if fields else "it has no key"
            raise DeviceError(f"table {name} has no match field {each!r}", hint=hint)
    messages = []
    for key, field in fields.items():
        value = match.get(key)
        if value is None:
            if field.match_type == p4i.MatchField.EXACT:
                raise DeviceError(f"table {name}: the match has no {key}", hint="an exact field cannot be omitted")
            continue
        if (message := _encode(field, value, f"table {name}, {key}")) is not None:
            messages.append(message)
    return messages


def decode_match(table: p4i.Table, messages: list[p4r.FieldMatch]) -> dict[str, MatchValue]:
    """Return the match that P4Runtime messages describe, by field name; values are as the module's table says.

    Fields without a message, which match everything, are left out. The messages must come from a device with this
    table; KeyError for the id of a field that the table does not have. Several fields with one name are
    numbered, as by `match_fields`.
    """
    names = {field.id: name for name, field in match_fields(table).items()}
    match: dict[str, MatchValue] = {}
    for message in messages:
        name, read = names[message.field_id], int.from_bytes
        match message.WhichOneof("field_match_type"):
            case "exact":
                match[name] = read(message.exact.value, "big")
            case "optional":
                match[name] = read(message.optional.value, "big")
            case "lpm":
                match[name] = read(message.lpm.value, "big"), message.lpm.prefix_len
            case "ternary":
                match[name] = read(message.ternary.value, "big"), read(message.ternary.mask, "big")
            case "range":
                match[name] = read(message.range.low, "big"), read(message.range.high, "big")
    return match


def encoded(value: object, width: int, what: str) -> bytes:
    """Return the bytes of a value of `width` bits, or of a string if its type is translated to one (a width of 0).

    DeviceError, with `what` in its message, for a value that does not fit.
    """
    if not width and isinstance(value, str):
        return value.encode()
    return encode(number(value, width or 32, what))


def _spelled(text: str, what: str) -> int:
    if MAC.fullmatch(text):
        return int.from_bytes(bytes(int(part, 16) for part in re.split("[:-]", text)), "big")
    for read in READERS:
        try:
            return read(text)
        except ValueError:
            continue
    raise DeviceError(f"{what}: {text!r} is not a value", hint='give an int, an address such as "10.0.0.1", or bytes')


def _encode(field: p4i.MatchField, value: object, what: str) -> p4r.FieldMatch | None:
    """Return a field's message, or None for a value that matches everything."""
    width, full = field.bitwidth, (1 << field.bitwidth) - 1
    message = p4r.FieldMatch(field_id=field.id)
    match field.match_type:
        case p4i.MatchField.EXACT:
            message.exact.value = encoded(value, width, what)
        case p4i.MatchField.OPTIONAL:
            message.optional.value = encoded(value, width, what)
        case p4i.MatchField.LPM:
            prefix, length = _prefix(value, width, what)
            if not length:
                return None
            message.lpm.value, message.lpm.prefix_len = encode(prefix), length
        case p4i.MatchField.TERNARY:
            low, mask = _masked(value, width, what)
            if not mask:
                return None
            message.ternary.value, message.ternary.mask = encode(low), encode(mask)
        case p4i.MatchField.RANGE:
            first, last = _interval(value, width, what)
            if (first, last) == (0, full):
                return None
            message.range.low, message.range.high = encode(first), encode(last)
        case _:
            raise DeviceError(f"{what}: match kind {field.other_match_type or field.match_type} is not supported")
    return message


def _pair(value: object, separator: str, what: str) -> tuple[object, object] | None:
    """Return both halves of a pair, or None for a single value."""
    if isinstance(value, str) and separator in value:
        low, _, high = value.partition(separator)
        return low.strip(), high.strip()
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise DeviceError(f"{what}: {value!r} is not a pair")
        return value[0], value[1]
    return None


def _prefix(value: object, width: int, what: str) -> tuple[int, int]:
    pair = _pair(value, "/", what)
    base = number(pair[0] if pair else value, width, what)
    length = number(pair[1], 16, f"{what}, prefix length") if pair else width
    if length > width:
        raise DeviceError(f"{what}: a prefix of {length} bits is too long", hint=f"the field has {width}")
    kept = base >> (width - length) << (width - length)
    if kept != base:
        spelled = f"{ipaddress.IPv4Address(kept)}/{length}" if width == 32 else f"{kept:#x}/{length}"
        raise DeviceError(f"{what}: {value!r} has bits beyond its prefix", hint=f"use {spelled}")
    return base, length


def _masked(value: object, width: int, what: str) -> tuple[int, int]:
    if isinstance(value, str) and "/" in value:
        base, length = _prefix(value, width, what)
        return base, (1 << width) - 1 ^ (1 << width - length) - 1
    pair = _pair(value, "&&&", what)
    if pair is None:
        return number(value, width, what), (1 << width) - 1
    base, mask = number(pair[0], width, what), number(pair[1], width, f"{what}, mask")
    if base & ~mask:
        raise DeviceError(f"{what}: {base:#x} has bits outside its mask {mask:#x}", hint=f"use {base & mask:#x}")
    return base, mask


def _interval(value: object, width: int, what: str) -> tuple[int, int]:
    first, last = (number(each, width, what) for each in _pair(value, "..", what) or (value, value))
    if first > last:
        raise DeviceError(f"{what}: the range {first} to {last} is empty")
    return first, last


def _ipv4(text: str) -> int:
    return int(ipaddress.IPv4Address(text))


def _ipv6(text: str) -> int:
    return int(ipaddress.IPv6Address(text))


def _integer(text: str) -> int:
    return int(text, 0)


READERS: tuple[Callable[[str], int], ...] = (_integer, _ipv4, _ipv6)
