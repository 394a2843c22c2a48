"""The memory layout of table entries, which native lookups read and the control side writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from midflight.p4 import ir
from midflight.runtime.engine.code import unsupported
from midflight.runtime.engine.layout import Layout, align, is_signed, scalar_width, stored_width

__all__ = [
    "ACTION", "GROUP_TAIL", "KEY", "NEXT", "NOTHING", "NUMBER", "PRIORITY", "EntryLayout", "Field", "MemberLayout",
    "actions_of",
]  # fmt: skip

ACTION, PRIORITY, NEXT, NUMBER, KEY = 0, 4, 8, 12, 16
"""Offsets in an entry, in bytes: the action's number, the priority, the number of the next entry in the chain plus one,
and the entry's own number, each with 32 bits; then the key."""

NOTHING = (1 << 32) - 1
"""The number that stands for no action: that of an empty group."""

GROUP_TAIL = 16
"""Bytes after a group's mask: first bucket, bucket mask, largest priority, unused, each with 32 bits."""

REFERENCE = 8
"""The bytes of a reference to a member or a group."""

KINDS = ("exact", "lpm", "ternary", "range", "optional")


@dataclass(frozen=True, slots=True)
class Field:
    """One match field in a table's packed key: its match kind, its width in bits, and its lowest bit (`shift`).

    For a range field, `low` and `high` are the offsets in an entry of the ends of its range, in bytes.
    """

    kind: str
    width: int
    shift: int
    low: int = 0
    high: int = 0


def actions_of(table: ir.Table) -> tuple[ir.ActionRef, ...]:
    """Return the actions that a table can run, in the order of their numbers in entries.

    The default action is last if the table does not list it.
    """
    if any(each.action is table.default.action for each in table.actions):
        return table.actions
    return (*table.actions, table.default)


_DIRECT = 16
"""The width of the longest keys that are indexes of an array."""


class EntryLayout:
    """The layout in memory of one table's entries: `stride` bytes each, with a packed key of `width` bits.

    `search` is `none` (no key), `exact`, `lpm` (one lpm field, possibly with exact fields: entries are intervals of the
    key), or `masked` (all others: priorities decide). `data` has the offsets of each action's data. In a table with an
    implementation, an entry has no data, but at `reference` the slot of a member, or of a group if the word after it is
    1, with 32 bits each. P4Error for a match kind that the engine does not support, and for a range match on a signed
    field.
    """

    def __init__(self, table: ir.Table, layout: Layout) -> None:
        for key in table.keys:
            if key.kind not in KINDS:
                raise unsupported(f"match kind {key.kind} in table {table.name}", table.place)
            if key.kind == "range" and is_signed(key.expression.type):
                raise unsupported(f"a range match on a signed field in table {table.name}", table.place)
        kinds = [key.kind for key in table.keys]
        if not kinds:
            self.search = "none"
        elif all(kind == "exact" for kind in kinds):
            self.search = "exact"
        elif kinds.count("lpm") == 1 and all(kind in ("exact", "lpm") for kind in kinds):
            self.search = "lpm"
        else:
            self.search = "masked"
        self._place_keys(table)
        self._place_data(table, layout)

    @property
    def direct(self) -> bool:
        """Whether keys are exact and short enough to be indexes of an array."""
        return self.search == "exact" and self.width <= _DIRECT

    def _place_keys(self, table: ir.Table) -> None:
        widths = [scalar_width(key.expression.type) for key in table.keys]
        self.width = max(sum(widths), 1)
        self.stored = stored_width(self.width)
        order = sorted(range(len(widths)), key=lambda number: table.keys[number].kind == "lpm")
        shifts, left = {}, self.width
        for number in order:
            left -= widths[number]
            shifts[number] = left
        offset = align(KEY + self.stored // 8, 8)
        fields = []
        for number, (key, width) in enumerate(zip(table.keys, widths, strict=True)):
            low = high = 0
            if key.kind == "range":
                size = stored_width(width) // 8
                low = align(offset, min(size, 8))
                high = low + size
                offset = high + size
            fields.append(Field(key.kind, width, shifts[number], low, high))
        self.fields = tuple(fields)
        self.ranges = tuple(each for each in fields if each.kind == "range")
        self._data = align(offset, 8)

    def _place_data(self, table: ir.Table, layout: Layout) -> None:
        self.reference = self._data
        self.data: dict[ir.Action, tuple[int, ...]] = {}
        if table.implementation is not None:
            self.stride = align(self._data + REFERENCE, 16)
            return
        end = _place(self.data, [each.action for each in actions_of(table)], self._data, layout)
        self.stride = align(end, 16)

    @property
    def group_stride(self) -> int:
        """The bytes of a group of a `masked` search (the entries with one mask): the mask and the `GROUP_TAIL`."""
        return align(self.stored // 8, 8) + GROUP_TAIL


class MemberLayout:
    """The layout of an action profile's members: the action's number at `ACTION`, with 32 bits, then its data.

    `actions` are the actions of all tables that share the profile, in the order of their numbers.
    """

    def __init__(self, tables: Sequence[ir.Table], layout: Layout) -> None:
        listed = {reference.action: None for table in tables for reference in actions_of(table)}
        self.actions: tuple[ir.Action, ...] = tuple(listed)
        self.data: dict[ir.Action, tuple[int, ...]] = {}
        self.stride = align(_place(self.data, self.actions, PRIORITY, layout), 16)

    def numbers(self, table: ir.Table) -> tuple[int, ...]:
        """Return for each action its number in a table that shares the profile, or NOTHING."""
        own = [each.action for each in actions_of(table)]
        return tuple(own.index(each) if each in own else NOTHING for each in self.actions)


def _place(data: dict[ir.Action, tuple[int, ...]], actions: Iterable[ir.Action], start: int, layout: Layout) -> int:
    """Set the offsets of each action's data, which begins at `start`. Return the end of the longest."""
    end = start
    for action in actions:
        offset, offsets = start, []
        for parameter in action.data:
            extent = layout.of(parameter.variable.type)
            offset = align(offset, extent.alignment)
            offsets.append(offset)
            offset += extent.size
        data[action] = tuple(offsets)
        end = max(end, offset)
    return end
