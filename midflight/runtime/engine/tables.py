"""A P4 program's match-action tables as the control plane sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from midflight.p4 import ir
from midflight.runtime.engine.context import Context
from midflight.runtime.engine.counters import DirectCounter
from midflight.runtime.engine.entries import Choice, Entry, Reason, TableError, checked_arguments, checked_keys
from midflight.runtime.engine.entrylayout import ACTION, KEY, NEXT, NUMBER, PRIORITY, EntryLayout, actions_of
from midflight.runtime.engine.gate import Gate
from midflight.runtime.engine.hits import Hits
from midflight.runtime.engine.indexes import Match, index_for
from midflight.runtime.engine.layout import scalar_width, stored_width
from midflight.runtime.engine.memory import Budget, BudgetError, entry_bytes
from midflight.runtime.engine.meters import DirectMeter
from midflight.runtime.engine.profiles import Profile

__all__ = ["Default", "Prepared", "Table"]


@dataclass(frozen=True, slots=True)
class Default:
    """A table's default action, by its fully qualified name, and its data."""

    action: str
    arguments: tuple[int, ...] = ()


@dataclass(slots=True)
class _Held:
    """An entry in memory: its number, its match, and whether the program declares it const.

    `slot` is the slot of the member or group that it refers to.
    """

    entry: Entry
    number: int
    match: Match
    const: bool
    slot: int = 0


@dataclass(frozen=True, slots=True)
class Prepared:
    """An entry that `Table.prepare` has made ready for `insert`: checked, in canonical form, and laid out as bytes.

    `match` is its key in packed form. The bytes (`record`) lack what depends on the entry's place in memory.
    """

    entry: Entry
    match: Match
    record: bytearray


Identity = tuple[tuple[ir.EntryKey, ...], int]


