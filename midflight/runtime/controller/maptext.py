"""Entries of maps as text, as `midflight map` takes and prints them: "7=3", "10.0.0.0/8,80=3", "0x10&&&0xf0=3@5"."""

from __future__ import annotations

from midflight.errors import DeviceError, KernelError
from midflight.primitives import Map
from midflight.primitives.kernel.map import Entry, Key, Match, Part
from midflight.runtime.p4runtime.client.matches import match_value, number

__all__ = ["parse_entry", "parse_key", "spell_entry"]

_MOST_DIGITS = 20  # of a priority; Python refuses to convert thousands of them
_FORMS = {"exact": "VALUE", "lpm": "VALUE/LENGTH", "ternary": "VALUE&&&MASK", "range": "LOW..HIGH"}


def parse_entry(shape: Map, text: str) -> tuple[Key, int, int]:
    """Return the key, value and priority of "KEY=VALUE" or "KEY=VALUE@PRIORITY"; the priority is 1 if it is left out.

    A value is an integer or an address. KernelError if the text is none of that, or does not fit the map.
    """
    key, equals, rest = text.partition("=")
    value, at, priority = rest.partition("@")
    if not equals or (at and not (priority.strip().isdecimal() and len(priority.strip()) <= _MOST_DIGITS)):
        raise KernelError(f"{text!r} is not an entry of a map", hint="write KEY=VALUE, or KEY=VALUE@PRIORITY")
    found = parse_key(shape, key), _parse_value(shape, key.strip(), value.strip()), int(priority) if at else 1
    shape.check_priority(found[2])
    return found


def parse_key(shape: Map, text: str) -> Key:
    """Return the key of a map that a text such as "7", "10.0.0.0/8,80" or "0x10&&&0xf0" spells.

    The parts of a key are separated by commas. A value is an integer or an address; a single value also matches exactly
    in an lpm, ternary or range part. KernelError if the text does not fit the map's key.
    """
    spelled = [each.strip() for each in text.split(",")]
    if len(spelled) != len(shape.keys):
        raise KernelError(f"{text!r} is not a key of this map", hint=f"write {_form(shape)}")
    try:
        parts: tuple[Part, ...] = tuple(
            match_value(how, each, kind.width, f"the key {text!r}")
            for kind, how, each in zip(shape.keys, shape.match, spelled, strict=True)
        )
    except DeviceError as error:
        raise KernelError(error.message, hint=error.hint or f"write {_form(shape)}") from None
    return shape.key(shape.parts(shape.key(parts)))


def spell_entry(shape: Map, entry: Entry) -> str:
    """Return the text for an entry, which `parse_entry` reads back.

    Numbers are decimal, except for the value and mask of a ternary part, which are hexadecimal.
    """
    key = ",".join(_spell(how, part) for how, part in zip(shape.match, entry.parts, strict=True))
    return f"{key}={entry.value}" + (f"@{entry.priority}" if shape.ranked else "")


def _parse_value(shape: Map, key: str, text: str) -> int:
    what = f"the value of the key {key!r}"
    try:
        value = number(text.removeprefix("-"), shape.kind.width, what)
    except DeviceError as error:
        raise KernelError(error.message, hint=error.hint) from None
    if text.startswith("-"):
        value = -value
    if not shape.kind.holds(value):
        raise KernelError(f"{what}: {value} does not fit {shape.kind}")
    return value


def _spell(how: Match, part: Part) -> str:
    match how, part:
        case "lpm", (int(value), int(length)):
            return f"{value}/{length}"
        case "ternary", (int(value), int(mask)):
            return f"{value:#x}&&&{mask:#x}"
        case "range", (int(low), int(high)):
            return f"{low}..{high}"
    return str(part)


def _form(shape: Map) -> str:
    """Return how to write a key of a map, for hints."""
    parts = [f"{_FORMS[how]} of {kind}" for kind, how in zip(shape.keys, shape.match, strict=True)]
    return ", then a comma and ".join(parts)
