"""Traces of packets through a traced program, for the control plane."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from midflight.p4 import ir
from midflight.runtime.engine.code import RecordKind
from midflight.runtime.engine.context import Context
from midflight.runtime.engine.entrylayout import actions_of
from midflight.runtime.engine.noting import RECORD, Event
from midflight.runtime.engine.records import logged

__all__ = ["CAPACITY", "Trace", "Traces"]

CAPACITY = RECORD << 16
"""The buffer's size in bytes: 65536 records. A packet takes 10 to 20 records."""

_KIND = np.dtype([("event", "<u4"), ("first", "<u4"), ("second", "<u8")])
_AGAIN = {1: "a clone", 2: "a clone", 4: "recirculated", 6: "resubmitted"}
_KEYLESS = 2
_DROPS = ("in ingress", "in egress", "no queue has its priority", "its queue is full", "the packet buffer is full")


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace of one packet: its ingress port, its length on arrival in bytes, and its steps in order.

    A step is a pair of texts (what, result), such as ("table", "ingress.route: hit, ingress.to_port").
    """

    port: int
    length: int
    steps: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        """Return the trace as lines, the first one for the packet."""
        lines = [f"in by port {self.port}, {self.length} bytes"]
        return "\n".join([*lines, *(f"  {what:<10} {how}" for what, how in self.steps)])


class Traces:
    """The buffer that a traced program writes records to. `take` empties it.

    `names` are those that records refer to by index, and depend on the variant of the program that runs. `kinds` are
    the program's kinds of digest and log message.
    """

    def __init__(self, program: ir.Program, kinds: Sequence[RecordKind], context: Context) -> None:
        self.names: Sequence[str] = []
        self._errors = program.errors
        self._kinds = kinds
        self._actions = {
            name: [each.action.name for each in actions_of(table)] for name, table in program.tables.items()
        }
        self._context = context
        self._memory: NDArray[np.uint8] = np.zeros(CAPACITY, np.uint8)
        context.point("trace", self._memory)
        context.set("trace.capacity", CAPACITY)

    def take(self) -> list[Trace]:
        """Return and remove the traces since the last call, oldest first. The caller holds the engine's lock.

        If records were lost because the buffer was full, the last trace ends with their number.
        """
        context = self._context
        used, lost = context.get("trace.used"), context.get("trace.lost")
        context.set("trace.used", 0)
        context.set("trace.lost", 0)
        found: list[tuple[int, int, list[tuple[str, str]]]] = []
        records = iter(self._memory[:used].view(_KIND).tolist())
        for event, first, second in records:
            instance = second >> 32 if event == Event.PACKET else 0
            if event == Event.LATER or (event == Event.PACKET and instance not in _AGAIN):
                found.append((first, second & 0xFFFF_FFFF, []))
            elif found:
                self._add(found[-1][2], Event(event), first, second)
                if event == Event.LOG:
                    found[-1][2].append(("log", _logged(self._kinds[first], records)))
        if lost and found:
            found[-1][2].append(("...", f"{lost} steps of this and later packets are lost: the buffer was full"))
        return [Trace(port, length, tuple(steps)) for port, length, steps in found]

    def _add(self, steps: list[tuple[str, str]], event: Event, first: int, second: int) -> None:
        match event:
            case Event.PACKET:
                steps.append(("again", f"{_AGAIN[second >> 32]}, {second & 0xFFFF_FFFF} bytes"))
            case Event.STATE:
                _add_state(steps, self.names[first])
            case Event.PARSED:
                _add_state(steps, "accept" if first == 0 else f"reject ({self._errors[first]})")
            case Event.TABLE:
                name, hit = self.names[first], second >> 32
                actions, number = self._actions[name], second & 0xFFFF_FFFF
                action = actions[number] if number < len(actions) else "an empty group"
                result = action if hit == _KEYLESS else f"{'hit' if hit else 'miss'}, {action}"
                steps.append(("table", f"{name}: {result}"))
            case Event.DIGEST:
                steps.append(("digest", self._kinds[first].name))
            case Event.CLONE:
                steps.append(("clone", f"session {first}"))
            case Event.RESUBMIT:
                steps.append(("resubmit", ""))
            case Event.MULTICAST:
                steps.append(("multicast", f"group {first}"))
            case Event.EGRESS:
                steps.append(("egress", f"port {first}{f', instance {second}' if second else ''}"))
            case Event.DROP:
                steps.append(("dropped", _DROPS[first]))
            case Event.QUEUE:
                steps.append(("queue", f"{first}, after {second / 1000:.12g} us"))
            case Event.RECIRCULATE:
                steps.append(("recirculate", ""))
            case Event.SENT:
                steps.append(("out", f"by port {first}, {second} bytes"))
            case Event.LOG | Event.VALUE:
                pass  # `take` reads them together


def _logged(kind: RecordKind, records: Iterator[list[int]]) -> str:
    """Return the text of a log message, and remove the records of its values."""
    values = []
    for width, signed in zip(kind.widths, kind.signed, strict=True):
        value = 0
        for shift in range(0, width, 64):
            value |= next(records, [0, 0, 0])[2] << shift  # the last message may be cut off
        values.append(value - (1 << width) if signed and value >> (width - 1) else value)
    return logged(kind, values)


def _add_state(steps: list[tuple[str, str]], state: str) -> None:
    """Add a parser state to the step with the parser's previous states."""
    if steps and steps[-1][0] == "parser":
        steps[-1] = ("parser", f"{steps[-1][1]}, {state}")
    else:
        steps.append(("parser", state))
