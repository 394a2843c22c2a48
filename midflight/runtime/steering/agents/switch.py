"""The C-SMA of a switch: the free slots and the hit rate of a primitive, from its registers and counters.

Registers are read in-band, in packets that the program answers itself (`primitives/state.py`), so this works on every
device. The hit rate is the share of the requests between two readings that the switch answered or ended itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from midflight.errors import MidflightError
from midflight.runtime.steering.metrics import Room

__all__ = ["Snapshot", "SwitchReader", "snapshot"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A primitive on a switch at one time.

    `slots` is the number of rows of its state and `used` how many of them differ from their initial content. Since the
    program was loaded, `asked` requests have arrived, and the switch has answered or finished `answered` of them
    itself instead of forwarding them. `room` is what is left of the pipeline.
    """

    slots: int
    used: int
    asked: int
    answered: int
    room: Room


def snapshot(
    description: Mapping[str, Any],
    registers: Mapping[str, Any],
    *,
    arrived: int = 0,
    dropped: int | None = None,
    room: Room | None = None,
) -> Snapshot:
    """Return the snapshot of an application, from its part of `Program.schema()` and its registers by name.

    `arrived` counts its requests, and `dropped` those that its kernel dropped, which is how a primitive ends requests
    that need no server: an aggregated or a filtered one. None if it never drops any; then nothing is known of its hits.
    A cache counts its hits and misses itself. MidflightError if a register is missing.
    """
    state: Sequence[Mapping[str, Any]] = description["state"]
    missing = [each["name"] for each in state if each["name"] not in registers]
    if missing:
        raise MidflightError(f"the state lacks the registers {', '.join(missing)}")
    slots = max((each["size"] for each in state), default=0)
    busy = np.zeros(slots, dtype=bool)
    for each in state:
        if each["size"] == slots:
            values = np.asarray(registers[each["name"]], dtype=object).reshape(slots, -1)
            busy |= (values != each["initial"]).any(axis=1)
    asked, answered = (0, 0) if dropped is None else (arrived, dropped)
    if description["primitive"] == "Cache":
        hits, misses = (np.asarray(registers[name], dtype=object) for name in ("hits", "misses"))
        busy = np.asarray(registers["valid"], dtype=object) != 0
        slots, answered = len(busy), int(hits.sum())
        # Each miss raises one counter of every row of the sketch, so one row has them all.
        asked = answered + int(misses.reshape(len(misses), -1)[:, 0].sum())
    return Snapshot(slots, int(busy.sum()), asked, answered, room or Room())


class SwitchReader:
    """A reader of one primitive on a switch: calling it returns the readings by type of raw metric.

    `take` returns a snapshot, and raises MidflightError if it cannot.
    """

    def __init__(self, take: Callable[[], Snapshot]) -> None:
        self._take = take
        self._last: Snapshot | None = None

    def __call__(self) -> dict[str, float]:
        """Return the readings: free slots and room, and from the second time on the hit rate, if requests arrived.

        MidflightError if the switch does not answer.
        """
        found, last = self._take(), self._last
        self._last = found
        readings = {
            "service_available": 1.0,
            "compute_slots_free": float(found.slots - found.used),
            "compute_stages_free": found.room.stages,
            "compute_register_bits_free": found.room.register_bits,
            "compute_table_entries_free": found.room.table_entries,
        }
        if last is not None and found.asked > last.asked and found.answered >= last.answered:
            readings["service_hit_rate"] = min(1.0, (found.answered - last.answered) / (found.asked - last.asked))
        return {kind: float(value) for kind, value in readings.items() if value is not None}
