"""Default admission of applications that hosts send requests of."""

from __future__ import annotations

from operator import is_

from midflight.errors import MidflightError
from midflight.runtime.controller import Controller
from midflight.runtime.controller.desired import DesiredState
from midflight.runtime.steering import Graph
from midflight.runtime.steering import Host as GraphHost
from midflight.testbed.fabric.base import Host

__all__ = ["DefaultAdmission"]


class DefaultAdmission:
    """Admits applications so that exactly one switch computes on each request: the first on its path that can.

    The switch computes on requests of the hosts that are linked to it, which also receive multicast results, and of
    hosts further away for which it is the first such switch. Applications that have been admitted, withdrawn or joined
    explicitly, or that have a group, are not changed.
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._decided: dict[str, None] = {}  # applications
        self._made: dict[tuple[str, str], tuple[str, ...]] = {}  # the senders, by application and switch
        self._seen: dict[tuple[str, str, str], tuple[DesiredState, Graph]] = {}  # already ensured for these states

    def decided(self, application: str) -> None:
        """Record that the user admits or withdraws this application explicitly, and withdraw its default admissions.

        From now on `ensure` does nothing for it. A second call has no effect.
        """
        if application not in self._decided:
            for name, switch in [key for key in self._made if key[0] == application]:
                if (name, switch) in self._controller.fleet.desired.admissions:
                    self._controller.withdraw(name, switch)
                del self._made[name, switch]
            self._decided[application] = None

    def ensure(self, application: str, source: Host, target: Host) -> None:
        """Admit an application for requests from host `source` to host `target`, unless it is admitted or the user
        decides.

        Does nothing if `decided` was called for the application, or if switches of this network do not compute.
        MidflightError if no switch on the path runs the application, or if there is no path.
        """
        fleet = self._controller.fleet
        with fleet.lock:
            if application in self._decided or not fleet.offload:
                return
            seen = application, source.name, target.name
            if seen in self._seen and all(map(is_, self._seen[seen], (fleet.desired, fleet.graph))):
                return
            there = [key for key in fleet.desired.admissions if key[0] == application]
            if any(key not in self._made for key in there):  # admitted directly through the controller
                return
            switch = self._switch(application, source, target)
            key = application, switch
            own = _hosts_on(fleet.graph, switch)
            before = self._made.get(key, ()) if key in there else None
            wanted = before or ()
            if source.name not in (*wanted, *(each.name for each in own)):
                wanted = (*wanted, source.name)
            if wanted != before:
                senders = [each for each in fleet.graph.hosts if each.name in wanted]
                self._controller.admit(application, own, senders=senders, switch=switch)
                self._made[key] = wanted
            self._seen[seen] = fleet.desired, fleet.graph

    def _switch(self, application: str, source: Host, target: Host) -> str:
        fleet = self._controller.fleet
        found = fleet.application(application)
        path = fleet.graph.path(source.name, target.name)
        if path is None:
            raise MidflightError(f"there is no path from {source.name} to {target.name}")
        switches = path.nodes[1:-1] or (fleet.neighbour(source),)  # the host sends to itself
        for each in switches:
            if fleet.computes(found, each):
                return each
        placement = fleet.switches[switches[0]].running.placement
        raise MidflightError(
            f"no switch on the path from {source.name} to {target.name} runs {application}", hint=placement.explain()
        )


def _hosts_on(graph: Graph, switch: str) -> list[GraphHost]:
    ends = [(each.left, each.right) for each in graph.links]
    near = {one for one, other in ends if other == switch} | {other for one, other in ends if one == switch}
    return [each for each in graph.hosts if each.name in near]
