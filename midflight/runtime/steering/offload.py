"""Offload: starts and stops computing on an application's packets in a switch.

Hosts always address the server. If an application is admitted, a switch on the way computes on its requests; if not,
they reach the server, which computes the same. So offloading only adds table entries, withdrawing only removes them,
and hosts need no change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from midflight.errors import MidflightError
from midflight.runtime.p4runtime.client.results import Count
from midflight.runtime.steering.controls import Controls
from midflight.runtime.steering.entry import Entry
from midflight.runtime.steering.graph import IPAddress
from midflight.runtime.steering.ledger import Ledger
from midflight.runtime.steering.routes import Member, Route
from midflight.runtime.steering.standing import Admission, Child, Inlet, Sender, Standing, check_rate, check_token
from midflight.runtime.steering.steps import (
    INSTANCES,
    REQUESTS,
    Copies,
    Step,
    admitting,
    computing,
    delivering,
    enrolling,
    inlets,
    rank,
    routing,
)

__all__ = ["Offload"]


class Offload:
    """Writes one switch's routes and admissions (which applications it computes on) through a P4Runtime session.

    Methods are declarative and idempotent: they state what the switch should hold. Each change is a transaction: if the
    device refuses a step, the steps before it are rolled back and DeviceError is raised. If the device dies during the
    rollback, the next call corrects what remains. The order of steps ensures that no packet meets half a change:
    receivers are configured before an application is admitted and removed after it is withdrawn.
    """

    def __init__(self, session: Controls) -> None:
        self._ledger = Ledger(session)
        self._admitted: dict[int, Admission] = {}
        self._routes: dict[tuple[int, int, int], Route] = {}
        self._redirected: dict[tuple[int, int, int], Route] = {}
        self._mirrors: dict[int, tuple[int, ...]] = {}
        self._services: tuple[Entry, ...] = ()
        self._sent_before: dict[int, Count] = {}  # to an instance that had the number before
        self._counted: dict[Inlet, Count] = {}  # by entries that have been replaced since

    @property
    def admitted(self) -> Mapping[int, Admission]:
        """A copy of the current admissions, by application id."""
        return dict(self._admitted)

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes that the switch holds, a redirection in place of the route that it overrides, sorted by
        address.
        """
        both = {**self._routes, **self._redirected}
        return tuple(both[key] for key in sorted(both))

    def install(self, routes: Iterable[Route]) -> None:
        """Replace the switch's routes: add missing ones, change those that differ, remove the others.

        A redirected address stays redirected until `restore`. DeviceError if the switch refuses one; all are then
        rolled back.
        """
        wanted = {each.key: each for each in routes}
        steps: list[Step] = [routing(each) for key, each in wanted.items() if key not in self._redirected]
        steps += [
            routing(old).deletion() for key, old in self._routes.items() if key not in {*wanted, *self._redirected}
        ]
        self._ledger.change(steps)
        self._routes = wanted

    def redirect(self, route: Route) -> None:
        """Override the installed route for `route.address` and its prefix by this one, until `restore`.

        DeviceError if the switch refuses it; the route that was there then stays.
        """
        self._ledger.change([routing(route)])
        self._redirected[route.key] = route

    def restore(self, address: IPAddress, prefix: int = -1) -> None:
        """End a redirection: the installed route for this address applies again, or none if there is none. Idempotent.

        `prefix` is the length of the redirected prefix in bits; -1 stands for the whole address. DeviceError if the
        switch refuses; the address then stays redirected.
        """
        key = Route(address, 0, 0, prefix).key
        if key in self._redirected:
            installed = self._routes.get(key)
            self._ledger.change([routing(installed) if installed else routing(self._redirected[key]).deletion()])
            del self._redirected[key]

    def steer(self, entries: Iterable[Entry]) -> None:
        """Replace the entries that steer requests to services: add missing ones, change those that differ, remove the
        others.

        They are written in the given order, and removed in the opposite order of their tables. DeviceError if the
        switch refuses one; all are then rolled back.
        """
        wanted = tuple(entries)
        keys = {each.key for each in wanted}
        gone = [each for each in self._services if each.key not in keys]
        counted = self._sent(gone)
        self._ledger.change_together([*wanted, *(each.deletion() for each in sorted(gone, key=rank))])
        self._sent_before |= counted
        self._services = wanted

    def steered(self) -> dict[int, Count]:
        """Return the packets and bytes that have been sent to each instance from here, by its number.

        Counts start from 0 when the switch's program is loaded, and for an instance with the number of one that has
        been removed. Sends a request to the switch if it has instances.
        DeviceError if it does not answer.
        """
        found = {}
        for number, count in self._sent(self._services).items():
            before = self._sent_before.get(number, Count(0, 0))
            found[number] = Count(count.packets - before.packets, count.bytes - before.bytes)
        return found

    def _sent(self, entries: Iterable[Entry]) -> dict[int, Count]:
        """Return what the switch has counted for the instances of these entries, by number."""
        numbers = [dict(each.match)["instance"] for each in entries if each.table == INSTANCES]
        if not numbers:
            return {}
        counts = self._ledger.session.read_counter(REQUESTS)
        return {
            each: Count(int(counts.packets[each]), int(counts.bytes[each])) for each in numbers if isinstance(each, int)
        }

    def admit(
        self,
        application: int,
        members: Iterable[Member | Child],
        *,
        group: int | None = None,
        epoch: int = 1,
        ports: Iterable[int] | None = None,
        rate: int = 0,
        token: int = 0,
        senders: Iterable[Sender] | None = None,
    ) -> Admission:
        """Make the switch compute on an application and multicast its results to `members`, hosts and switches.

        `group` is the number of the multicast group, 1 to 65535, by default the application's id. If the application is
        admitted already, the new admission replaces the old one in place. See `Admission` for `ports`, `token` (0 to
        2**64 - 1), `epoch` (0 to 65535), `rate` (0 to 2**31 - 1) and `senders`. MidflightError if another application
        uses the group, if two members share a port, or if a number is out of these ranges. DeviceError if the switch
        refuses a step; after the rollback, an earlier admission stays as it was.
        """
        wanted = Admission(
            application,
            application if group is None else group,
            tuple(members),
            epoch,
            None if ports is None else tuple(sorted(set(ports))),
            rate,
            token,
            None if senders is None else tuple(dict.fromkeys(senders)),
        )
        outlets = [each.port for each in wanted.members]
        if len(set(outlets)) != len(outlets):
            raise MidflightError(f"two members of application {application} share a port of the switch")
        if not 0 <= wanted.epoch <= 0xFFFF:
            raise MidflightError(f"the epoch must be 0 to 65535, not {wanted.epoch}")
        check_rate(wanted.rate)
        check_token(wanted.token)
        if not 1 <= wanted.group <= 0xFFFF:
            raise MidflightError(f"the multicast group must be 1 to 65535, not {wanted.group}")
        for other in self._admitted.values():
            if other.application != application and other.group == wanted.group:
                raise MidflightError(f"multicast group {wanted.group} is used by application {other.application}")
        before = self._admitted.get(application)
        steps = computing(wanted)
        if before:
            now = {each.key for each in steps}
            old = [*admitting(before), *enrolling(before)]
            steps += [each.deletion() for each in old if each.key not in now]
            if before.group != wanted.group:
                steps.append(Copies("group", before.group))
            left = [each for each in before.members if each.port not in outlets]
            steps += [delivering(application, each).deletion() for each in left]
        self._ledger.change(steps)
        self._admitted[application] = wanted
        self._counted = {
            (name, port): each
            for (name, port), each in self._counted.items()
            if name != application or port in inlets(wanted)
        }
        return wanted

    def limit(self, application: int, rate: int) -> None:
        """Change the rate of an admitted application (see `Admission`) and nothing else.

        KeyError if it is not admitted; MidflightError if `rate` is not in 0..2**31 - 1; DeviceError if the switch
        refuses, which leaves the old rate.
        """
        now = self._admitted[application]
        self.admit(
            application,
            now.members,
            group=now.group,
            epoch=now.epoch,
            ports=now.ports,
            rate=rate,
            token=now.token,
            senders=now.senders,
        )

    def withdraw(self, application: int) -> None:
        """Delete what makes the switch compute on the application with this id, so that it only forwards its packets.

        Its counters are lost; its registers stay. Idempotent. DeviceError if the switch refuses; it is then still
        admitted.
        """
        if before := self._admitted.get(application):
            steps: list[Step] = [each.deletion() for each in (*admitting(before), *enrolling(before))]
            steps.append(Copies("group", before.group))
            steps += [delivering(application, each).deletion() for each in before.members]
            self._ledger.change(steps)
            del self._admitted[application]
            self._counted = {place: each for place, each in self._counted.items() if place[0] != application}

    def mirror(self, application: int, ports: Iterable[int] = ()) -> None:
        """Send the copies that the kernel of the application with this id mirrors to these ports, or nowhere if empty.

        DeviceError if the switch refuses; the copies then still go where they went.
        """
        mirror = Copies("mirror", application, tuple(sorted(set(ports))))
        self._ledger.change([mirror])
        self._mirrors[application] = mirror.ports

    def counters(self, application: int) -> dict[int | None, Count]:
        """Return the packets and bytes that arrived for the application with this id, by port of the switch.

        The key is None if it is admitted on all ports. Requests beyond the rate are counted, too. Sends requests to the
        switch. MidflightError if the application is not admitted; DeviceError if the switch does not answer.
        """
        if application not in self._admitted:
            raise MidflightError(f"application {application} is not admitted here, so it has no counters")
        admission, found = self._admitted[application], {}
        for port, entry in zip(inlets(admission), admitting(admission), strict=True):
            now = self._ledger.session.read_entry_counter(entry.table, dict(entry.match), priority=entry.priority)
            before = self._counted.get((application, port), Count(0, 0))
            found[port] = Count(before.packets + now.packets, before.bytes + now.bytes)
        return found

    def standing(self) -> Standing:
        """Return a snapshot of the admissions, mirrors and counters, for `resume`.

        Reads the counters from the switch. DeviceError if it does not answer.
        """
        counted = {(name, port): each for name in self._admitted for port, each in self.counters(name).items()}
        return Standing(self.admitted, dict(self._mirrors), counted, self._services)

    def hold(self) -> None:
        """Stop forwarding and computing until `resume`: the switch drops all packets and its registers no longer
        change.

        All entries, groups and clone sessions are deleted; this object keeps its record of them. DeviceError if the
        switch refuses.
        """
        self._ledger.clear()

    def resume(self, session: Controls, standing: Standing) -> None:
        """Write the admissions and mirrors of a snapshot and the current routes to the switch again, with its counter
        values.

        Call it on an empty switch, or on this one after a failed `hold`. Later changes use `session`. DeviceError if
        the switch refuses one; all are then rolled back, and it holds nothing.
        """
        self._ledger.reset(session)
        steps: list[Step] = [Copies("mirror", number, ports) for number, ports in standing.mirrors.items()]
        for admission in standing.admitted.values():
            steps += computing(admission)
        steps += standing.services
        self._ledger.change([*steps, *(routing(each) for each in self.routes)])
        self._services, self._sent_before = standing.services, {}
        self._admitted, self._mirrors = dict(standing.admitted), dict(standing.mirrors)
        self._counted = dict(standing.counted)

    def close(self) -> None:
        """Withdraw every application, and end all mirrors and redirections.

        The installed routes and the entries of services stay, so the switch forwards. DeviceError if the switch
        refuses; what came before then remains withdrawn.
        """
        for application in tuple(self._mirrors):
            self.mirror(application)
        for application in tuple(self._admitted):
            self.withdraw(application)
        for route in tuple(self._redirected.values()):
            self.restore(route.address, route.prefix)
