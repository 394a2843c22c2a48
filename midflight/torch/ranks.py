"""The connection of a group of ranks to their switch, which rank 0 starts on their machine."""

from __future__ import annotations

import json
import logging
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from midflight.collectives.client import Client
from midflight.collectives.local import card
from midflight.collectives.program import OPERATIONS
from midflight.collectives.supervisor import SupervisedSwitch
from midflight.collectives.timing import timing
from midflight.collectives.watch import Member, StoreWatch
from midflight.errors import MidflightError
from midflight.runtime.endpoint.allreduce import AllReduce, AllReduceStatistics
from midflight.runtime.endpoint.framelink import FrameLink, FrameLinkStatistics
from midflight.runtime.endpoint.ticket import worker_from_ticket

__all__ = ["Ranks", "join"]

_LOG = logging.getLogger("midflight")
_LEAVING = 5.0  # seconds that rank 0 waits for the others before it stops the switch


class Ranks:
    """A rank's connection to the switch of its group.

    `client` carries out collectives. `switch` is the process id of the switch as rank 0 has started it; after a restart
    the switch is another process.
    """

    def __init__(
        self,
        client: Client,
        endpoints: dict[str, AllReduce],
        link: FrameLink,
        switch: int,
        members: tuple[int, int],
        store: Any,
        opened: ExitStack,
    ) -> None:
        self.client = client
        self.switch = switch
        self._endpoints, self._link = endpoints, link
        self._rank, self._size = members
        self._store, self._opened = store, opened

    @property
    def statistics(self) -> dict[str, AllReduceStatistics]:
        """By operation, the counters of this rank's endpoint."""
        return {name: each.statistics for name, each in self._endpoints.items()}

    @property
    def frames(self) -> FrameLinkStatistics:
        """The counters of the frames that this rank has exchanged with the switch."""
        return self._link.statistics

    def leave(self) -> None:
        """End the connection when all ranks leave it, or after 5 s; rank 0 then stops the switch.

        Until then the others get this rank's contributions, which they may need once more. A rank whose collectives
        have failed does not wait, unless it is rank 0.
        """
        with suppress(Exception):  # the store may have ended before: then nobody is left to be considered
            self._store.set(f"left/{self._rank}", "")
            end = time.monotonic() + _LEAVING
            others = [f"left/{each}" for each in range(self._size) if each != self._rank]
            while (self._rank == 0 or self.client.alive) and not self._store.check(others) and time.monotonic() < end:
                time.sleep(0.01)
        self.client.close()
        self._opened.close()


def join(store: Any, rank: int, size: int, timeout: timedelta) -> Ranks:
    """Connect a rank to the switch of its group, which rank 0 starts. Blocks until all ranks do.

    `timeout` is that of the collectives. MidflightError if the ranks are not on one machine, if there are not 2 to 64,
    or if the switch cannot be started: all ranks get the same. Errors of `store` propagate, such as that of its timeout
    if a rank does not come. Nothing stays open after an error.
    """
    store = _own(store)
    with ExitStack() as opened:
        link = card(rank)
        opened.callback(link.close)
        here = Member.here()
        store.set(f"card/{rank}", json.dumps(link.bound))
        store.set(f"member/{rank}", here.text())
        members = [Member.read(store.get(f"member/{each}")) for each in range(size)]
        if rank == 0:
            _start(store, members, opened)
        answer = json.loads(store.get("switch"))
        if "message" in answer:
            raise MidflightError(answer["message"], hint=answer["hint"])
        link.plug(tuple(answer["addresses"][rank]))
        endpoints: dict[str, AllReduce] = {}
        for name in OPERATIONS:
            worker = worker_from_ticket(answer["workers"][name][rank])
            endpoints[name] = worker.endpoint(timing(timeout.total_seconds()))
            link.listen(worker.port, endpoints[name])
        watch = StoreWatch(members, rank, store, answer["supervisor"])
        opened.callback(watch.close)
        client = Client(endpoints, [link], watch, timeout=timeout.total_seconds())
        return Ranks(client, endpoints, link, answer["pid"], (rank, size), store, opened.pop_all())


def _start(store: Any, members: list[Member], opened: ExitStack) -> None:
    """Start the switch and publish its parameters, or the reason why there is none, for all ranks."""
    try:
        elsewhere = [number for number, each in enumerate(members) if each.machine != members[0].machine]
        if elsewhere:
            raise MidflightError(
                f"rank {elsewhere[0]} is on {members[elsewhere[0]].host} and rank 0 on {members[0].host}, "
                "and a switch in a process serves one machine only",
                hint="run all ranks on one machine, and outside of containers of their own",
            )
        _LOG.info("starting a switch for %d ranks; the first time, its program is compiled", len(members))
        cards = [tuple(json.loads(store.get(f"card/{each}"))) for each in range(len(members))]
        started = opened.enter_context(SupervisedSwitch(cards)).started
        workers = {name: [asdict(each) for each in those] for name, those in started.workers.items()}
        answer = {
            "addresses": started.addresses,
            "workers": workers,
            "pid": started.pid,
            "supervisor": started.supervisor,
        }
    except MidflightError as error:
        answer = {"message": error.message, "hint": error.hint}
    store.set("switch", json.dumps(answer))


def _own(store: Any) -> Any:
    """Return a connection of its own to the store, so that no other thread's waiting delays this one, if possible."""
    try:
        return store.clone()
    except (AttributeError, NotImplementedError, RuntimeError):
        return store
