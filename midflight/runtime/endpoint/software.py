"""The parameter server: a host that computes in software what a switch on the way would compute.

It executes the primitive's own kernel, so its results are those of a switch by definition. What a switch multicasts,
the server sends to each member.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from midflight.errors import MidflightError, WireError
from midflight.primitives import Application, Message, Schema, Verdict
from midflight.primitives.kernel.map import Entry
from midflight.primitives.kernel.primitive import Reference
from midflight.primitives.wire import FOR_HOST, REQUEST
from midflight.runtime.endpoint.messages import Refused, whole
from midflight.runtime.endpoint.reliable import Address

__all__ = ["Applications", "SoftwareServer"]


class Applications(Protocol):
    """The part of a program that a server needs. `Program` satisfies it."""

    @property
    def applications(self) -> Mapping[str, Application]:
        """The program's applications by application name."""

    def schema(self) -> dict[str, Any]:
        """Return the wire schema of the applications, a JSON object from which `Schema` encodes and decodes
        messages.
        """


@dataclass(slots=True)
class SoftwareStatistics:
    """Counters of a `SoftwareServer`: requests that it computed on, and refused datagrams.

    `left` counts the requests among them that a switch had left to this host (`packet.fallback`).
    """

    requests: int = 0
    left: int = 0  # requests among them that a switch had left to this host
    refused: Refused = field(default_factory=Refused)


@dataclass(frozen=True, slots=True)
class _Served:
    """An application: its state, and the hosts that take part."""

    reference: Reference
    token: int
    member: str
    members: tuple[Address, ...]
    senders: tuple[Address, ...]

    def sends(self, source: Address, request: Message) -> bool:
        """Return whether a request can come from an address."""
        if not self.member:
            return not self.senders or source in self.senders
        number = whole(request, self.member)
        return not self.senders or (number < len(self.senders) and self.senders[number] == source)


class SoftwareServer:
    """The endpoint of a server that computes any of a program's applications in software (an `Endpoint`).

    It serves no application until `serve` is called.
    """

    def __init__(self, program: Applications) -> None:
        self.statistics = SoftwareStatistics()
        self._program = program
        self._schema = Schema(program.schema())
        self._served: dict[str, _Served] = {}
        self._outgoing: list[tuple[Address, bytes]] = []

    def adopt(self, program: Applications) -> None:
        """Serve another program from now on.

        Applications that have the same name and id in it keep their state; others are dropped. A new one needs `serve`.
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
        senders: Sequence[Address] | None = None,
        epoch: int = 0,
        maps: Mapping[str, Sequence[Entry]] | None = None,
        token: int = 0,
    ) -> None:
        """Start computing for an application, with its initial state.

        `members` are the addresses that get its multicasts.

        senders: the addresses that requests come from; None for the members. If the primitive's requests carry the
            number of their sender (`Primitive.MEMBER`), these are in the order of the numbers. If empty, requests are
            accepted from any address.
        epoch: 16 bits, newer than that of the switch or server that computed for these members before.
        maps: by name, the entries of maps; the other maps start with the entries that the primitive defines.
        token: the 64-bit number that requests have to carry.

        MidflightError if the program has no such application, or the application no such map. The earlier state then
        stays.
        """
        found = self._program.applications.get(application)
        if found is None:
            raise MidflightError(f"the program has no application {application!r}")
        reference = found.primitive.reference(epoch=epoch)
        for name, entries in (maps or {}).items():
            reference.map(name).hold(entries)
        sending = tuple(members if senders is None else senders)
        self._served[application] = _Served(reference, token, found.primitive.MEMBER, tuple(members), sending)

    def write(self, application: str, name: str, entry: Entry, present: bool) -> None:
        """Add an entry to the map `name` of an application, replacing one with the same key.

        If `present` is False, remove it instead. No effect if the application is not served here. KernelError if it has
        no such map, or if the map is full.
        """
        if application in self._served:
            written = self._served[application].reference.map(name)
            others = [each for each in written.entries if each.parts != entry.parts]
            written.hold([*others, entry] if present else others)

    def receive(self, source: Address, datagram: bytes, _now: int) -> None:
        """Execute the application's kernel on a request; `poll` then returns the result, if the kernel gives one.

        `source` is the request's source address. Datagrams that are malformed, for applications that are not served,
        with another token or from another sender than the member that they name are counted in `statistics.refused` and
        dropped. Never raises for bad datagrams.
        """
        try:
            request = self._schema.decode(datagram)
        except WireError:
            self.statistics.refused.malformed += 1
            return
        served = self._served.get(request.application)
        if served is None or request.kind not in (REQUEST, FOR_HOST):
            self.statistics.refused.malformed += 1
            return
        if request.token != served.token:
            self.statistics.refused.token += 1
            return
        if not served.sends(source, request):
            self.statistics.refused.source += 1
            return
        self.statistics.requests += 1
        self.statistics.left += request.kind == FOR_HOST
        outcome = served.reference.process(replace(request, kind=REQUEST))
        if outcome.verdict in (Verdict.REPLY, Verdict.MULTICAST):
            result = self._schema.encode(outcome.message)
            receivers = served.members if outcome.verdict == Verdict.MULTICAST else (source,)
            self._outgoing += [(receiver, result) for receiver in receivers]

    def poll(self, _now: int) -> list[tuple[Address, bytes]]:
        """Return the results that are ready. Requests that the kernel forwards or drops have no result."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def next_deadline(self) -> int | None:
        """Return None: a server only answers, and so never has to be polled at a given time."""
        return None
