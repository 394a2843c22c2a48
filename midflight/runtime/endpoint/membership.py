"""Creation of the endpoints of all hosts that take part in an application, for every primitive but `Aggregate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

from midflight.errors import MidflightError
from midflight.primitives import Barrier, Cache, GroupBy, Lock, Primitive, Program, Quorum, Schema, Sequencer
from midflight.primitives.kernel.map import Entry
from midflight.runtime.endpoint import Address, Endpoint, Timing
from midflight.runtime.endpoint.barrier import BarrierParty
from midflight.runtime.endpoint.grouping import GroupByServer, GroupByWorker
from midflight.runtime.endpoint.locks import LockClient
from midflight.runtime.endpoint.lockserver import LockServer
from midflight.runtime.endpoint.ordering import OrderedClient
from midflight.runtime.endpoint.replica import Replica
from midflight.runtime.endpoint.software import SoftwareServer
from midflight.runtime.endpoint.store import StoreClient, StoreServer
from midflight.runtime.endpoint.voting import QuorumServer, Voter

__all__ = ["Joined", "Places", "joined", "senders"]

_JOB = 1  # of a GroupBy


@dataclass(frozen=True, slots=True)
class Places:
    """The addresses of an application's hosts: the members by number, the clients of a `Sequencer`, and the server.

    An address is an IP address as text and a UDP port.
    """

    members: Sequence[Address]
    clients: Sequence[Address]
    server: Address

    def others(self, number: int) -> list[Address]:
        """Return the addresses of all members except the one with this number."""
        return [each for place, each in enumerate(self.members) if place != number]


class Joined(Sequence[Any]):
    """The endpoints of an application's members, as a sequence: the n-th runs on the n-th host.

    Their type depends on the primitive: `BarrierParty`, `Voter`, `LockClient`, `StoreClient`, `GroupByWorker` or
    `Replica`, in the modules of `midflight.runtime.endpoint`. `clients` and `server` have the others.
    """

    def __init__(
        self, members: Sequence[Endpoint], clients: Sequence[OrderedClient] = (), server: Endpoint | None = None
    ) -> None:
        self.members = tuple(members)
        self.clients = tuple(clients)
        """The clients that send requests to the replicas of a `Sequencer`."""
        self.server: Any = server
        """The server's endpoint, such as `LockServer`, `StoreServer` or `GroupByServer`. None if there is none."""

    def __len__(self) -> int:
        return len(self.members)

    @overload
    def __getitem__(self, place: int) -> Any: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Any]: ...

    def __getitem__(self, place: int | slice) -> Any:
        return self.members[place]


def senders(primitive: Primitive, places: Places) -> list[tuple[Address, int, int]]:
    """Return which hosts send requests to a switch that runs a primitive, as tuples of address, member number and job.

    A request has to carry these two numbers; one that the primitive's requests do not have is 0. A host may be in
    several tuples.
    """
    members, server = places.members, places.server
    match primitive:
        case Sequencer():
            return [(each, number, 0) for number, each in enumerate(places.clients)]
        case Lock():  # the server acquires locks as client 0, and releases those of dead clients in their names
            own = [(server, number, 0) for number in range(len(members) + 1)]
            return [*((each, number, 0) for number, each in enumerate(members, 1)), *own]
        case GroupBy():
            return [(each, number, _JOB) for number, each in enumerate((*members, server))]
        case Cache():
            return [(each, 0, 0) for each in (*members, server)]
        case _:
            return [(each, number, 0) for number, each in enumerate(members)]


def joined(
    program: Program,
    application: str,
    places: Places,
    *,
    epoch: int,
    timing: Timing,
    token: int = 0,
    software: Mapping[str, Sequence[Entry]] | None = None,
) -> Joined:
    """Return new endpoints for an application whose state is empty, in the given 16-bit epoch. Opens no sockets.

    timing: the retransmission timers.
    token: the 64-bit number that all messages carry, known only to the members and switches.
    software: None if a switch computes; otherwise the entries of the application's maps, by map name, for a server that
        does the switch's work.

    MidflightError if hosts take no part in the primitive, if their number is wrong, or if there are clients and it is
    no `Sequencer`. KeyError if the program has no such application.
    """
    primitive = program.applications[application].primitive
    made = _endpoints(primitive, Schema(program.schema(), {application: token}), places, epoch, timing)
    if software is not None and made.server is None:
        made.server = SoftwareServer(program)
        senders = places.clients if isinstance(primitive, Sequencer) else None
        made.server.serve(application, places.members, senders=senders, epoch=epoch, maps=software, token=token)
    return made


def _endpoints(primitive: Primitive, schema: Schema, places: Places, epoch: int, timing: Timing) -> Joined:
    name, server, numbers = primitive.name, places.server, range(len(places.members))
    least, most = _count(primitive)
    if not least <= len(numbers) <= most:
        limit = f"{most}" if least == most else f"{least} to {most}"
        raise MidflightError(f"{name} takes {limit} hosts, not {len(numbers)}")
    if places.clients and not isinstance(primitive, Sequencer):
        raise MidflightError(f"{name} has no separate clients", hint="only a Sequencer has clients")
    match primitive:
        case Barrier():
            return Joined([BarrierParty(schema, name, each, server, places.others(each), timing) for each in numbers])
        case Quorum():
            # The decision of a majority is final. That of fewer voters is only valid within one epoch.
            life = None if 2 * primitive.needed > primitive.voters else epoch
            voters = [
                Voter(primitive, schema, server, each, epoch=life, peers=places.others(each), timing=timing)
                for each in numbers
            ]
            counting = QuorumServer(primitive, schema, voters=places.members) if primitive.result == "forward" else None
            return Joined(voters, server=counting)
        case Lock():
            clients = [LockClient(schema, name, each + 1, server, timing) for each in numbers]
            return Joined(clients, server=LockServer(schema, name, server, clients=places.members, timing=timing))
        case Cache():
            store = StoreServer(schema, name, server, lanes=primitive.lanes, clients=places.members, timing=timing)
            for key in primitive.keys:
                store.fill(key)
            return Joined([StoreClient(schema, name, server, timing) for _ in numbers], server=store)
        case GroupBy():
            workers = [GroupByWorker(primitive, schema, server, each, job=_JOB, timing=timing) for each in numbers]
            totals = GroupByServer(
                primitive, schema, server, len(numbers), workers=places.members, job=_JOB, timing=timing
            )
            return Joined(workers, server=totals)
        case _:
            assert isinstance(primitive, Sequencer)
            replicas = [
                Replica(schema, name, places.others(each), server=server, session=epoch, timing=timing)
                for each in numbers
            ]
            asking = [
                OrderedClient(schema, name, each, place, server, places.members, timing=timing)
                for each, place in enumerate(places.clients)
            ]
            return Joined(replicas, asking)


def _count(primitive: Primitive) -> tuple[int, int]:
    """Return the smallest and the largest number of hosts that a primitive takes."""
    match primitive:
        case Barrier():
            return primitive.parties, primitive.parties
        case Quorum():
            return 1, primitive.voters
        case Lock():
            return 1, primitive.clients - 1  # client 0 is the server
        case GroupBy():
            return 1, primitive.workers - 1  # the last one is the server
        case Cache() | Sequencer():
            return 1, 2**16
    raise MidflightError(
        f"hosts cannot join a {primitive.title}",
        hint="they can join a Barrier, Cache, GroupBy, Lock, Quorum or Sequencer; an Aggregate needs a group",
    )
