"""How applications stand on a switch: what it computes on, for whom, and what it has counted of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from midflight.runtime.p4runtime.client.results import Count
from midflight.runtime.steering.routes import Member

__all__ = ["Admission", "Child", "Inlet", "Standing"]

Inlet = tuple[int, int | None]
"""An application, and a port that its requests come by; None for all of them."""


@dataclass(frozen=True, slots=True)
class Child:
    """A switch below, which has members of its own: one copy of a result leaves by `port`, for it to copy further."""

    port: int
    mac: int


@dataclass(frozen=True, slots=True)
class Admission:
    """An application that a switch computes on: its id, its multicast group and who receives the results.

    `ports` are those that its requests come by: what comes by others is not computed on. None stands for all. `rate` is
    how many requests a second each of them may bring, while more pass by; 0 is no limit. `epoch` (0 to 65535, compared
    as a serial number) is carried by the results. One that is newer tells hosts that the state behind them was lost
    and begun anew.
    """

    application: int
    group: int
    members: tuple[Member | Child, ...]
    epoch: int = 1
    ports: tuple[int, ...] | None = None
    rate: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """How applications stand on a switch: what it computes on, where it mirrors to, and what it has counted."""

    admitted: Mapping[int, Admission]
    mirrors: Mapping[int, tuple[int, ...]]
    counted: Mapping[Inlet, Count]

    def only(self, applications: Collection[int]) -> Standing:
        """Return how these applications stand, by id, without the others."""
        return Standing(
            {name: each for name, each in self.admitted.items() if name in applications},
            {name: each for name, each in self.mirrors.items() if name in applications},
            {place: each for place, each in self.counted.items() if place[0] in applications},
        )

    def recounted(self, later: Standing) -> Standing:
        """Return the same with what has been counted later, where it has."""
        return replace(self, counted={**self.counted, **later.counted})
