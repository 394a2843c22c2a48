"""Failure and recovery of switches: power off, revive, give up, reconnect, and routes around failed switches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from midflight.runtime.controller.admissions import Admissions
from midflight.runtime.controller.fleet import Fleet
from midflight.runtime.controller.planned import Planned
from midflight.runtime.controller.scheduler import JobScheduler
from midflight.runtime.controller.services import Services
from midflight.runtime.p4runtime.client.entities import Difference, difference
from midflight.runtime.steering import Graph, routes

__all__ = ["Recovery"]


class Recovery:
    """The part of a `Controller` that handles failed and returning switches. The arguments are its other parts."""

    def __init__(self, fleet: Fleet, jobs: JobScheduler, admissions: Admissions, services: Services) -> None:
        self._fleet = fleet
        self._services = services
        self._jobs = jobs
        self._admissions = admissions

    def start(self) -> None:
        """Load the program into every switch, with empty registers and the entries of its maps, then write the jobs,
        admissions, mirrors and services of the desired state, and the routes.

        If the switches follow a plan, all verify their programs before the first one loads its own. MidflightError if
        neither a switch nor a host can compute a job; DeviceError if a switch does not answer or rejects the program or
        an entry. After an error, nothing is rolled back: some switches may run the program, with a part of the entries.
        """
        with self._fleet.lock:
            if isinstance(self._fleet.strategy, Planned):
                for each in self._fleet.switches.values():
                    each.verify(each.running)
            for each in self._fleet.switches.values():
                each.begin()
            self._apply()

    def power_off(self, switch: str) -> None:
        """Turn a switch off. It loses its state, and packets that reach it are lost; routes and jobs stay as they are.

        MidflightError if there is no such switch, or if its endpoint cannot turn it off.
        """
        with self._fleet.lock:
            self._fleet.switch(switch).power(on=False)

    def revive(self, switch: str) -> None:
        """Turn a switch on, or restart it if it is on, with its program and table entries and with empty registers.

        A new epoch begins, and all jobs are assigned again. MidflightError if there is no such switch, or if its
        endpoint cannot turn it on; DeviceError if it does not start or refuses its program, which leaves it off.
        Afterwards, MidflightError if neither a switch nor a host can compute a job, and DeviceError if any switch
        refuses an entry; the switch is then on and has its program, and the routes are written as far as switches
        accept them.
        """
        fleet = self._fleet
        with fleet.lock:
            self._restart(switch)
            fleet.given_up.pop(switch, None)
            self._route_around()
            self.rearrange()

    def give_up(self, switch: str) -> None:
        """Turn a switch off and compute without it until it is revived: routes avoid it, and jobs are assigned again.

        If hosts would lose each other, it is restarted instead and only forwards. MidflightError if there is no such
        switch, if its endpoint cannot turn it off, or if neither a switch nor a host can compute a job; DeviceError if
        it does not start again, or if another switch refuses an entry. Except for the first two errors, it counts as
        given up.
        """
        fleet = self._fleet
        with fleet.lock:
            fleet.switch(switch).power(on=False)
            fleet.given_up[switch] = None
            if not self._route_around():
                self._restart(switch)
            self.rearrange()

    def resume(self) -> dict[str, Difference]:
        """Resume control of a previous controller's switches. Return, by name, how they differed from the desired
        state.

        Call it once the desired state is set (`SavedState.restore`). A switch that still runs its program only gets the
        entries that differ. Any other is loaded again, and a new epoch begins because its state is lost; it is not in
        the result. Switches that are off are left alone. MidflightError if neither a switch nor a host can compute a
        job; DeviceError if a switch does not answer, or rejects an entry or the program. Nothing is rolled back.
        """
        fleet = self._fleet
        with fleet.lock:
            on = [name for name, each in fleet.switches.items() if each.on]
            intact = [name for name in on if fleet.switches[name].holds_expected()]
            for name in on:
                if name not in intact:
                    fleet.switches[name].begin()
            if len(intact) < len(on):
                fleet.next_epoch()
            found = self._adopt(intact)
            fleet.changed()
            return found

    def reconnect(self, switch: str) -> Difference | None:
        """Open a new session with a switch, and restore its desired state.

        Return how its entries differed, or None if it had lost its program; it is then loaded again, with empty
        registers, and a new epoch begins. MidflightError if there is no such switch, or if neither a switch nor a host
        can compute a job; DeviceError if it does not answer or rejects a write. After an error, it stays off.
        """
        fleet = self._fleet
        it = fleet.switch(switch)
        session = it.open()  # without the lock: it may take long
        with fleet.lock:
            it.attach(session)
            if fleet.desired.services or isinstance(fleet.strategy, Planned):
                self._find_ways()
            try:
                if it.holds_expected():
                    return self._adopt([switch])[switch]
                it.begin()
                self.rearrange()
            except BaseException as error:
                it.lose(str(error))
                raise
            return None

    def avoid(self) -> bool:
        """Route around the switches that are off, where there is another path, and return whether routes have changed.

        Routes change only if the switches follow a plan, or if there are services and no job runs, since the requests
        of a job must pass the switch that computes. Writes only to switches that are on. DeviceError if one of them
        refuses; those before it have the new routes, and the next call tries again.
        """
        fleet = self._fleet
        with fleet.lock:
            before = fleet.graph
            moves = isinstance(fleet.strategy, Planned) or (fleet.desired.services and not self._jobs.jobs)
            if not moves or not self._find_ways():
                return False
            try:
                self._services.apply()
                self._install()
            except BaseException:
                fleet.graph = before
                raise
            return True

    def rearrange(self) -> None:
        """Begin a new epoch, assign every job to the best switches or server again, and then update the routes.

        Writes only to switches that are on. MidflightError if neither a switch nor a host can compute a job,
        DeviceError if a switch refuses an entry; the routes are still written.
        """
        self._fleet.next_epoch()
        self._apply()
        self._fleet.changed()

    def _apply(self) -> None:
        """Write jobs, admissions, mirrors and services, and then the routes, to the switches that are on.

        A switch that has just begun has no routes before that, so no packet passes it that it is about to compute on.
        The routes are written even if a job cannot be arranged: its hosts still have to reach each other.
        """
        try:
            self._jobs.arrange_all()
            self._admissions.apply_all()
            self._services.apply()
        finally:
            self._install()

    def _install(self) -> None:
        """Write the routes to the switches that are on."""
        for name, those in routes(self._fleet.graph).items():  # none for switches that are given up and routed around
            if self._fleet.switches[name].on:
                self._fleet.switches[name].steering.install(those)

    def _find_ways(self) -> bool:
        """Avoid the switches that are off but not given up, and no others. Return whether the graph has changed."""
        fleet = self._fleet
        off = [name for name, each in fleet.switches.items() if not each.on]
        left = fleet.whole.without([each for each in off if each in fleet.given_up])
        graph = left.avoiding([each for each in off if each not in fleet.given_up])
        changed = graph != fleet.graph
        fleet.graph = graph
        return changed

    def _adopt(self, switches: Sequence[str]) -> dict[str, Difference]:
        """Write the entries that differ to switches that run their program already. Return the differences."""
        them = [self._fleet.switches[name] for name in switches]
        with ExitStack() as stack:
            wanted = [stack.enter_context(each.planning()) for each in them]
            self._apply()
        found = {}
        for each, entities in zip(them, wanted, strict=True):
            found[each.name] = difference(entities, each.session.holding(), each.session.ours)
            each.session.amend(found[each.name])
        return found

    def _restart(self, switch: str) -> None:
        """Restart a switch and load its program. Call `rearrange` afterwards, which restores its routes."""
        it = self._fleet.switch(switch)
        if it.on:
            it.power(on=False)
        try:
            it.power(on=True)
            it.begin()
        except BaseException:
            it.power(on=False)
            raise

    def _route_around(self) -> bool:
        """Route around the given-up switches that are off. Return False, and do nothing, if that disconnects hosts."""
        fleet = self._fleet
        whole = fleet.whole
        without = whole.without([each for each in fleet.given_up if not fleet.switches[each].on])
        if any(_reached(whole, each.name) != _reached(without, each.name) for each in whole.hosts):
            return False
        fleet.graph = without
        return True


def _reached(graph: Graph, host: str) -> frozenset[str]:
    """Return the hosts that have a path to this one."""
    return frozenset(each.name for each in graph.hosts) & graph.towards(host).keys()