class Table:
    """One table of a running program. Each change is atomic and takes effect between two batches.

    Methods raise TableError with one of these reasons: EXISTS; NOT_FOUND; FULL, also if `memory` has no space for
    another entry; CONSTANT for entries or a default action that the program declares const; INVALID for keys, actions,
    arguments or priorities that do not fit the table.
    """

    def __init__(
        self,
        table: ir.Table,
        layout: EntryLayout,
        context: Context,
        lock: Gate,
        changed: Callable[[Table], None],
        memory: Budget,
        profile: Profile | None = None,
    ) -> None:
        self.name = table.name
        self.size = table.size
        self.direct_counters: dict[str, DirectCounter] = {}
        self.direct_meters: dict[str, DirectMeter] = {}
        self._table = table
        self._layout = layout
        self._context = context
        self._lock = lock
        self._changed = changed
        self._profile = profile
        self._budget, self._cost = memory, entry_bytes(layout)
        self._references = actions_of(table)
        self._numbers = {each.action.name: number for number, each in enumerate(self._references)}
        self._held: dict[Identity, _Held] = {}
        self._free: list[int] = []
        self._links: dict[int, int] = {}
        self._memory: NDArray[np.uint8] = np.zeros(layout.stride * 8, np.uint8)
        stride = layout.stride if profile is None else profile.layout.stride
        self._default_memory: NDArray[np.uint8] = np.zeros(stride, np.uint8)
        self._index = index_for(table.name, layout)
        for instance in table.direct:
            if instance.kind == "direct_counter":
                self.direct_counters[instance.name] = DirectCounter(instance, context, table.size)
            elif instance.kind == "direct_meter":
                self.direct_meters[instance.name] = DirectMeter(instance, context, table.size)
        self._hits = Hits(table.name, context) if table.idle_timeout else None
        self.reset_default()
        for each in table.entries:
            entry = Entry(each.keys, each.action.action.name, each.arguments, each.priority)
            self._insert(self._prepare(entry), const=each.const or table.entries_const)
        changed(self)  # native code needs an index, even an empty one, and the default action

    def __len__(self) -> int:
        return len(self._held)

    def prepare(self, entry: Entry) -> Prepared:
        """Check an entry and lay it out for `insert`, without the lock, so that packets and reads go on meanwhile.

        TableError CONSTANT if the program declares the table's entries const, INVALID if keys, action, arguments or
        priority do not fit.
        """
        self._check_writable()
        self._check_priority(entry.priority)
        return self._prepare(entry)

    def insert(self, entry: Entry | Prepared) -> None:
        """Add an entry, as it is or from `prepare`. Its direct counters and meters start at zero.

        TableError EXISTS if there is one with these keys and priority, NOT_FOUND for a reference to a member or group
        that does not exist, FULL if the table, the memory, or for a one-shot set the selector is full, CONSTANT if the
        program declares its entries const, and INVALID if keys, action, arguments or priority do not fit. Nothing is
        changed then.
        """
        prepared = entry if isinstance(entry, Prepared) else self.prepare(entry)
        with self._lock:
            self._insert(prepared, const=False)

    def modify(self, entry: Entry) -> None:
        """Replace the action and data of the entry with these keys and this priority. Its counters and meters continue.

        TableError NOT_FOUND if there is none, or no member or group that it is to refer to, FULL for a one-shot set for
        which the selector has no room, CONSTANT if the program declares it const, and INVALID if keys, action or
        arguments do not fit. The entry is unchanged then.
        """
        with self._lock:
            self._check_writable()
            held = self._find(entry.keys, entry.priority)
            if held.const:
                raise TableError(Reason.CONSTANT, f"{self.name}: the program declares this entry const")
            if self._profile is not None:
                self._choose(held, entry.choice)
                return
            action, arguments = self._check_action(entry, default=False)
            held.entry = replace(held.entry, action=entry.action, arguments=arguments)
            self._write(held, self._lay_out(action, held.entry, held.match))
            self._touch()

    def delete(self, keys: tuple[ir.EntryKey, ...], priority: int = 0) -> None:
        """Remove the entry with these keys and this priority.

        TableError NOT_FOUND if there is none, CONSTANT if the program declares it const, and INVALID if the keys do not
        fit.
        """
        with self._lock:
            self._check_writable()
            held = self._find(keys, priority)
            if held.const:
                raise TableError(Reason.CONSTANT, f"{self.name}: the program declares this entry const")
            assert self._index is not None
            if self._profile is not None and held.entry.choice is not None:
                self._profile.release(held.entry.choice, held.slot)
            self._index.remove(held.number)
            del self._held[held.entry.keys, held.entry.priority]
            self._free.append(held.number)
            self._budget.give(self._cost)
            self._touch()

    def get(self, keys: tuple[ir.EntryKey, ...], priority: int = 0) -> Entry:
        """Return the entry with exactly these keys and this priority, in canonical form.

        TableError NOT_FOUND if there is none, INVALID if the keys do not fit.
        """
        with self._lock:
            return self._find(keys, priority).entry

    def entries(self) -> list[Entry]:
        """Return all entries in canonical form (see `entries.canonical_key`), oldest first."""
        with self._lock:
            return [held.entry for held in self._held.values()]

    def number(self, keys: tuple[ir.EntryKey, ...], priority: int = 0) -> int:
        """Return the index of an entry in its table's direct counters and meters.

        TableError NOT_FOUND if there is no such entry, INVALID if the keys do not fit.
        """
        with self._lock:
            return self._find(keys, priority).number

    def last_hit(self, keys: tuple[ir.EntryKey, ...], priority: int = 0) -> int:
        """Return the time of the last hit of an entry in microseconds; 0 if it was not hit, or the table stores none.

        TableError NOT_FOUND if there is no such entry, INVALID if the keys do not fit.
        """
        with self._lock:
            number = self._find(keys, priority).number
            return 0 if self._hits is None else self._hits.read(number)

    @property
    def default(self) -> Default:
        """The current default action and its data."""
        return self._default

    def set_default(self, action: str, arguments: tuple[int, ...] = ()) -> None:
        """Replace the default action and its data.

        TableError CONSTANT if the program declares it const, INVALID if the action or the arguments do not fit the
        table.
        """
        with self._lock:
            if self._table.default_const:
                raise TableError(Reason.CONSTANT, f"{self.name}: the program declares the default action const")
            chosen, checked = self._check_action(Entry((), action, arguments), default=True)
            self._write_default(chosen, checked)

    def reset_default(self) -> None:
        """Restore the default action that the program declares, with its data, also if it is const."""
        with self._lock:
            self._write_default(self._table.default.action, self._table.default_arguments)

    def flush(self) -> None:
        """Write changes of entries to native memory. The caller holds the lock, and no batch is running."""
        self._context.point(f"{self.name}.default", self._default_memory)
        if self._index is None:
            return
        links = self._index.flush(self._context)
        for number in {**self._links, **links}:
            at = number * self._layout.stride + NEXT
            self._memory[at : at + 4] = np.frombuffer(links.get(number, 0).to_bytes(4, "little"), np.uint8)
        self._links = links
        self._context.point(f"{self.name}.entries", self._memory)

    # Checks

    def _check_writable(self) -> None:
        if self._index is None:
            raise TableError(Reason.INVALID, f"{self.name} has no match fields, so it takes no entries")
        if self._table.entries_const:
            raise TableError(Reason.CONSTANT, f"{self.name}: the program declares its entries const")

    def _check_priority(self, priority: int) -> None:
        if self._layout.search == "masked":
            if not 0 < priority < 1 << 31:
                raise TableError(Reason.INVALID, f"{self.name}: an entry needs a priority from 1 to 2**31 - 1")
        elif priority:
            raise TableError(Reason.INVALID, f"{self.name} has only exact and lpm fields: the priority must be 0")

    def _check_action(self, entry: Entry, *, default: bool) -> tuple[ir.Action, tuple[int, ...]]:
        number = self._numbers.get(entry.action)
        if number is None or (not default and number >= len(self._table.actions)):
            raise TableError(
                Reason.INVALID,
                f"{self.name} has no action {entry.action}",
                hint=f"it has {', '.join(each.action.name for each in self._table.actions)}",
            )
        reference = self._references[number]
        if reference.default_only and not default:
            raise TableError(Reason.INVALID, f"{self.name}: {entry.action} can only be the default action")
        if reference.table_only and default:
            raise TableError(Reason.INVALID, f"{self.name}: {entry.action} cannot be the default action")
        return reference.action, checked_arguments(self.name, reference.action, entry.arguments)

    def _find(self, keys: tuple[ir.EntryKey, ...], priority: int) -> _Held:
        identity = checked_keys(self._table, self._layout, keys), priority
        if identity not in self._held:
            raise TableError(Reason.NOT_FOUND, f"{self.name} has no such entry")
        return self._held[identity]

    # Memory

    def _prepare(self, entry: Entry) -> Prepared:
        keys = checked_keys(self._table, self._layout, entry.keys)
        if self._profile is not None:
            self._profile.check(entry.choice)
        action, arguments = (None, ()) if self._profile else self._check_action(entry, default=False)
        priority = entry.priority if self._layout.search == "masked" else 0
        canonical = Entry(keys, entry.action, arguments, priority, entry.choice)
        match = self._match(keys, priority)
        return Prepared(canonical, match, self._lay_out(action, canonical, match))

    def _insert(self, prepared: Prepared, *, const: bool) -> None:
        assert self._index is not None
        entry = prepared.entry
        identity = entry.keys, entry.priority
        if identity in self._held:
            raise TableError(Reason.EXISTS, f"{self.name} already has this entry")
        if len(self._held) >= self.size and not const:
            raise TableError(Reason.FULL, f"{self.name} is full: its size is {self.size}")
        try:
            self._budget.take(self._cost, f"an entry of {self.name}")
        except BudgetError as error:
            raise TableError(Reason.FULL, error.message) from None
        slot = 0
        if self._profile is not None and entry.choice is not None:
            try:
                slot, grouped = self._profile.acquire(entry.choice)
            except TableError:
                self._budget.give(self._cost)
                raise
            self._refer(prepared.record, slot, grouped)
        held = _Held(entry, self._slot(), prepared.match, const, slot)
        self._held[identity] = held
        self._write(held, prepared.record)
        for counter in self.direct_counters.values():
            counter.reset(held.number)
        for meter in self.direct_meters.values():
            meter.reset(held.number)
        if self._hits is not None:
            self._hits.reset(held.number)
        self._index.add(held.number, held.match)
        self._touch()

    def _slot(self) -> int:
        """Return the number of a free entry, after doubling the memory if there is none."""
        if self._free:
            return self._free.pop()
        number, stride = len(self._held), self._layout.stride
        if (number + 1) * stride > self._memory.size:
            self._memory = np.concatenate([self._memory, np.zeros_like(self._memory)])
        for counter in self.direct_counters.values():
            counter.grow(self._memory.size // stride)
        for meter in self.direct_meters.values():
            meter.grow(self._memory.size // stride)
        if self._hits is not None:
            self._hits.grow(self._memory.size // stride)
        return number

    def _match(self, keys: tuple[ir.EntryKey, ...], priority: int) -> Match:
        """Pack keys. A range field is searched by the common prefix of its two ends."""
        packed = mask = 0
        ranges = []
        for key, field in zip(keys, self._layout.fields, strict=True):
            ones = (1 << field.width) - 1
            value, bits = key.value or 0, 0
            if key.value is not None:
                bits = ones if key.mask is None else key.mask
            if field.kind == "range":
                high = ones if key.value is None else key.value if key.high is None else key.high
                bits = ones ^ ((1 << (value ^ high).bit_length()) - 1)
                ranges.append((value, high))
            packed |= (value & bits) << field.shift
            mask |= bits << field.shift
        return Match(packed, mask, tuple(ranges), priority)

    def _choose(self, held: _Held, choice: Choice | None) -> None:
        """Make an entry refer to another member, group or set of actions."""
        assert self._profile is not None
        before = held.entry.choice
        assert before is not None
        self._profile.check(choice)
        assert choice is not None
        self._profile.release(before, held.slot)  # first, so that a new set may take the room of the old one
        try:
            held.slot, grouped = self._profile.acquire(choice)
            held.entry = replace(held.entry, choice=choice)
        except TableError:
            held.slot, grouped = self._profile.acquire(before)
            raise
        finally:
            record = self._lay_out(None, held.entry, held.match)
            self._refer(record, held.slot, grouped)
            self._write(held, record)
            self._touch()

    def _refer(self, record: bytearray, slot: int, grouped: int) -> None:
        for at, number in ((self._layout.reference, slot), (self._layout.reference + 4, grouped)):
            record[at : at + 4] = number.to_bytes(4, "little")

    def _lay_out(self, action: ir.Action | None, entry: Entry, match: Match) -> bytearray:
        """Return an entry's bytes, without its number, link and reference."""
        layout = self._layout
        record = bytearray(layout.stride) if action is None else self._record(action, entry.arguments)
        record[PRIORITY : PRIORITY + 4] = entry.priority.to_bytes(4, "little")
        record[KEY : KEY + layout.stored // 8] = match.key.to_bytes(layout.stored // 8, "little")
        for field, (low, high) in zip(layout.ranges, match.ranges, strict=True):
            size = stored_width(field.width) // 8
            record[field.low : field.low + size] = low.to_bytes(size, "little")
            record[field.high : field.high + size] = high.to_bytes(size, "little")
        return record

    def _write(self, held: _Held, record: bytearray) -> None:
        for at, number in ((NUMBER, held.number), (NEXT, self._links.get(held.number, 0))):
            record[at : at + 4] = number.to_bytes(4, "little")
        start = held.number * self._layout.stride
        self._memory[start : start + self._layout.stride] = np.frombuffer(record, np.uint8)

    def _write_default(self, action: ir.Action, arguments: tuple[int, ...]) -> None:
        checked = checked_arguments(self.name, action, arguments)
        self._default = Default(action.name, checked)
        record = self._profile.record(action, checked) if self._profile else self._record(action, checked)
        self._default_memory[:] = np.frombuffer(record, np.uint8)
        self._touch()

    def _record(self, action: ir.Action, arguments: tuple[int, ...]) -> bytearray:
        record = bytearray(self._layout.stride)
        record[ACTION : ACTION + 4] = self._numbers[action.name].to_bytes(4, "little")
        for parameter, offset, value in zip(action.data, self._layout.data[action], arguments, strict=True):
            size = stored_width(scalar_width(parameter.variable.type)) // 8
            record[offset : offset + size] = value.to_bytes(size, "little")
        return record

    def _touch(self) -> None:
        self._changed(self)
