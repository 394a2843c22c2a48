"""Offload: what makes a switch compute on an application's packets in passing, and what takes it back.

Workers always address the server. An admitted application is computed on by the switch on the way; one that is
not reaches the server, which computes the same. So to offload is to add entries, and to withdraw is to take them
away: no host needs to be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from midflight.errors import MidflightError
from midflight.runtime.p4runtime.client.results import Count
from midflight.runtime.steering.controls import Controls
from midflight.runtime.steering.graph import IPAddress
from midflight.runtime.steering.ledger import Ledger
from midflight.runtime.steering.routes import Member, Route
from midflight.runtime.steering.standing import Admission, Child, Inlet, Standing
from midflight.runtime.steering.steps import Copies, Step, admitting, computing, delivering, inlets, routing

__all__ = ["Offload"]


class Offload:
    """The steering state of one switch, changed through a session.

    Every method says what shall hold, not what to do: calling it twice changes nothing more. A change is made
    whole or not at all: where the device refuses a step, those before it are taken back and the refusal is
    raised. Only what a device that has died did not take back stays, and the next call mends that. The order of
    steps lets no packet meet half a change: receivers are known before an application is admitted, and it is no
    longer admitted before they go.
    """

    def __init__(self, session: Controls) -> None:
        self._ledger = Ledger(session)
        self._admitted: dict[int, Admission] = {}
        self._routes: dict[tuple[int, int, int], Route] = {}
        self._redirected: dict[tuple[int, int, int], Route] = {}
        self._mirrors: dict[int, tuple[int, ...]] = {}
        self._counted: dict[Inlet, Count] = {}  # by entries that were there before

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
        steps: list[Step] = [routing(each) for key, each in wanted.items() if key not in self._redirected]
        steps += [routing(old).gone() for key, old in self._routes.items() if key not in {*wanted, *self._redirected}]
        self._ledger.change(steps)
        self._routes = wanted

    def redirect(self, route: Route) -> None:
        """Send what is addressed to `route.address` by this way instead, whatever the installed routes say."""
        self._ledger.change([routing(route)])
        self._redirected[route.key] = route

    def restore(self, address: IPAddress, prefix: int = -1) -> None:
        """Take a redirection back: the installed route holds again, or none where there was none."""
        key = Route(address, 0, 0, prefix).key
        if key in self._redirected:
            installed = self._routes.get(key)
            self._ledger.change([routing(installed) if installed else routing(self._redirected[key]).gone()])
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
        steps = computing(wanted)
        if before:
            now = {each.key for each in steps}
            steps += [each.gone() for each in admitting(before) if each.key not in now]
            if before.group != wanted.group:
                steps.append(Copies("group", before.group))
            steps += [delivering(application, old).gone() for old in before.members if old.port not in outlets]
        self._ledger.change(steps)
        self._admitted[application] = wanted
        self._counted = {
            (name, port): each
            for (name, port), each in self._counted.items()
            if name != application or port in inlets(wanted)
        }
        return wanted

    def limit(self, application: int, rate: int) -> None:
        """Have an admitted application be computed on at this rate, told at `Admission`, and all else as it is."""
        now = self._admitted[application]
        self.admit(application, now.members, group=now.group, epoch=now.epoch, ports=now.ports, rate=rate)

    def withdraw(self, application: int) -> None:
        """Have the switch only forward an application's packets, as before it was admitted."""
        if before := self._admitted.get(application):
            gone: list[Step] = [*(each.gone() for each in admitting(before)), Copies("group", before.group)]
            gone += [delivering(application, each).gone() for each in before.members]
            self._ledger.change(gone)
            del self._admitted[application]
            self._counted = {place: each for place, each in self._counted.items() if place[0] != application}

    def mirror(self, application: int, ports: Iterable[int] = ()) -> None:
        """Send the copies that an application's kernel mirrors to these ports; to none, where there are none."""
        mirror = Copies("mirror", application, tuple(sorted(set(ports))))
        self._ledger.change([mirror])
        self._mirrors[application] = mirror.ports

    def counters(self, application: int) -> dict[int | None, Count]:
        """Return what came of an admitted application, by its ports; under None where it has all of them.

        What came too fast for its rate is counted, too.

        MidflightError for one that is not admitted.
        """
        if application not in self._admitted:
            raise MidflightError(f"application {application} is not admitted here, and nothing of it is counted")
        admission, found = self._admitted[application], {}
        for port, entry in zip(inlets(admission), admitting(admission), strict=True):
            now = self._ledger.session.read_entry_counter(entry.table, dict(entry.match), priority=entry.priority)
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
        self._ledger.clear()

    def resume(self, session: Controls, standing: Standing) -> None:
        """Have everything in place again: applications as they stood, and the routes.

        On a switch that has nothing, or on this one where holding it came to no end, through this session from now on.
        """
        self._ledger.restart(session)
        steps: list[Step] = [Copies("mirror", number, ports) for number, ports in standing.mirrors.items()]
        for admission in standing.admitted.values():
            steps += computing(admission)
        self._ledger.change([*steps, *(routing(each) for each in self.routes)])
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
