"""The parameter server: a host that computes in software what a switch on the way would compute.

It executes the primitive's own kernel, so its results are those of a switch by definition. What a switch multicasts,
the server sends to each member.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from midflight.errors import MidflightError, WireError
from midflight.primitives import Application, Schema, Verdict
from midflight.primitives.kernel.map import Entry
from midflight.primitives.kernel.primitive import Reference
from midflight.primitives.wire import FOR_HOST, REQUEST
from midflight.runtime.endpoint.reliable import Address

__all__ = ["Applications", "SoftwareServer"]


class Applications(Protocol):
    """What a server needs from a program. `Program` satisfies it."""

    @property
    def applications(self) -> Mapping[str, Application]:
        """The applications by name."""

    def schema(self) -> dict[str, Any]:
        """Return the wire schema."""


@dataclass(slots=True)
class SoftwareStatistics:
    """Counters of a server."""

    requests: int = 0
    left: int = 0  # requests among them that a switch had left to this host
    malformed: int = 0  # datagrams that are not requests of an application served here


class SoftwareServer:
    """The endpoint of a server for any of a program's applications (an `Endpoint`).

    It serves no application until `serve` is called.
    """

    def __init__(self, program: Applications) -> None:
        self.statistics = SoftwareStatistics()
        self._program = program
        self._schema = Schema(program.schema())
        self._served: dict[str, tuple[Reference, tuple[Address, ...]]] = {}
        self._outgoing: list[tuple[Address, bytes]] = []

    def adopt(self, program: Applications) -> None:
        """Switch to another program.

        Applications that have the same name and id in it keep their state; others are dropped.
        """
        ids = {name: each.id for name, each in self._program.applications.items()}
        there = {name for name, each in program.applications.items() if ids.get(name) == each.id}
        self._served = {name: each for name, each in self._served.items() if name in there}
        self._program, self._schema = program, Schema(program.schema())

    def serve(
        self,
        application: str,
        members: Sequence[Address],
        *,
        epoch: int = 0,
        maps: Mapping[str, Sequence[Entry]] | None = None,
    ) -> None:
        """Start computing for an application, with its initial state. `members` receive its multicasts.

        epoch: must be newer than that of whatever computed for these members before. maps: by name, the entries of
        maps; the other maps start with the entries that the primitive defines. MidflightError if the program has no
        such application.
        """
        found = self._program.applications.get(application)
        if found is None:
            raise MidflightError(f"the program has no application {application!r}")
        reference = found.primitive.reference(epoch=epoch)
        for name, entries in (maps or {}).items():
            reference.map(name).hold(entries)
        self._served[application] = reference, tuple(members)

    def write(self, application: str, name: str, entry: Entry, there: bool) -> None:
        """Add an entry to a map of an application, or remove it if `there` is False.

        No effect if it is not served here.
        """
        if application in self._served:
            written = self._served[application][0].map(name)
            others = [each for each in written.entries if each.parts != entry.parts]
            written.hold([*others, entry] if there else others)

    def receive(self, source: Address, datagram: bytes, _now: int) -> None:
        """Compute on a request. Anything else is counted and dropped."""
        try:
            request = self._schema.decode(datagram)
        except WireError:
            self.statistics.malformed += 1
            return
        served = self._served.get(request.application)
        if served is None or request.kind not in (REQUEST, FOR_HOST):
            self.statistics.malformed += 1
            return
        self.statistics.requests += 1
        self.statistics.left += request.kind == FOR_HOST
        reference, members = served
        outcome = reference.process(replace(request, kind=REQUEST))
        if outcome.verdict in (Verdict.REPLY, Verdict.MULTICAST):
            result = self._schema.encode(outcome.message)
            receivers = members if outcome.verdict == Verdict.MULTICAST else (source,)
            self._outgoing += [(receiver, result) for receiver in receivers]

    def poll(self, _now: int) -> list[tuple[Address, bytes]]:
        """Return the results that are ready. Requests that the kernel forwards or drops have no result."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def next_deadline(self) -> int | None:
        """Return None: a server only answers."""
        return None
