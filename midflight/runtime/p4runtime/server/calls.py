"""Limits of concurrent calls to the server, in total and for each client; some calls end in favour of new ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from midflight.runtime.p4runtime.status import Code, Refusal

__all__ = ["Call", "Calls"]


@dataclass(eq=False)
class Call:
    """A call in progress from the client at `peer`. `end` ends it with an error.

    `waiting` is the time in seconds since which the server waits for the client; None if it does not wait.
    """

    peer: str
    end: Callable[[Refusal], None]
    waiting: float | None = None


class Calls:
    """The calls of one kind: at most `most` in total and `per_peer` from one peer. `what` is their name in messages.

    A call that waits for its client ends in favour of others if there are too many, and in any case after `patience`
    seconds. Not thread-safe. The times passed in are in seconds and must not decrease.
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
        """Register a new call from `peer`, and return it. If there are too many, the one that has waited longest is
        ended.

        `end` is called to end this call with an error in favour of others. `waiting` is the time in seconds since which
        it waits for its client, or None. Refusal with RESOURCE_EXHAUSTED if there are too many and none waits.
        """
        for full, mine in ((self._peers[peer] >= self._per_peer, True), (len(self._calls) >= self._most, False)):
            if full:
                self._make_room(peer if mine else None)
        call = Call(peer, end, waiting)
        self._calls[call] = None
        self._peers[peer] += 1
        return call

    def leave(self, call: Call) -> None:
        """Remove a call that has ended, so that it no longer counts towards the limits. Idempotent."""
        if call in self._calls:
            del self._calls[call]
            self._peers[call.peer] -= 1
            if not self._peers[call.peer]:
                del self._peers[call.peer]

    def expire(self, now: float, most: int) -> bool:
        """End the calls that have waited for their clients for longer than `patience` at the time `now`, in seconds.

        Ends at most `most` calls, because each takes time, and returns whether there may be more.
        """
        late = [each for each in self._calls if each.waiting is not None and now - each.waiting >= self._patience]
        for call in late[:most]:
            self._end(call, Code.DEADLINE_EXCEEDED, f"nothing came for {self._patience:g} s")
        return len(late) > most

    def _make_room(self, peer: str | None) -> None:
        if peer is None:  # at the cost of the peer with the most calls
            waiting = [each for each in self._calls if each.waiting is not None]
            peer = max((each.peer for each in waiting), key=lambda each: self._peers[each], default="")
        candidates = [each for each in self._calls if each.peer == peer and each.waiting is not None]
        if not candidates:
            raise Refusal(Code.RESOURCE_EXHAUSTED, f"there are too many {self._what}")
        longest = min(candidates, key=lambda each: each.waiting or 0.0)
        self._end(longest, Code.RESOURCE_EXHAUSTED, f"there were too many {self._what}, and this one waited longest")

    def _end(self, call: Call, code: Code, why: str) -> None:
        self.leave(call)
        call.end(Refusal(code, why))
