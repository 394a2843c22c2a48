"""Clients of several ranks in one process, around one switch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from midflight.collectives.client import Client, Elsewhere, Job
from midflight.collectives.local import LocalSwitch, card
from midflight.collectives.program import program
from midflight.collectives.rounds import Round
from midflight.collectives.timing import timing

PATIENCE = 300.0


class StubWatch:
    """A `Watch` that says what a test sets."""

    def __init__(self) -> None:
        self.dead = self.behind = ""
        self.begun = 0

    def begin(self, number: int) -> None:
        self.begun = number

    def gone(self) -> str:
        return self.dead

    def late(self, number: int) -> str:
        return self.behind


class Pending:
    """What a rank's collective will return."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self.value: Any = None
        self.error: BaseException | None = None

    def end(self, error: BaseException | None) -> None:
        self.error = error
        self._done.set()

    def wait(self) -> Any:
        assert self._done.wait(PATIENCE), "the collective neither completed nor failed"
        if self.error is not None:
            raise self.error
        return self.value


class Ranks:
    """As many ranks as asked for, with their switch."""

    def __init__(self, count: int, *, timeout: float = PATIENCE) -> None:
        with ExitStack() as stack:
            self.cards = [card(rank) for rank in range(count)]
            for each in self.cards:
                stack.callback(each.close)
            self.switch = stack.enter_context(
                LocalSwitch(program(count, lanes=32), [each.bound for each in self.cards])
            )
            self.watches = [StubWatch() for _ in self.cards]
            self.clients = []
            self.endpoints = []
            for rank, link in enumerate(self.cards):
                link.plug(self.switch.addresses[rank])
                endpoints = {}
                for name, workers in self.switch.workers.items():
                    endpoints[name] = workers[rank].endpoint(timing(timeout))
                    link.listen(workers[rank].port, endpoints[name])
                client = Client(endpoints, [link], self.watches[rank], timeout=timeout, grace=0.5)
                stack.callback(client.close)
                self.clients.append(client)
                self.endpoints.append(endpoints)
            self._close = stack.pop_all().close

    def submit(self, rank: int, collective: Generator[Round | Elsewhere, Any, Any], name: str = "a test") -> Pending:
        pending = Pending()

        def steps() -> Generator[Round | Elsewhere, Any, None]:
            pending.value = yield from collective

        self.clients[rank].submit(Job(name, steps(), pending.end))
        return pending

    def run(self, collective: Callable[[int], Generator[Round | Elsewhere, Any, Any]]) -> Sequence[Any]:
        """Carry out a collective on all ranks, and return what each of them gets."""
        return [each.wait() for each in [self.submit(rank, collective(rank)) for rank in range(len(self.clients))]]

    def __enter__(self) -> Ranks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
