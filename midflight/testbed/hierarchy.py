"""A tree of switches that sum together, each what lies below it: its own fan-in on every one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Unpack

from midflight.errors import MidflightError
from midflight.primitives import Aggregate, Application, Program
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.footprint import Footprint
from midflight.runtime.steering import Child, Graph, Member
from midflight.testbed.controlled import Opening
from midflight.testbed.fabric.base import Host, Worker
from midflight.testbed.group import Group
from midflight.testbed.jobs import Job
from midflight.testbed.net import Net
from midflight.testbed.topology import Topology

__all__ = ["Branch", "Hierarchy", "branches"]

_NUMBERS = 256  # that a worker or a switch can have


@dataclass(frozen=True, slots=True)
class Branch:
    """A switch of the tree: what is below it, hosts or switches, whose numbers count from `base`.

    `rank` is its own number in the switch above; -1 for the topmost.
    """

    switch: str
    children: tuple[str, ...]
    hosts: bool
    base: int
    rank: int


def branches(graph: Graph, workers: Sequence[str], server: str) -> dict[str, Branch]:
    """Return the switches that the workers' ways to the server meet in, the topmost first.

    Workers have the numbers 0 and on, in the order given, which has to keep those on one switch together. The topmost
    switch is the first that all ways pass. MidflightError where this is no tree with hosts at its lowest ends only.
    """
    ways = []
    for each in workers:
        path = graph.path(each, server)
        if path is None:
            raise MidflightError(f"there is no way from {each} to {server}")
        ways.append(path.nodes[:-1])
    top = next((node for node in ways[0][1:] if all(node in way for way in ways)), None)
    if top is None:
        raise MidflightError(f"the ways of the workers to {server} have no switch in common")
    children: dict[str, dict[str, None]] = {}
    for way in ways:
        for near, far in pairwise(way[: way.index(top) + 1]):
            children.setdefault(far, {})[near] = None
    numbers = {each: number for number, each in enumerate(workers)}
    found: dict[str, Branch] = {}
    level, upcoming = [top], len(workers)
    while level:
        below: list[str] = []
        for switch in level:
            those = tuple(children[switch])
            hosts = [each in workers for each in those]
            if any(hosts) != all(hosts):
                raise MidflightError(
                    f"{switch} has both workers and switches below it", hint="put the workers on switches of their own"
                )
            if not any(hosts):
                for each in those:
                    numbers[each] = upcoming
                    upcoming += 1
                below += those
            base = numbers[those[0]]
            if [numbers[each] for each in those] != [*range(base, base + len(those))]:
                raise MidflightError(
                    f"the workers on {switch} do not follow each other", hint="name the workers switch by switch"
                )
            found[switch] = Branch(switch, those, any(hosts), base, numbers.get(switch, -1))
        level = below
    if upcoming > _NUMBERS:
        raise MidflightError(f"{len(workers)} workers and {upcoming - len(workers)} switches are too many for a tree")
    return found


class Hierarchy(Net):
    """A network whose switches sum up a tree: each adds up what is below it and passes on one packet for it.

        aggregate = Aggregate("gradients", workers=8, lanes=32)
        with Hierarchy(tree(2, 4), aggregate, workers=["h1", ..., "h8"], server="h16") as net:
            sums = net.workers().allreduce(arrays)

    `aggregate` is what the whole tree does; every switch gets one of its own fan-in. Without room for it on one of the
    switches, the server sums, as with `offload=False`. The rest is as in `Net`.
    """

    def __init__(
        self,
        topology: Topology,
        aggregate: Aggregate,
        *,
        workers: Sequence[str],
        server: str,
        offload: bool = True,
        **opening: Unpack[Opening],
    ) -> None:
        self.branches = branches(topology.graph(), workers, server)
        """The switches of the tree, by name, the topmost first."""
        self._name = aggregate.name
        self._names = tuple(workers)
        self._at = server
        super().__init__(topology, program=Program(aggregate), offload=offload, **opening)

    def __enter__(self) -> Hierarchy:
        return self

    def workers(self) -> Group:
        """Return the group of the workers."""
        return self.group(self._name, [self.host(each) for each in self._names], server=self.host(self._at))

    def _own(self, switch: str, program: Program) -> Program:
        """Return a program with what a switch of the tree does in the place of what the whole tree does."""
        branch, whole = self.branches.get(switch), program.applications.get(self._name)
        if branch is None or whole is None or not isinstance(whole.primitive, Aggregate):
            return program
        parameters = dict(whole.primitive.parameters)
        parameters |= {"workers": len(branch.children), "base": branch.base, "rank": branch.rank}
        return program.replaced(type(whole.primitive)(self._name, **parameters))

    def _needs(self, switch: str, program: CheckedProgram) -> Footprint:
        """Return what a program asks of a switch: for one outside of the tree, without the sums."""
        needs = super()._needs(switch, program)
        if switch in self.branches:
            return needs
        return replace(needs, applications={name: it for name, it in needs.applications.items() if name != self._name})

    def _enlist(self, application: Application, server: Host | None, hosts: Sequence[Host]) -> list[Worker]:
        self._branches(self.topology.graph(), hosts, server)
        return super()._enlist(application, server, hosts)

    def _receivers(self, job: Job) -> dict[str, tuple[Member | Child, ...]]:
        if not all(self._computes(job.application, each) for each in self.branches):
            return {}
        try:
            found = self._branches(self._graph, job.hosts, job.server)
        except MidflightError:  # there is another way now, around switches that are given up
            return {}
        return {switch: tuple(self._below(branch, job)) for switch, branch in found.items()}

    def _branches(self, graph: Graph, hosts: Sequence[Host], server: Host | None) -> dict[str, Branch]:
        """Return the tree with these workers. MidflightError where it is not the one that the switches are made for."""
        found = branches(graph, [each.name for each in hosts], server.name if server else self._at)
        if _shape(found) != _shape(self.branches):
            raise MidflightError(
                "with these workers the tree is another, and its switches are made for this one",
                hint="a worker can be replaced by a host on the same switch",
            )
        return found

    def _below(self, branch: Branch, job: Job) -> Iterator[Member | Child]:
        """Return who gets the results from a switch: workers, or the switches below it."""
        workers = {each.name: each for each in job.hosts}
        for each in branch.children:
            way = self._graph.port_towards(branch.switch, each)
            if branch.hosts:
                yield Member(way, workers[each].mac, workers[each].address, job.port)
            else:
                yield Child(way, self.topology.mac(each))


def _shape(tree: Mapping[str, Branch]) -> dict[str, tuple[int, int, int]]:
    """Return what the switches of a tree are compiled for."""
    return {name: (len(each.children), each.base, each.rank) for name, each in tree.items()}
