"""The desired state of a controller, which outlives switch failures, program changes and the controller itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from midflight.primitives import Application, Program
from midflight.runtime.controller.endpoints import Host
from midflight.runtime.controller.maps import MapBook
from midflight.runtime.steering.service import Service

__all__ = ["AdmissionRequest", "DesiredState"]


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """The request to admit an application on a switch, as passed to `Controller.admit`; groups' jobs have none.

    The switch, given by name, computes on the requests of `hosts` and `senders`, or of all hosts if both are empty.
    `hosts` receive multicast results on UDP port `port`. Requests must carry `token`, a 64-bit number, or 0 if the
    admission is open to everybody. If `members` is not empty, only their requests are computed on; each is a host with
    the numbers of member and job that its requests carry.
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

    `admissions` and `mirrors` (the hosts that receive the copies) are by application and switch name, `rates` (requests
    a second from each port; 0 is no limit) by application name. The entries of maps are in `maps`, the one part that
    changes in place. `services`, by name, are those to which switches steer requests; `instances` has the numbers of
    their instances' hosts, by name. Methods return a new state and leave this one unchanged.
    """

    program: Program
    maps: MapBook
    admissions: Mapping[tuple[str, str], AdmissionRequest] = field(default_factory=dict)
    rates: Mapping[str, int] = field(default_factory=dict)
    mirrors: Mapping[tuple[str, str], tuple[Host, ...]] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    instances: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, program: Program) -> DesiredState:
        """Return the state for a program of which nothing has been requested; its maps have their initial entries."""
        return cls(program, MapBook(program))

    def admitting(self, request: AdmissionRequest) -> DesiredState:
        """Return the state with this admission, in place of an earlier one of the same application and switch."""
        key = request.application.name, request.switch
        return replace(self, admissions={**self.admissions, key: request})

    def withdrawing(self, application: str, switch: str) -> DesiredState:
        """Return the state without the admission of an application on a switch, if there is one."""
        key = application, switch
        return replace(self, admissions={each: it for each, it in self.admissions.items() if each != key})

    def limiting(self, application: str, rate: int) -> DesiredState:
        """Return the state with an application limited to `rate` requests a second from each port; 0 is no limit."""
        return replace(self, rates={**self.rates, application: rate})

    def mirroring(self, application: str, switch: str, hosts: tuple[Host, ...]) -> DesiredState:
        """Return the state in which packets that an application mirrors on a switch are copied to `hosts`; none if
        empty.
        """
        return replace(self, mirrors={**self.mirrors, (application, switch): hosts})

    def with_program(self, program: Program, placed: Mapping[str, Collection[str]]) -> DesiredState:
        """Return the state with another program, without the admissions and mirrors of applications that it lacks or
        has under another id.

        `placed` has, for every switch name, the applications that run there from now on; admissions and mirrors
        elsewhere are dropped, too. Rate limits stay for all applications that the program has by name. Maps that keep
        their shape keep their entries, and are shared with this state. Services and instances stay.
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
            self.services,
            self.instances,
        )
