"""Admissions of applications on a switch, as values, and a snapshot of all of them with mirrors and counters."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from midflight.errors import MidflightError
from midflight.primitives.wire import REQUEST
from midflight.runtime.p4runtime.client.results import Count
from midflight.runtime.steering.entry import Entry
from midflight.runtime.steering.graph import IPAddress
from midflight.runtime.steering.routes import Member

__all__ = ["Admission", "Child", "Inlet", "Sender", "Standing", "check_rate", "check_token"]

_MAX_RATE = 2**31 - 1

Inlet = tuple[int, int | None]
"""An application's id, and a port of the switch by which its requests arrive; None stands for all ports."""


@dataclass(frozen=True, slots=True)
class Child:
    """A switch that receives a multicast result, to copy it to its own members; in a tree, it is nearer to the workers.

    One copy leaves by `port`, with the destination MAC address `mac`, a 48-bit integer.
    """

    port: int
    mac: int


@dataclass(frozen=True, slots=True)
class Sender:
    """A sender whose packets a switch computes on: they arrive by `port`, come from the IP `address`, and carry these
    numbers.

    `number` is that of the member and `job` that of the job; they are 0 if the application's header has no such field.
    `kind` is the message kind of the packets: requests, or, from the switch above in a tree, results for all members.
    """

    port: int
    address: IPAddress
    number: int = 0
    job: int = 0
    kind: int = REQUEST


@dataclass(frozen=True, slots=True)
class Admission:
    """An application that a switch computes on: its id, its multicast group and the members that receive results.

    The switch computes only on requests that arrive by `ports`, None for all ports, that carry `token` (64 bits), and,
    unless `senders` is None, that one of these sends; it forwards all others. `rate` is the number of requests a second
    that each port may bring; further ones are forwarded. 0 is no limit. Results carry `epoch` (0 to 65535, compared as
    a serial number). A newer epoch shows hosts that the state before it has been lost.
    """

    application: int
    group: int
    members: tuple[Member | Child, ...]
    epoch: int = 1
    ports: tuple[int, ...] | None = None
    rate: int = 0
    token: int = field(default=0, repr=False)
    senders: tuple[Sender, ...] | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A snapshot of how applications stand on a switch, to restore it later.

    `admitted` are the admissions and `mirrors` the ports that get mirrored packets, both by application id. `counted`
    has the packets and bytes of each inlet, an application and a port by which its requests arrive. `services` are the
    entries that steer requests to services.
    """

    admitted: Mapping[int, Admission]
    mirrors: Mapping[int, tuple[int, ...]]
    counted: Mapping[Inlet, Count]
    services: tuple[Entry, ...] = ()

    def only(self, applications: Collection[int]) -> Standing:
        """Return a copy of the snapshot that has only the applications with these ids, and all services."""
        return Standing(
            {name: each for name, each in self.admitted.items() if name in applications},
            {name: each for name, each in self.mirrors.items() if name in applications},
            {place: each for place, each in self.counted.items() if place[0] in applications},
            self.services,
        )

    def recounted(self, later: Standing) -> Standing:
        """Return the same admissions and mirrors with the counters of a later snapshot, where that has any."""
        return replace(self, counted={**self.counted, **later.counted})


def check_rate(rate: int) -> None:
    """Raise MidflightError unless `rate`, in requests a second, is one that an admission can have: 0 to 2**31 - 1."""
    if not 0 <= rate <= _MAX_RATE:
        raise MidflightError(f"a rate must be 0 to {_MAX_RATE} requests a second, not {rate}")


def check_token(token: int) -> None:
    """Raise MidflightError unless `token` is one that an admission can have: 0 to 2**64 - 1."""
    if not 0 <= token < 1 << 64:
        raise MidflightError("a token must be 0 to 2**64 - 1")
