"""Offload: what makes a switch compute on an application's packets in passing, and what takes it back.

Workers always address the server. An admitted application is computed on by the switch on the way; one that is
not reaches the server, which computes the same. So to offload is to add entries, and to withdraw is to take them
away: no host needs to be told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from midflight.errors import DeviceError, MidflightError
from midflight.runtime.p4runtime.results import Count
from midflight.runtime.steering.graph import IPAddress
from midflight.runtime.steering.routes import Member, Route

__all__ = ["Admission", "Child", "Controls", "Offload", "Standing"]

ROUTES = {4: "ingress.route", 6: "ingress.route_ipv6"}
"""By version of IP."""
ADMISSION, DELIVER = "ingress.admission", "egress.deliver"
APPLICATION = "hdr.midflight.application"


class Controls(Protocol):
    """The part of a P4Runtime session that steering uses. Each call raises DeviceError where the device refuses."""

    def insert(
        self,
        table: str,
        match: Mapping[str, object],
        action: str,
        params: Mapping[str, int],
        *,
        priority: int = 0,
        rate: int = 0,
    ) -> None:
        """Add a table entry, and the rate of its meter; refused where one with the same match is there."""

    def modify(
        self,
        table: str,
        match: Mapping[str, object],
        action: str,
        params: Mapping[str, int],
        *,
        priority: int = 0,
        rate: int = 0,
    ) -> None:
        """Change the action of a table entry that is there, and the rate of its meter."""

    def delete(self, table: str, match: Mapping[str, object], *, priority: int = 0) -> None:
        """Remove a table entry that is there."""

    def read_entry_counter(self, table: str, match: Mapping[str, object], *, priority: int = 0) -> Count:
        """Return the direct counter of a table entry that is there."""

    def multicast(self, group: int, ports: Sequence[int]) -> None:
        """Set the ports that a multicast group copies to; none removes the group."""

    def clone_session(self, number: int, ports: Sequence[int]) -> None:
        """Set the ports that a clone session copies to; none removes the session."""


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
class _Entry:
    """What shall hold for one match of a table: an action with its parameters, or nothing."""

    table: str
    match: tuple[tuple[str, object], ...]
    action: str = ""
    params: tuple[tuple[str, int], ...] = ()
    priority: int = 0
    rate: int = 0

    @property
    def key(self) -> tuple[str, object]:
        return self.table, self.match

    def gone(self) -> _Entry:
        return _Entry(self.table, self.match, priority=self.priority)


@dataclass(frozen=True, slots=True)
class _Group:
    """What shall hold for one multicast group: the ports it copies to, none where it is not to be."""

    number: int
    ports: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[str, object]:
        return "", self.number

    def gone(self) -> _Group:
        return _Group(self.number)


@dataclass(frozen=True, slots=True)
class _Mirror:
    """What shall hold for the clone session of one application: the ports it copies to, none where it is not to be."""

    number: int
    ports: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[str, object]:
        return "mirror", self.number

    def gone(self) -> _Mirror:
        return _Mirror(self.number)


_Step = _Entry | _Group | _Mirror
_Place = tuple[int, int | None]
"""An application, and a port that its requests come by; None for all of them."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How applications stand on a switch: what it computes on, where it mirrors to, and what it has counted."""

    admitted: Mapping[int, Admission]
    mirrors: Mapping[int, tuple[int, ...]]
    counted: Mapping[_Place, Count]

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


