"""The exchange of records between path selectors: routes to records, as BGP has routes to networks.

The records of agents reach each path selector by several paths. For each instance, the newest record counts, by the
shortest path. A path names the path selectors that passed the record on, so none takes its own announcement for news.
When the last path to an instance's record is lost, the record is withdrawn here, and at all peers that have it from
here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from hashlib import sha256

from midflight.runtime.steering.cps.messages import Announce, Withdraw
from midflight.runtime.steering.cps.selector import PATHS, PathSelector
from midflight.runtime.steering.metrics.update import Update

__all__ = ["Exchange"]

_REMEMBERED = 65_536  # records whose repetition is noticed
_LONGEST = 64  # path selectors on a path
_OWN = 0  # the source of records that agents sent here

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Route:
    record: bytes
    update: Update
    path: tuple[int, ...]
    number: int  # of the record, in the order in which they came first


class Exchange:
    """The routes of a path selector, and what it announces to its peers. Has no sockets and no clock.

    * speaker: its id, a random number of 64 bits.
    * selector: gets the updates, and hears of those that are withdrawn.
    * check: returns the update of a record, or None if it is refused; it gets the time. See `Verifier.check`.

    Updates about paths (CS-ID `::`) are not exchanged, as they hold for one ingress.
    """

    def __init__(self, speaker: int, selector: PathSelector, check: Callable[[bytes, int], Update | None]) -> None:
        self.speaker, self._selector, self._check = speaker, selector, check
        self._routes: dict[_Key, dict[int, _Route]] = {}
        self._best: dict[_Key, _Route] = {}
        # By the record's digest, the oldest first: the update, its number, and until when it may come again.
        self._known: dict[bytes, tuple[Update, int, int]] = {}
        self._number = 0
        self._news: list[Announce | Withdraw] = []
        self.counts: Counter[str] = Counter()
        """Announcements of peers by outcome: "accepted", "repeated", "ignored" (old, withdrawn, or the board is full),
        or "refused" (by `check`, or about paths).
        """

    def learned(self, record: bytes, update: Update, now: int) -> None:
        """Announce a record that an agent has sent here, and that the selector has accepted as this update at `now`."""
        if update.cs_id != PATHS:
            self._set(_OWN, _Route(record, update, (), self._remember(record, update, now)))

    def received(self, source: int, message: Announce | Withdraw, now: int) -> None:
        """Process a message of a peer at `now`, in nanoseconds since 1970.

        `source` is the number of its session, from 1. A record that is malformed, refused or old is only counted.
        Errors of `check`, such as those of a journal, propagate.
        """
        if isinstance(message, Withdraw):
            self._remove(source, (message.cs_id, message.csci_id))
            return
        update = self._examined(message, now)
        if update is None:
            return
        key = update.cs_id, update.csci_id
        if self.speaker in message.path or len(message.path) > _LONGEST:
            self._remove(source, key)  # it leads back here, in place of an earlier one
            return
        number = self._remember(message.record, update, now)
        self._set(source, _Route(message.record, update, message.path, number))

    def closed(self, source: int) -> None:
        """Remove all routes by a session that has ended; records without another route are withdrawn."""
        for key in list(self._routes):
            self._remove(source, key)

    def expire(self) -> None:
        """Forget the routes to records that the selector's board no longer has. Peers notice by themselves."""
        for key in [key for key in self._routes if self._selector.board.entry(*key) is None]:
            del self._routes[key], self._best[key]

    def news(self) -> list[Announce | Withdraw]:
        """Return what to announce to all peers, and forget it."""
        news, self._news = self._news, []
        return news

    def table(self) -> list[Announce]:
        """Return what to announce to a peer whose session begins: the best route to each record."""
        return [self._announced(each) for each in self._best.values()]

    def _examined(self, message: Announce, now: int) -> Update | None:
        """Return the update of a record, given to the selector if it is new, or None if it does not count."""
        known = self._known.get(sha256(message.record).digest())
        update = known[0] if known else self._check(message.record, now)
        if update is None or update.cs_id == PATHS:
            self.counts["refused"] += 1
            return None
        if known and (update.cs_id, update.csci_id) in self._routes:
            self.counts["repeated"] += 1
            return update
        if known and (now > known[2] or self.speaker in message.path):  # it was withdrawn, and this one comes too late
            self.counts["ignored"] += 1
            return None
        accepted = self._selector.accept(update, now)
        self.counts["accepted" if accepted else "ignored"] += 1
        return update if accepted else None

    def _remember(self, record: bytes, update: Update, now: int) -> int:
        digest = sha256(record).digest()
        if digest not in self._known:
            self._number += 1
            self._known[digest] = update, self._number, now + update.valid_for
            if len(self._known) > _REMEMBERED:
                del self._known[next(iter(self._known))]
        return self._known[digest][1]

    def _set(self, source: int, route: _Route) -> None:
        key = route.update.cs_id, route.update.csci_id
        self._routes.setdefault(key, {})[source] = route
        self._choose(key)

    def _remove(self, source: int, key: _Key) -> None:
        if self._routes.get(key, {}).pop(source, None) is not None:
            self._choose(key)

    def _choose(self, key: _Key) -> None:
        """Choose the newest record by the shortest path, and announce it if it is another one than before."""
        routes: Collection[_Route] = self._routes[key].values()
        if not routes:
            del self._routes[key], self._best[key]
            self._selector.withdrawn(*key)
            self._news.append(Withdraw(*key))
            return
        best = min(routes, key=lambda each: (-each.number, len(each.path), each.path))
        if best != self._best.get(key):
            self._best[key] = best
            self._news.append(self._announced(best))

    def _announced(self, route: _Route) -> Announce:
        return Announce(route.record, (*route.path, self.speaker))
