"""The state of the other ranks, as one rank sees it: which processes run, and which collective each has begun."""

from __future__ import annotations

import json
import os
import select
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["Member", "Store", "StoreWatch"]


class Store(Protocol):
    """A store of texts by key that all ranks share, such as torch's."""

    def set(self, key: str, value: str, /) -> None:
        """Store a value. An exception of any kind if the store does not answer."""

    def get(self, key: str, /) -> bytes:
        """Return a value, and wait until there is one. An exception of any kind if there is none in time."""

    def check(self, keys: list[str], /) -> bool:
        """Return whether there is a value for each key, without waiting for them. Raises as `set` does."""


@dataclass(frozen=True, slots=True)
class Member:
    """Where a rank runs: its process id, the name of its machine, and what identifies the machine.

    Processes with equal `machine` have the same kernel, network and process ids.
    """

    pid: int
    host: str
    machine: str

    @classmethod
    def here(cls) -> Member:
        """Return this process."""
        parts = [Path("/proc/sys/kernel/random/boot_id").read_text().strip()]
        parts += [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("net", "pid")]
        return cls(os.getpid(), socket.gethostname(), " ".join(parts))

    @classmethod
    def read(cls, text: bytes) -> Member:
        """Return the member that `text` describes."""
        return cls(**json.loads(text))

    def text(self) -> str:
        """Return a description for `read`."""
        return json.dumps(asdict(self))


class StoreWatch:
    """Watches the ranks of a group (a `Watch` of a `Client`), by their processes and a store that they share.

    A rank publishes the number of its collective only while it waits for others, so the store is hardly used.

    members: where each rank runs, in order; the processes of those on this machine are watched. rank: this one. store:
    used by several threads. supervisor: the process id of the switch's supervisor on this machine, which is watched
    like a rank; 0 for none.
    """

    def __init__(self, members: Sequence[Member], rank: int, store: Store, supervisor: int = 0) -> None:
        self._members, self._rank, self._store = members, rank, store
        self._begun = self._published = 0
        self._processes: dict[int, int] = {}
        self._ended: dict[int, None] = {}
        self._supervisor = supervisor
        self._publisher: threading.Thread | None = None
        own = members[rank].machine
        watched = {number: each.pid for number, each in enumerate(members) if number != rank and each.machine == own}
        if supervisor:
            watched[len(members)] = supervisor
        for number, pid in watched.items():
            try:
                self._processes[number] = os.pidfd_open(pid)
            except ProcessLookupError:
                self._ended[number] = None
            except OSError:  # no more files, or a kernel without it: it is found missing at the timeout
                pass

    def begin(self, number: int) -> None:
        """Note that this rank has begun its collective of this number, counted from 1."""
        self._begun = number

    def gone(self) -> str:
        """Return a message about processes of this machine that have ended, or an empty text if there are none.

        Takes up to 0.1 s if the store does not answer.
        """
        self._publish()
        if self._processes:
            poll = select.poll()
            for each in self._processes.values():
                poll.register(each, select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll(0)}
            for number in [number for number, each in self._processes.items() if each in ready]:
                os.close(self._processes.pop(number))
                self._ended[number] = None
        names = [self._name(number) for number in sorted(self._ended)]
        return "" if not names else f"{' and '.join(names)} {'has' if len(names) == 1 else 'have'} ended"

    def late(self, number: int) -> str:
        """Return a message about the ranks that have not begun the collective of this number, or an empty text if all
        have.

        If the store does not answer, the message says that instead. Blocks as long as the store does.
        """
        self._publish()
        behind = []
        for other in range(len(self._members)):
            if other == self._rank:
                continue
            try:
                begun = int(self._store.get(_key(other))) if self._store.check([_key(other)]) else 0
            except Exception as error:
                return f"the group's store does not answer ({error}), so the process that keeps it may have ended"
            if begun < number:
                behind.append(self._name(other))
        verb = "has" if len(behind) == 1 else "have"
        return "" if not behind else f"{' and '.join(behind)} {verb} not begun it"

    def close(self) -> None:
        """Stop watching. `gone` still names those that it has found. Idempotent."""
        for each in self._processes.values():
            os.close(each)
        self._processes.clear()

    def _publish(self) -> None:
        """Publish the number of this rank's collective. A store that does not answer delays the caller by 0.1 s."""
        if self._begun != self._published and (self._publisher is None or not self._publisher.is_alive()):
            self._publisher = threading.Thread(target=self._set, args=(self._begun,), name="publishing", daemon=True)
            self._publisher.start()
        if self._publisher is not None:
            self._publisher.join(0.1)

    def _set(self, number: int) -> None:
        with suppress(Exception):  # the store may have ended with its process, which `gone` then names
            self._store.set(_key(self._rank), str(number))
            self._published = number

    def _name(self, rank: int) -> str:
        if rank == len(self._members):
            return f"the supervisor of the switch (process {self._supervisor})"
        member = self._members[rank]
        return f"rank {rank} (process {member.pid} on {member.host})"


def _key(rank: int) -> str:
    return f"begun/{rank}"
