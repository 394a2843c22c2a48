"""A replica's log of a `Sequencer`'s requests, by sequencer session and stamp, and of the stamps that it refuses.

A stamp is the number that the switch gives to a request. A session is one run of stamps from 1, during one life of the
switch's state.
"""

from __future__ import annotations

from midflight.primitives import Message

__all__ = ["Log", "is_later"]


def is_later(one: int, other: int) -> bool:
    """Return whether the sequencer session `one` comes after `other`, compared as 16-bit serial numbers (RFC 1982)."""
    return 0 < (one - other) % 2**16 < 2**15


class Log:
    """A replica's log of stamped requests, which are never deleted.

    It also records which missing requests the replica refuses: it no longer accepts them from the switch. `newest` is
    the newest sequencer session (16 bits) that is known at first.
    """

    def __init__(self, newest: int) -> None:
        self.newest = newest
        """The newest known session. All earlier ones are over: their missing requests are refused."""
        self._held: dict[int, dict[int, Message]] = {}
        self._refused: set[tuple[int, int]] = set()

    def get(self, session: int, stamp: int) -> Message | None:
        """Return the request with this sequencer session and stamp, or None if it is missing."""
        return self._held.get(session, {}).get(stamp)

    def put(self, session: int, stamp: int, request: Message) -> None:
        """Store a request under its session and stamp, in place of an earlier one."""
        self._held.setdefault(session, {})[stamp] = request

    def refuse(self, session: int, stamp: int) -> None:
        """Refuse the request with this session and stamp from now on. Does nothing if it is stored."""
        if self.get(session, stamp) is None:
            self._refused.add((session, stamp))

    def refuses(self, session: int, stamp: int) -> bool:
        """Return whether the request with this session and stamp is refused, assuming that it is missing.

        It is after `refuse`, or if a newer session is known.
        """
        return self.over(session) or (session, stamp) in self._refused

    def over(self, session: int) -> bool:
        """Return whether a sequencer session has ended, because a newer one is known."""
        return is_later(self.newest, session)

    def last(self, session: int) -> int:
        """Return the largest stamp of a session under which a request is stored, or 0 if there is none."""
        return max(self._held.get(session, ()), default=0)

    def following(self, session: int) -> int:
        """Return the first session after this one with a stored request, or the newest session if there is none."""
        found = [each for each, held in self._held.items() if held and is_later(each, session)]
        return min([*found, self.newest], key=lambda each: (each - session) % 2**16)
