"""A snapshot of how applications stand on a switch: admissions, mirrors and counters."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from midflight.runtime.p4runtime.client.results import Count
from midflight.runtime.steering.routes import Member

__all__ = ["Admission", "Child", "Inlet", "Standing"]

Inlet = tuple[int, int | None]
"""An application id and a port by which its requests arrive. None stands for all ports."""


@dataclass(frozen=True, slots=True)
class Child:
    """A switch below, with members of its own: one copy of a result leaves by `port` for the child to copy further."""

    port: int
    mac: int


@dataclass(frozen=True, slots=True)
class Admission:
    """An application that a switch computes on: its id, its multicast group and the members that receive results.

    The switch computes only on requests that arrive by `ports`; None stands for all ports. `rate` is the number of
    requests a second that each port may bring; further ones are forwarded. 0 is no limit. Results carry `epoch` (0 to
    65535, compared as a serial number). A newer epoch shows hosts that the state before it has been lost.
    """

    application: int
    group: int
    members: tuple[Member | Child, ...]
    epoch: int = 1
    ports: tuple[int, ...] | None = None
    rate: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """How applications stand on a switch: its admissions, its mirrors, and the counters by inlet."""

    admitted: Mapping[int, Admission]
    mirrors: Mapping[int, tuple[int, ...]]
    counted: Mapping[Inlet, Count]

    def only(self, applications: Collection[int]) -> Standing:
        """Return the part that belongs to these applications, given by id."""
        return Standing(
            {name: each for name, each in self.admitted.items() if name in applications},
            {name: each for name, each in self.mirrors.items() if name in applications},
            {place: each for place, each in self.counted.items() if place[0] in applications},
        )

    def recounted(self, later: Standing) -> Standing:
        """Return the same standing with the counters of a later one, where that has any."""
        return replace(self, counted={**self.counted, **later.counted})
