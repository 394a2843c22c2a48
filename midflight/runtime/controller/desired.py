"""The desired state of a controller, which outlives switch failures, program changes and the controller itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from midflight.primitives import Application, Program
from midflight.runtime.controller.endpoints import Host
from midflight.runtime.controller.maps import MapBook

__all__ = ["AdmissionRequest", "DesiredState"]


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """The admission of an application, other than a group's, on a switch.

    The switch computes on the requests of `hosts` and `senders`, or of all hosts if both are empty. `hosts` receive
    multicast results on UDP port `port`. Requests carry `token`; 0 is open to everybody. With `members`, only their
    requests are computed on, each with its numbers of member and job.
    """

    application: Application
    switch: str
    hosts: tuple[Host, ...]
    port: int
    senders: tuple[Host, ...] = ()
    token: int = field(default=0, repr=False)
    members: tuple[tuple[Host, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class DesiredState:
    """A program, and what has been requested for its applications.

    `admissions` and `mirrors` are by application and switch, `rates` (requests a second) by application. The entries
    of maps are in `maps`, the one part that changes in place.
    """

    program: Program
    maps: MapBook
    admissions: Mapping[tuple[str, str], AdmissionRequest] = field(default_factory=dict)
    rates: Mapping[str, int] = field(default_factory=dict)
    mirrors: Mapping[tuple[str, str], tuple[Host, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, program: Program) -> DesiredState:
        """Return the state in which nothing has been requested yet."""
        return cls(program, MapBook(program))

    def admitting(self, request: AdmissionRequest) -> DesiredState:
        """Return the state with an admission added, or replaced."""
        key = request.application.name, request.switch
        return replace(self, admissions={**self.admissions, key: request})

    def withdrawing(self, application: str, switch: str) -> DesiredState:
        """Return the state without an admission."""
        key = application, switch
        return replace(self, admissions={each: it for each, it in self.admissions.items() if each != key})

    def limiting(self, application: str, rate: int) -> DesiredState:
        """Return the state with an application's limit set to `rate` requests a second; 0 is no limit."""
        return replace(self, rates={**self.rates, application: rate})

    def mirroring(self, application: str, switch: str, hosts: tuple[Host, ...]) -> DesiredState:
        """Return the state in which an application's mirrored packets go from a switch to these hosts."""
        return replace(self, mirrors={**self.mirrors, (application, switch): hosts})

    def with_program(self, program: Program, placed: Mapping[str, Collection[str]]) -> DesiredState:
        """Return the state with another program; what was requested for applications that it lacks is dropped.

        `placed` holds, by switch, the applications that run there from now on.
        """
        ids = {name: each.id for name, each in program.applications.items()}
        same = [name for name, each in self.program.applications.items() if ids.get(name) == each.id]

        def remains(application: str, switch: str) -> bool:
            return application in same and application in placed[switch]

        return DesiredState(
            program,
            MapBook(program, self.maps),
            {key: each for key, each in self.admissions.items() if remains(*key)},
            {name: rate for name, rate in self.rates.items() if name in program.applications},
            {key: each for key, each in self.mirrors.items() if remains(*key)},
        )
