"""Ids and aliases of the objects in P4Info.

Ids follow p4c's rule, so that a controller can use either P4Info: eight bits of resource type, then the low 24 bits of
the Jenkins one-at-a-time hash of the fully qualified name, probing upwards on a collision.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from midflight.errors import P4Error, Place

__all__ = ["Ids", "name_hash", "number_in", "numbered"]

T = TypeVar("T")


def name_hash(name: str) -> int:
    """Return the 32-bit Jenkins one-at-a-time hash of a name in UTF-8, from which ids of objects are derived."""
    value = 0
    for byte in name.encode():
        value = (value + byte) & 0xFFFFFFFF
        value = (value + (value << 10)) & 0xFFFFFFFF
        value ^= value >> 6
    value = (value + (value << 3)) & 0xFFFFFFFF
    value ^= value >> 11
    return (value + (value << 15)) & 0xFFFFFFFF


class Ids:
    """Assigns P4Info ids and aliases to all objects of a program: first `add` each object, then call `settle`."""

    def __init__(self) -> None:
        self._wanted: dict[int, dict[str, int | None]] = {}
        self._ids: dict[tuple[int, str], int] = {}
        self._names: set[str] = set()

    def add(
        self, prefix: int, name: str, annotations: Mapping[str, str], what: str, place: Place | None = None
    ) -> None:
        """Record an object that needs an id: its P4Info type's `prefix` (the top byte), its name and its annotations.

        `what` is its kind in messages, and `place` its place in the source. P4Error for an `@id` that is not a number
        of 1 to 2**32 - 1, is taken, or has the prefix of another type.
        """
        wanted = annotations.get("id")
        number: int | None = None
        if wanted is not None:
            number = number_in(wanted, f"{what} {name}", place)
            if number >> 24 not in (0, prefix):
                raise P4Error(f"@id({wanted}) of {what} {name}: the top byte must be {prefix:#04x} or 0", place=place)
            number |= prefix << 24
            if number in (each for known in self._wanted.values() for each in known.values()):
                raise P4Error(f"@id({wanted}) of {what} {name} is already taken", place=place)
        self._wanted.setdefault(prefix, {})[name] = number
        self._names.add(name)

    def settle(self) -> None:
        """Assign an id to each object without `@id`, from a hash of its name; in the order of names, which decides
        collisions.
        """
        taken = {each for known in self._wanted.values() for each in known.values() if each is not None}
        for prefix, known in self._wanted.items():
            for name in sorted(known, key=str.encode):
                number, probe = known[name], name_hash(name)
                while number is None or (known[name] is None and number in taken):
                    number, probe = prefix << 24 | probe & 0xFFFFFF, probe + 1
                taken.add(number)
                self._ids[prefix, name] = number

    def __call__(self, prefix: int, name: str) -> int:
        """Return the id of an object, after `settle`. KeyError if it was not added."""
        return self._ids[prefix, name]

    def identity(self, prefix: int, name: str) -> tuple[int, str]:
        """Return the id of an object, after `settle`, and its alias. KeyError if it was not added.

        The alias is the shortest trailing part of the dotted name that is unique in the program, or the full name.
        """
        return self._ids[prefix, name], self._alias(name)

    def _alias(self, name: str) -> str:
        parts = name.split(".")
        for start in range(len(parts) - 1, 0, -1):
            tail = ".".join(parts[start:])
            if sum(each == tail or each.endswith("." + tail) for each in self._names) < 2:
                return tail
        return name


def numbered(
    items: Iterable[T], annotations: Callable[[T], Mapping[str, str]], place: Place | None = None
) -> list[int]:
    """Return ids for the parts of one object: those that `@id` sets, and the others counting from 1.

    Raises P4Error at `place` for an `@id` that is not a number of 1 to 2**32 - 1, or that two parts have.
    """
    listed = list(items)
    asked = [
        number_in(annotations(each)["id"], "a field or parameter", place) if "id" in annotations(each) else None
        for each in listed
    ]
    taken: set[int] = set()
    for each in asked:
        if each in taken:
            raise P4Error(f"@id({each}) is given to two fields or parameters", place=place)
        if each is not None:
            taken.add(each)
    numbers, following = [], 1
    for each in asked:
        if each is not None:
            numbers.append(each)
            following += 1
            continue
        while following in taken:
            following += 1
        taken.add(following)
        numbers.append(following)
    return numbers


def number_in(text: str, what: str, place: Place | None, name: str = "id", bits: int = 32) -> int:
    """Return the number in the annotation `@name(text)` of `what`: decimal, hexadecimal (0x) or binary (0b).

    Raises P4Error, at `place`, unless `text` is such a number from 1 to 2**`bits` - 1.
    """
    match = re.fullmatch(r"(?:\d+w)?(0[xX][\da-fA-F]+|0[bB][01]+|\d+)", text)
    number = 0
    if match is not None:
        digits = match[1].lstrip("0") if match[1].isdecimal() else match[1]
        number = int(digits[:12] or "0") if match[1].isdecimal() else int(digits, 0)  # more than 12 exceed any limit
    if not 0 < number < 1 << bits:
        raise P4Error(f"@{name}({text}) of {what} must be a number from 1 to {(1 << bits) - 1}", place=place)
    return number
