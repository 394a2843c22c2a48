"""What a replica has of the stamped requests, by session and stamp, and what it will not take any more."""

from __future__ import annotations

from midflight.primitives import Message

__all__ = ["Log", "is_later"]


def is_later(one: int, other: int) -> bool:
    """Say whether session `one` comes after `other` (RFC 1982, with 16 bits)."""
    return 0 < (one - other) % 2**16 < 2**15


class Log:
    """Stamped requests, kept for good. What a replica lacks and refuses it never gets from the switch."""

    def __init__(self, newest: int) -> None:
        self.newest = newest
        """The newest session that is known: all before it are over, and what is lacking of them is refused."""
        self._held: dict[int, dict[int, Message]] = {}
        self._refused: set[tuple[int, int]] = set()

    def get(self, session: int, stamp: int) -> Message | None:
        """Return a request, None where it is lacking."""
        return self._held.get(session, {}).get(stamp)

    def put(self, session: int, stamp: int, request: Message) -> None:
        """Keep a request that was lacking."""
        self._held.setdefault(session, {})[stamp] = request

    def refuse(self, session: int, stamp: int) -> None:
        """Refuse a request, unless it is there."""
        if self.get(session, stamp) is None:
            self._refused.add((session, stamp))

    def refuses(self, session: int, stamp: int) -> bool:
        """Tell whether a request, where it is lacking, is not taken from the switch."""
        return self.over(session) or (session, stamp) in self._refused

    def over(self, session: int) -> bool:
        """Tell whether there is a newer session."""
        return is_later(self.newest, session)

    def last(self, session: int) -> int:
        """Return the largest stamp of a session that is there, 0 where there is none."""
        return max(self._held.get(session, ()), default=0)

    def following(self, session: int) -> int:
        """Return the first session after this one of which anything is there; where there is nothing, the newest."""
        found = [each for each, held in self._held.items() if held and is_later(each, session)]
        return min([*found, self.newest], key=lambda each: (each - session) % 2**16)
