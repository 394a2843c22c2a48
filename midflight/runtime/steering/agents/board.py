"""The receiving end of the distribution of metrics: the latest update of each instance, and how old it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from midflight.errors import MidflightError
from midflight.runtime.steering.metrics.gauges import Report
from midflight.runtime.steering.metrics.levels import Category
from midflight.runtime.steering.metrics.update import SEQUENCES, Update

__all__ = ["Board", "Entry", "State", "is_newer", "state_of"]


class State(StrEnum):
    """How far an entry of a board can be used.

    FRESH: its validity has not passed. STALE: it has; a C-PS may continue with it as the last good state, or fall back
    to static weights. GONE: three validities have passed, and the entry is removed at the next `expire`.
    """

    FRESH = "fresh"
    STALE = "stale"
    GONE = "gone"


_GONE_AFTER = 3  # validities


def is_newer(one: int, other: int) -> bool:
    """Return whether sequence number `one` is newer than `other`, as serial numbers of 32 bits (RFC 1982)."""
    return 0 < (one - other) % SEQUENCES < SEQUENCES // 2


def state_of(age: float, valid_for: float) -> State:
    """Return the state of an update of this age: FRESH below `valid_for`, STALE below three times `valid_for`,
    otherwise GONE.

    Both numbers are in the same unit. An infinite age stands for no update at all.
    """
    return State.FRESH if age < valid_for else State.STALE if age < _GONE_AFTER * valid_for else State.GONE


@dataclass(frozen=True, slots=True)
class Entry:
    """An update and the time of its arrival, in nanoseconds of the receiver's clock."""

    update: Update
    arrived: int

    def age(self, now: int) -> int:
        """Return the nanoseconds from the arrival to `now`, both of the receiver's clock; the sender's clock plays
        no part.
        """
        return now - self.arrived

    def state(self, now: int) -> State:
        """Return whether the entry is fresh, stale or gone at `now`, in nanoseconds of the receiver's clock."""
        return state_of(self.age(now), self.update.valid_for)

    def report(self) -> Report:
        """Return the scores of level 1 for `select`, without those of other types. The report's time is that of the
        arrival.
        """
        scores = {Category(each.kind): each for each in self.update.scores if each.kind in list(Category)}
        return Report(self.update.csci_id, scores, self.arrived)


class Board:
    """The latest updates, by service and instance, of up to `limit` instances.

    A new instance is ignored while the board is full. MidflightError if the limit is not positive.
    """

    def __init__(self, limit: int = 100_000) -> None:
        if limit <= 0:
            raise MidflightError(f"a board has room for at least 1 instance, not {limit} instances")
        self._limit = limit
        self._entries: dict[str, dict[str, Entry]] = {}
        self._count = 0
        self.ignored: Counter[str] = Counter()
        """Updates that were not accepted, by reason: "old" or "full"."""

    def __len__(self) -> int:
        return self._count

    def accept(self, update: Update, now: int) -> bool:
        """Keep an update that arrived at `now`, in nanoseconds of the receiver's clock, and return whether it is kept.

        It is not if a newer one or the same is known, or if its instance is new and the board is full; `ignored` counts
        it. When the validity of the last update has passed, every sequence number is accepted, so that an agent that
        begins again from a smaller number is heard.
        """
        instances = self._entries.setdefault(update.cs_id, {})
        known = instances.get(update.csci_id)
        if known is None:
            if self._count >= self._limit:
                self.ignored["full"] += 1
                return False
            self._count += 1
        elif known.state(now) is State.FRESH and not is_newer(update.sequence, known.update.sequence):
            self.ignored["old"] += 1
            return False
        instances[update.csci_id] = Entry(update, now)
        return True

    def remove(self, cs_id: str, csci_id: str) -> None:
        """Remove what is known about an instance of a service. Idempotent."""
        if self._entries.get(cs_id, {}).pop(csci_id, None) is not None:
            self._count -= 1

    def entry(self, cs_id: str, csci_id: str) -> Entry | None:
        """Return what the board holds about an instance (CSCI-ID) of a service (CS-ID), or None if nothing is known."""
        return self._entries.get(cs_id, {}).get(csci_id)

    def instances(self, cs_id: str, now: int, *, stale: bool = False) -> Iterator[Entry]:
        """Yield the fresh entries of a service's instances, with `stale` also the stale ones, in order of arrival."""
        for each in self._entries.get(cs_id, {}).values():
            state = each.state(now)
            if state is State.FRESH or (stale and state is State.STALE):
                yield each

    def expire(self, now: int) -> int:
        """Remove the entries that are gone at `now`, in nanoseconds of the receiver's clock, and return how many."""
        before = self._count
        for cs_id, instances in list(self._entries.items()):
            kept = {name: each for name, each in instances.items() if each.state(now) is not State.GONE}
            self._count -= len(instances) - len(kept)
            if kept:
                self._entries[cs_id] = kept
            else:
                del self._entries[cs_id]
        return before - self._count
