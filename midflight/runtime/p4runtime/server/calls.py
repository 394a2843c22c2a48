"""How many calls may be in progress, in all and from one peer, and which of them goes first for a new one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from midflight.runtime.p4runtime.status import Code, Refusal

__all__ = ["Call", "Calls"]


@dataclass(eq=False)
class Call:
    """A call in progress. `waiting` is since when (seconds) it has waited for its client, None while it has not."""

    peer: str
    end: Callable[[Refusal], None]
    waiting: float | None = None


class Calls:
    """The calls of one kind: at most `most`, and `per_peer` from one peer; `what` is what they are called.

    Those that wait for their client can be ended for others, and are after `patience` seconds. Not locked: for one
    thread. Time is passed in, in seconds that never go back.
    """

    def __init__(self, what: str, *, most: int, per_peer: int, patience: float) -> None:
        self._what = what
        self._most = most
        self._per_peer = per_peer
        self._patience = patience
        self._calls: dict[Call, None] = {}
        self._peers: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._calls)

    def enter(self, peer: str, end: Callable[[Refusal], None], *, waiting: float | None = None) -> Call:
        """Count a new call. Where there are too many, the one that has waited longest for its client is ended for it.

        Refused with RESOURCE_EXHAUSTED where none waits.
        """
        for full, mine in ((self._peers[peer] >= self._per_peer, True), (len(self._calls) >= self._most, False)):
            if full:
                self._make_room(peer if mine else None)
        call = Call(peer, end, waiting)
        self._calls[call] = None
        self._peers[peer] += 1
        return call

    def leave(self, call: Call) -> None:
        """Forget a call. May be called more than once."""
        if call in self._calls:
            del self._calls[call]
            self._peers[call.peer] -= 1
            if not self._peers[call.peer]:
                del self._peers[call.peer]

    def expire(self, now: float) -> None:
        """End the calls that have waited too long for their clients."""
        for call in list(self._calls):
            if call.waiting is not None and now - call.waiting >= self._patience:
                self._end(call, Code.DEADLINE_EXCEEDED, f"nothing came for {self._patience:g} s")

    def _make_room(self, peer: str | None) -> None:
        if peer is None:  # at the cost of who has most
            waiting = [each for each in self._calls if each.waiting is not None]
            peer = max((each.peer for each in waiting), key=lambda each: self._peers[each], default="")
        candidates = [each for each in self._calls if each.peer == peer and each.waiting is not None]
        if not candidates:
            raise Refusal(Code.RESOURCE_EXHAUSTED, f"there are too many {self._what} already")
        longest = min(candidates, key=lambda each: each.waiting or 0.0)
        self._end(longest, Code.RESOURCE_EXHAUSTED, f"there were too many {self._what}, and this one waited longest")

    def _end(self, call: Call, code: Code, why: str) -> None:
        self.leave(call)
        call.end(Refusal(code, why))
