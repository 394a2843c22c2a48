"""The byte layout of a header that ends with an array of variable length, whose elements are called items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from midflight.errors import WireError
from midflight.primitives.record import FieldValue, Record

__all__ = ["RecordWithItems", "record_of"]


class RecordWithItems:
    """Encodes and decodes a header and the items at its end.

    A field of the header gives the number of items in a packet. `fields` are described as for `Record`: those of the
    header, then those of each item up to the capacity. `items` has `name` (of the array), `count` (the name of the
    field with the number of items in a packet), `capacity` (the maximum number), and `fields` (the number of fields per
    item). `what` names the header in error messages.
    """

    def __init__(self, what: str, fields: Sequence[Mapping[str, Any]], items: Mapping[str, Any]) -> None:
        self._what, self._items = what, items
        size, capacity = items["fields"], items["capacity"]
        head = len(fields) - size * capacity
        self._head = Record(what, fields[:head])
        self._parts = [
            Record(what, fields[head + size * place : head + size * (place + 1)]) for place in range(capacity)
        ]
        self._names = frozenset(each["name"] for each in fields)
        self._inside = [{each["name"] for each in fields[head + size * place :]} for place in range(capacity + 1)]
        self._own = [each["name"] for each in fields[:head]]
        self.bytes = self._head.bytes
        """The length of the header in bytes, without items."""

    def length(self, data: bytes | memoryview) -> int:
        """Return the length in bytes of the header at the start of `data`, with the items that it counts.

        Return the length without items if `data` is too short to contain the count. Raises WireError for a count above
        the capacity.
        """
        if len(data) < self.bytes:
            return self.bytes
        return self.bytes + sum(part.bytes for part in self._parts[: self._count(self._head.decode(data))])

    def encode(self, values: Mapping[str, FieldValue]) -> bytes:
        """Return the header and the items that it counts as bytes.

        `values` has the value of each field by name; the fields of absent items may be omitted or 0. Raises WireError
        if an absent item has another value, for a count above the capacity, for missing or unknown names, and for
        numbers that do not fit.
        """
        count = self._count(values)
        names = self._names - self._inside[count]
        for name in values:
            if name in self._inside[count] and np.any(values[name]):
                raise WireError(f"{self._what}: {name} has a value, but there are only {count} {self._items['name']}")
        if missing := names - values.keys():
            raise WireError(f"{self._what}: missing {', '.join(sorted(missing))}")
        if unknown := values.keys() - self._names:
            raise WireError(f"{self._what}: unknown {', '.join(sorted(unknown))}")
        head = self._head.encode({name: values[name] for name in self._own})
        return head + b"".join(part.encode({name: values[name] for name in part.names}) for part in self._parts[:count])

    def decode(self, data: bytes | memoryview) -> dict[str, FieldValue]:
        """Return the values of the header at the start of `data` by field name, with 0 for the fields of absent items.

        `data` must have at least `length(data)` bytes, which the caller checks. Raises WireError for a count above the
        capacity.
        """
        fields = self._head.decode(data)
        count, start = self._count(fields), self.bytes
        for place, part in enumerate(self._parts):
            inside = data[start : start + part.bytes] if place < count else bytes(part.bytes)
            fields |= part.decode(inside)
            start += part.bytes
        return fields

    def _count(self, values: Mapping[str, FieldValue]) -> int:
        name = self._items["count"]
        count = values.get(name, 0)
        if not isinstance(count, int) or not 0 <= count <= len(self._parts):
            raise WireError(f"{self._what}: {name} is {count}; at most {len(self._parts)} {self._items['name']} fit")
        return int(count)


def record_of(what: str, description: Mapping[str, Any]) -> Record | RecordWithItems:
    """Return the encoder and decoder of one application's header.

    `description` is the application's entry in `Program.schema()["applications"]`. The result is a `RecordWithItems` if
    the entry has an array of variable length (`items`), otherwise a `Record`. `what` names the header in error
    messages.
    """
    fields, items = description["fields"], description.get("items")
    return Record(what, fields) if items is None else RecordWithItems(what, fields, items)
