"""Traces of packets through a traced program, for the control plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from midflight.p4 import ir
from midflight.runtime.engine.code import RecordKind
from midflight.runtime.engine.context import Context
from midflight.runtime.engine.entries import Entry
from midflight.runtime.engine.entrylayout import actions_of
from midflight.runtime.engine.matched import matching, shown
from midflight.runtime.engine.noting import RECORD, Event
from midflight.runtime.engine.records import logged

__all__ = ["CAPACITY", "Trace", "Traces"]

CAPACITY = RECORD << 17
"""The buffer's size in bytes: 131072 records. A packet takes some 50 to 300 records."""

_KIND = np.dtype([("event", "<u4"), ("first", "<u4"), ("second", "<u8")])
_AGAIN = {1: "a clone", 2: "a clone", 4: "recirculated", 6: "resubmitted"}
_KEYLESS = 2
_DROPS = ("in ingress", "in egress", "no queue has its priority", "its queue is full", "the packet buffer is full")


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace of one packet: its ingress port, its length on arrival in bytes, and its steps in order.

    A step is a pair of texts (what, result), such as ("table", "ingress.route: hit, ingress.to_port"). `details` are
    steps and what happens in them, in order: keys, entries and parameters, assignments, conditions and registers, as
    (what, result, place in the P4 or ""). `time` is that of the arrival, in microseconds of the program's clock.
    """

    port: int
    length: int
    steps: tuple[tuple[str, str], ...]
    details: tuple[tuple[str, str, str], ...] = field(default=(), compare=False, repr=False)
    time: int = field(default=0, compare=False)

    def __str__(self) -> str:
        """Return the trace as lines, the first one for the packet."""
        lines = [f"in by port {self.port}, {self.length} bytes"]
        return "\n".join([*lines, *(f"  {what:<10} {how}" for what, how in self.steps)])

    def detailed(self) -> str:
        """Return the trace with all details as lines, the first one for the packet."""
        lines = [f"in by port {self.port}, {self.length} bytes, at {self.time} us"]
        for what, how, place in self.details:
            lines.append(f"  {what:<10} {how}" + (f"   ({place})" if place else ""))
        return "\n".join(lines)


class Traces:
    """The buffer that a traced program writes records to. `take` empties it.

    `names` are those that records refer to by index, and depend on the variant of the program that runs. `kinds` are
    the program's kinds of digest and log message.
    """

    def __init__(
        self,
        program: ir.Program,
        kinds: Sequence[RecordKind],
        context: Context,
        entries: Callable[[str], Sequence[Entry]],
    ) -> None:
        self.names: Sequence[str] = []
        self._program = program
        self._kinds = kinds
        self._entries = entries
        self._actions = {
            name: [each.action.name for each in actions_of(table)] for name, table in program.tables.items()
        }
        self._context = context
        self._memory: NDArray[np.uint8] = np.zeros(CAPACITY, np.uint8)
        context.point("trace", self._memory)
        context.set("trace.capacity", CAPACITY)

    def take(self) -> list[Trace]:
        """Return and remove the traces since the last call, oldest first. The caller holds the engine's lock.

        If records were lost because the buffer was full, the last trace ends with their number. Entries are those that
        the tables have now.
        """
        context = self._context
        used, lost = context.get("trace.used"), context.get("trace.lost")
        context.set("trace.used", 0)
        context.set("trace.lost", 0)
        found: list[_Way] = []
        records = iter(self._memory[:used].view(_KIND).tolist())
        for event, first, second in records:
            instance = second >> 32 if event == Event.PACKET else 0
            if event == Event.LATER or (event == Event.PACKET and instance not in _AGAIN):
                found.append(_Way(first, second & 0xFFFF_FFFF))
            elif found:
                self._add(found[-1], Event(event), first, second, records)
        if lost and found:
            found[-1].add("...", f"{lost} steps of this and later packets are lost: the buffer was full")
        for each in found:
            self._matched(each)
        return [Trace(each.port, each.length, tuple(each.steps), tuple(each.details), each.time) for each in found]

    def _add(self, way: _Way, event: Event, first: int, second: int, records: Iterator[list[int]]) -> None:
        if event not in (Event.KEY, Event.VALUE):
            self._matched(way)
        match event:
            case Event.PACKET:
                way.add("again", f"{_AGAIN[second >> 32]}, {second & 0xFFFF_FFFF} bytes")
            case Event.STATE:
                way.state(self.names[first])
            case Event.PARSED:
                way.state("accept" if first == 0 else f"reject ({self._program.errors[first]})")
            case Event.TABLE:
                name, hit = self.names[first], second >> 32
                actions, number = self._actions[name], second & 0xFFFF_FFFF
                action = actions[number] if number < len(actions) else "an empty group"
                result = action if hit == _KEYLESS else f"{'hit' if hit else 'miss'}, {action}"
                way.keys = {}
                way.add(
                    "table", f"{name}: {result}", _places(self._program.tables[name], self._program.actions.get(action))
                )
                way.table = name if hit == 1 else ""
            case Event.DIGEST:
                way.add("digest", self._kinds[first].name)
            case Event.CLONE:
                way.add("clone", f"session {first}")
            case Event.RESUBMIT:
                way.add("resubmit", "")
            case Event.MULTICAST:
                way.add("multicast", f"group {first}")
            case Event.EGRESS:
                way.add("egress", f"port {first}{f', instance {second}' if second else ''}")
            case Event.DROP:
                way.add("dropped", _DROPS[first])
            case Event.QUEUE:
                way.add("queue", f"{first}, after {second / 1000:.12g} us")
            case Event.RECIRCULATE:
                way.add("recirculate", "")
            case Event.SENT:
                way.add("out", f"by port {first}, {second} bytes")
            case Event.LOG:
                way.add("log", _logged(self._kinds[first], records))
            case Event.TIME:
                way.time = second
            case Event.VALUE:
                pass  # of an event that was lost
            case _:
                self._detail(way, event, _described(self.names[first], records))

    def _detail(self, way: _Way, event: Event, of: _Described) -> None:
        """Add the details of a step. Assignments in an action come after its table, whose entry is complete then."""
        match event:
            case Event.KEY:
                way.keys[of.name] = of.values[0]
                way.detail("  key", f"{of.name} = {of.shown(0)}")
            case Event.DATA:
                way.detail("  param", f"{of.name} = {of.shown(0)}")
            case Event.ASSIGN:
                change = f"was {of.shown(0)}" if of.values[0] != of.values[1] else "unchanged"
                way.detail("set", f"{of.name} = {of.shown(1)} ({change})", of.place)
            case Event.BRANCH:
                result = ("false", "true")[of.values[0]] if of.name == "if" else of.shown(0)
                way.detail(of.name, f"{result}: {of.line}", of.place)
            case Event.READ | Event.WRITE:
                verb = "read" if event == Event.READ else "write"
                way.detail("register", f"{verb} {of.name}[{of.values[0]}] = {of.shown(1)}", of.place)
            case Event.VALID:
                way.detail("header", f"{of.name} is now {'valid' if of.values[0] else 'invalid'}", of.place)
            case _:
                raise AssertionError(event)

    def _matched(self, way: _Way) -> None:
        """Add the entry that the keys of the last table have matched, if it was a hit and has been found."""
        table, way.table = way.table, ""
        if table:
            keys, way.keys = way.keys, {}
            named = [each.name for each in self._program.tables[table].keys]
            entry = matching(self._program.tables[table], self._entries(table), [keys.get(each) for each in named])
            if entry is not None:
                way.detail("  entry", entry)


def _logged(kind: RecordKind, records: Iterator[list[int]]) -> str:
    """Return the text of a log message, and remove the records of its values."""
    values = []
    for width, signed in zip(kind.widths, kind.signed, strict=True):
        value = 0
        for shift in range(0, width, 64):
            value |= next(records, [0, 0, 0])[2] << shift  # the last message may be cut off
        values.append(value - (1 << width) if signed and value >> (width - 1) else value)
    return logged(kind, values)


@dataclass(slots=True)
class _Way:
    """A packet's way through the switch so far. `table` has matched `keys`, and its entry has not been added yet."""

    port: int
    length: int
    time: int = 0
    steps: list[tuple[str, str]] = field(default_factory=list)
    details: list[tuple[str, str, str]] = field(default_factory=list)
    table: str = ""
    keys: dict[str, int] = field(default_factory=dict)

    def add(self, what: str, how: str, place: str = "") -> None:
        self.steps.append((what, how))
        self.details.append((what, how, place))

    def detail(self, what: str, how: str, place: str = "") -> None:
        self.details.append((what, how, place))

    def state(self, name: str) -> None:
        """Add a parser state to the step with the parser's previous states."""
        if self.steps and self.steps[-1][0] == "parser":
            self.steps[-1] = ("parser", f"{self.steps[-1][1]}, {name}")
        else:
            self.steps.append(("parser", name))
        if self.details and self.details[-1][0] == "parser":
            self.details[-1] = ("parser", f"{self.details[-1][1]}, {name}", "")
        else:
            self.details.append(("parser", name, ""))


@dataclass(frozen=True, slots=True)
class _Described:
    """A record with values: what it is about, and where the P4 says so."""

    name: str
    values: tuple[int, ...]
    widths: tuple[int, ...]
    place: str
    line: str

    def shown(self, number: int) -> str:
        return shown(self.name, self.values[number], self.widths[number])


def _described(text: str, records: Iterator[list[int]]) -> _Described:
    """Return a record with its values, whose words are removed from the records that follow."""
    name, forms, file, line, source = text.split("\t")
    values, widths = [], []
    for form in forms.split(","):
        width, value = abs(int(form)), 0
        for shift in range(0, width, 64):
            value |= next(records, [0, 0, 0])[2] << shift  # the last event may be cut off
        signed = form.startswith("-") and value >> (width - 1)
        values.append(value - (1 << width) if signed else value)
        widths.append(width)
    return _Described(name, tuple(values), tuple(widths), f"{file}:{line}" if file else "", source)


def _places(*those: ir.Table | ir.Action | None) -> str:
    found = [each.place for each in those if each is not None and each.place is not None]
    return f"{found[0].file}:{', '.join(str(each.line) for each in found)}" if found else ""
