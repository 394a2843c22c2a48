"""The stamped requests that a replica has, by session and stamp, and those that it refuses."""

from __future__ import annotations

from midflight.primitives import Message

__all__ = ["Log", "is_later"]


def is_later(one: int, other: int) -> bool:
    """Return whether session `one` comes after `other` (RFC 1982, with 16 bits)."""
    return 0 < (one - other) % 2**16 < 2**15


class Log:
    """Stamped requests, which are never deleted. A missing request that is refused is not accepted from the switch."""

    def __init__(self, newest: int) -> None:
        self.newest = newest
        """The newest known session. All earlier ones are over: their missing requests are refused."""
        self._held: dict[int, dict[int, Message]] = {}
        self._refused: set[tuple[int, int]] = set()

    def get(self, session: int, stamp: int) -> Message | None:
        """Return a request, or None if it is missing."""
        return self._held.get(session, {}).get(stamp)

    def put(self, session: int, stamp: int, request: Message) -> None:
        """Store a request that was missing."""
        self._held.setdefault(session, {})[stamp] = request

    def refuse(self, session: int, stamp: int) -> None:
        """Refuse a request, unless it is stored."""
        if self.get(session, stamp) is None:
            self._refused.add((session, stamp))

    def refuses(self, session: int, stamp: int) -> bool:
        """Return whether a request is refused, assuming that it is missing."""
        return self.over(session) or (session, stamp) in self._refused

    def over(self, session: int) -> bool:
        """Return whether a newer session is known."""
        return is_later(self.newest, session)

    def last(self, session: int) -> int:
        """Return the largest stored stamp of a session, or 0 if there is none."""
        return max(self._held.get(session, ()), default=0)

    def following(self, session: int) -> int:
        """Return the first later session with a stored request, or the newest session if there is none."""
        found = [each for each, held in self._held.items() if held and is_later(each, session)]
        return min([*found, self.newest], key=lambda each: (each - session) % 2**16)
