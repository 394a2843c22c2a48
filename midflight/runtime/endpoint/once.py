"""At-most-once execution: a request that arrives again gets the answer of the first time, and has no further effect."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from midflight.errors import MidflightError

__all__ = ["Once"]


class Once:
    """Remembers the answers to the latest `limit` requests, by the request's id.

    The id must be the same for all copies of a request, and for no other one: such as the client's address and port
    with the sequence number of the common header. An instance that serves requests with an effect puts it before its
    handler; instances that share the effect's state share it, too. MidflightError if the limit is not positive.
    """

    def __init__(self, limit: int = 65_536) -> None:
        if limit <= 0:
            raise MidflightError(f"the answers to {limit} requests cannot be remembered")
        self._limit = limit
        self._answers: dict[Hashable, bytes] = {}
        self.repeated = 0
        """How many requests had been executed before."""

    def answer(self, request: Hashable, execute: Callable[[], bytes]) -> bytes:
        """Return the answer to the request with this id, which `execute` computes if it is new. Its errors propagate.

        After an error, the request counts as not executed.
        """
        known = self._answers.get(request)
        if known is not None:
            self.repeated += 1
            return known
        made = execute()
        self._answers[request] = made
        if len(self._answers) > self._limit:
            del self._answers[next(iter(self._answers))]
        return made