class Offload:
    """The steering state of one switch, changed through a session.

    Every method says what shall hold, not what to do: calling it twice changes nothing more. A change is made
    whole or not at all: where the device refuses a step, those before it are taken back and the refusal is
    raised. Only what a device that has died did not take back stays, and the next call mends that. The order of
    steps lets no packet meet half a change: receivers are known before an application is admitted, and it is no
    longer admitted before they go.
    """

    def __init__(self, session: Controls) -> None:
        self._session = session
        self._done: dict[tuple[str, object], _Step] = {}
        self._admitted: dict[int, Admission] = {}
        self._routes: dict[tuple[int, int, int], Route] = {}
        self._redirected: dict[tuple[int, int, int], Route] = {}
        self._mirrors: dict[int, tuple[int, ...]] = {}
        self._counted: dict[_Place, Count] = {}  # by entries that were there before

    @property
    def admitted(self) -> Mapping[int, Admission]:
        """What the switch computes on now, by application id."""
        return dict(self._admitted)

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes in force, redirections included, by address."""
        both = {**self._routes, **self._redirected}
        return tuple(both[key] for key in sorted(both))

    def install(self, routes: Iterable[Route]) -> None:
        """Make these the switch's routes: add what is missing, change what differs, remove what is gone.

        A redirected address stays redirected until it is restored.
        """
        wanted = {each.key: each for each in routes}
        steps: list[_Step] = [_route(each) for key, each in wanted.items() if key not in self._redirected]
        steps += [_route(old).gone() for key, old in self._routes.items() if key not in {*wanted, *self._redirected}]
        self._change(steps)
        self._routes = wanted

    def redirect(self, route: Route) -> None:
        """Send what is addressed to `route.address` by this way instead, whatever the installed routes say."""
        self._change([_route(route)])
        self._redirected[route.key] = route

    def restore(self, address: IPAddress, prefix: int = -1) -> None:
        """Take a redirection back: the installed route holds again, or none where there was none."""
        key = Route(address, 0, 0, prefix).key
        if key in self._redirected:
            installed = self._routes.get(key)
            self._change([_route(installed) if installed else _route(self._redirected[key]).gone()])
            del self._redirected[key]

    def admit(
        self,
        application: int,
        members: Iterable[Member | Child],
        *,
        group: int | None = None,
        epoch: int = 1,
        ports: Iterable[int] | None = None,
        rate: int = 0,
    ) -> Admission:
        """Have the switch compute on an application and multicast its results to `members`, hosts and switches.

        `group` is the multicast group's number, the application's own unless told. Members of an application
        that is already admitted are changed in place. `ports` and `rate` are told at `Admission`. MidflightError where
        another application has the group or two members share a port.
        """
        wanted = Admission(
            application,
            application if group is None else group,
            tuple(members),
            epoch,
            None if ports is None else tuple(sorted(set(ports))),
            rate,
        )
        outlets = [each.port for each in wanted.members]
        if len(set(outlets)) != len(outlets):
            raise MidflightError(f"two members of application {application} share a port of the switch")
        if not 0 <= wanted.epoch <= 0xFFFF:
            raise MidflightError(f"epoch {wanted.epoch} is not in 0..65535")
        if not 0 <= wanted.rate < 2**31:
            raise MidflightError(f"a rate of {wanted.rate} packets a second is not in 0..{2**31 - 1}")
        if not 1 <= wanted.group <= 0xFFFF:
            raise MidflightError(f"multicast group {wanted.group} is not in 1..65535")
        for other in self._admitted.values():
            if other.application != application and other.group == wanted.group:
                raise MidflightError(f"multicast group {wanted.group} is that of application {other.application}")
        before = self._admitted.get(application)
        steps = _computing(wanted)
        if before:
            now = {each.key for each in steps}
            steps += [each.gone() for each in _admission(before) if each.key not in now]
            if before.group != wanted.group:
                steps.append(_Group(before.group))
            steps += [_deliver(application, old).gone() for old in before.members if old.port not in outlets]
        self._change(steps)
        self._admitted[application] = wanted
        self._counted = {
            (name, port): each
            for (name, port), each in self._counted.items()
            if name != application or port in _ports(wanted)
        }
        return wanted

    def limit(self, application: int, rate: int) -> None:
        """Have an admitted application be computed on at this rate, told at `Admission`, and all else as it is."""
        now = self._admitted[application]
        self.admit(application, now.members, group=now.group, epoch=now.epoch, ports=now.ports, rate=rate)

    def withdraw(self, application: int) -> None:
        """Have the switch only forward an application's packets, as before it was admitted."""
        if before := self._admitted.get(application):
            gone: list[_Step] = [*(each.gone() for each in _admission(before)), _Group(before.group)]
            gone += [_deliver(application, each).gone() for each in before.members]
            self._change(gone)
            del self._admitted[application]
            self._counted = {place: each for place, each in self._counted.items() if place[0] != application}

    def mirror(self, application: int, ports: Iterable[int] = ()) -> None:
        """Send the copies that an application's kernel mirrors to these ports; to none, where there are none."""
        mirror = _Mirror(application, tuple(sorted(set(ports))))
        self._change([mirror])
        self._mirrors[application] = mirror.ports

    def counters(self, application: int) -> dict[int | None, Count]:
        """Return what came of an admitted application, by its ports; under None where it has all of them.

        What came too fast for its rate is counted, too.

        MidflightError for one that is not admitted.
        """
        if application not in self._admitted:
            raise MidflightError(f"application {application} is not admitted here, and nothing of it is counted")
        admission, found = self._admitted[application], {}
        for port, entry in zip(_ports(admission), _admission(admission), strict=True):
            now = self._session.read_entry_counter(entry.table, dict(entry.match), priority=entry.priority)
            before = self._counted.get((application, port), Count(0, 0))
            found[port] = Count(before.packets + now.packets, before.bytes + now.bytes)
        return found

    def standing(self) -> Standing:
        """Return how applications stand here, for `resume`."""
        counted = {(name, port): each for name in self._admitted for port, each in self.counters(name).items()}
        return Standing(self.admitted, dict(self._mirrors), counted)

    def hold(self) -> None:
        """Have the switch drop what it would forward or compute on, and forget the rest, until `resume`.

        Its own program changes nothing of its state any more when this returns: for another program to take over.
        """
        self._change([each.gone() for each in self._there()])

    def resume(self, session: Controls, standing: Standing) -> None:
        """Have everything in place again: applications as they stood, and the routes.

        On a switch that has nothing, or on this one where holding it came to no end, through this session from now on.
        """
        for each in self._there():
            # What is not there any more, though nobody has said so, is refused.
            with suppress(DeviceError):
                self._do(each.gone(), each)
        self._session, self._done = session, {}
        steps: list[_Step] = [_Mirror(number, ports) for number, ports in standing.mirrors.items()]
        for admission in standing.admitted.values():
            steps += _computing(admission)
        self._change([*steps, *(_route(each) for each in self.routes)])
        self._admitted, self._mirrors = dict(standing.admitted), dict(standing.mirrors)
        self._counted = dict(standing.counted)

    def close(self) -> None:
        """Withdraw every application, end mirrors and restore every redirection; the installed routes stay."""
        for application in tuple(self._mirrors):
            self.mirror(application)
        for application in tuple(self._admitted):
            self.withdraw(application)
        for route in tuple(self._redirected.values()):
            self.restore(route.address, route.prefix)

    def _there(self) -> list[_Step]:
        """Return what is in place, in the order in which it is taken back."""
        return sorted((each for each in self._done.values() if each != each.gone()), key=_rank)

    def _change(self, steps: Iterable[_Step]) -> None:
        undo: list[_Step] = []
        try:
            for step in steps:
                before = self._done.get(step.key, step.gone())
                if before != step:
                    self._do(step, before)
                    undo.append(before)
        except Exception:
            for before in reversed(undo):
                # A device that is gone takes nothing back either; what it was asked first is what to tell.
                with suppress(DeviceError):
                    self._do(before, self._done[before.key])
            raise

    def _do(self, step: _Step, before: _Step) -> None:
        if isinstance(step, _Group):
            self._session.multicast(step.number, step.ports)
        elif isinstance(step, _Mirror):
            self._session.clone_session(step.number, step.ports)
        else:
            match, params = dict(step.match), dict(step.params)
            options = {"priority": step.priority} if step.priority else {}
            if not step.action:
                self._session.delete(step.table, match, **options)
            else:
                options |= {"rate": step.rate} if step.rate else {}
                if before != step.gone():
                    self._session.modify(step.table, match, step.action, params, **options)
                else:
                    self._insert(step.table, match, step.action, params, options)
        self._done[step.key] = step

    def _insert(
        self, table: str, match: dict[str, object], action: str, params: dict[str, int], options: dict[str, int]
    ) -> None:
        try:
            self._session.insert(table, match, action, params, **options)
        except DeviceError as refusal:
            # An entry that an earlier controller left in the way is taken over; any other refusal stands.
            try:
                self._session.modify(table, match, action, params, **options)
            except DeviceError:
                raise refusal from None


def _rank(step: _Step) -> int:
    """Return when a step is taken back: routes first, then admissions, and then what those rest on."""
    table = step.table if isinstance(step, _Entry) else ""
    return (*ROUTES.values(), ADMISSION, DELIVER, "").index(table)


def _route(route: Route) -> _Entry:
    version = route.address.version
    match = ((f"hdr.ipv{version}.destination", f"{route.address}/{route.prefix}"),)
    return _Entry(ROUTES[version], match, "ingress.to_port", (("port", route.port), ("mac", route.mac)))


def _ports(admission: Admission) -> tuple[int | None, ...]:
    return (None,) if admission.ports is None else admission.ports


def _computing(admission: Admission) -> list[_Step]:
    """Return all that it takes to compute on an application, in order: whom results go to, and then its entries."""
    steps: list[_Step] = [_deliver(admission.application, each) for each in admission.members]
    outlets = tuple(sorted(each.port for each in admission.members))
    return [*steps, _Group(admission.group, outlets), *_admission(admission)]


def _admission(admission: Admission) -> list[_Entry]:
    """Return the entries that admit an application, one for each of its ports."""
    params = ("group", admission.group), ("epoch", admission.epoch)
    matches: list[tuple[tuple[str, object], ...]] = [((APPLICATION, admission.application),)]
    if admission.ports is not None:
        matches = [(*matches[0], ("standard_metadata.ingress_port", port)) for port in admission.ports]
    return [_Entry(ADMISSION, each, "ingress.admit", params, priority=1, rate=admission.rate) for each in matches]


def _deliver(application: int, member: Member | Child) -> _Entry:
    match = (APPLICATION, application), ("standard_metadata.egress_port", member.port)
    if isinstance(member, Child):
        return _Entry(DELIVER, match, "egress.to_switch", (("mac", member.mac),))
    return _Entry(
        DELIVER,
        match,
        "egress.to_host" if member.address.version == 4 else "egress.to_host_ipv6",
        (("mac", member.mac), ("address", int(member.address)), ("udp_port", member.udp_port)),
    )
