"""A tree of switches that sum together: each adds up what arrives from below and passes on one packet for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from midflight.errors import MidflightError
from midflight.primitives import Aggregate, Program
from midflight.runtime.controller.jobs import Job
from midflight.runtime.footprint import Footprint
from midflight.runtime.steering import Child, Graph, Member

__all__ = ["Branch", "SummationTree", "branches"]

_NUMBERS = 256  # of workers and switches together: a packet has eight bits for them


@dataclass(frozen=True, slots=True)
class Branch:
    """A switch of the tree. Its `children`, hosts or switches, are numbered from `base`.

    `rank` is its own number in the switch above; -1 for the topmost.
    """

    switch: str
    children: tuple[str, ...]
    hosts: bool
    base: int
    rank: int


def branches(graph: Graph, workers: Sequence[str], server: str) -> dict[str, Branch]:
    """Return the switches at which the workers' ways to the server meet, the topmost first.

    Workers are numbered from 0 in the order given, in which those on one switch follow each other. The topmost switch
    is the first that all ways pass. MidflightError if this is no tree whose lowest switches have hosts only.
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


class SummationTree:
    """The switches between the workers and the server sum up a tree (a `Strategy`).

    `application` is the Aggregate that the whole tree computes; each switch of the tree runs one with its own number
    of children. If a switch has no room for it, the server sums. MidflightError if the workers' ways to the server
    form no tree.
    """

    def __init__(self, graph: Graph, application: str, workers: Sequence[str], server: str) -> None:
        self.application = application
        self.workers = tuple(workers)
        self.server = server
        self.branches: Mapping[str, Branch] = branches(graph, workers, server)
        """The switches of the tree by name, the topmost first."""

    def program_for(self, switch: str, program: Program) -> Program:
        """Return the program with the Aggregate of this switch in place of the whole tree's."""
        branch, whole = self.branches.get(switch), program.applications.get(self.application)
        if branch is None or whole is None or not isinstance(whole.primitive, Aggregate):
            return program
        parameters = dict(whole.primitive.parameters)
        parameters |= {"workers": len(branch.children), "base": branch.base, "rank": branch.rank}
        return program.replaced(type(whole.primitive)(self.application, **parameters))

    def footprint_for(self, switch: str, footprint: Footprint) -> Footprint:
        """Return the footprint, for a switch outside of the tree without the Aggregate."""
        if switch in self.branches:
            return footprint
        others = {name: it for name, it in footprint.applications.items() if name != self.application}
        return replace(footprint, applications=others)

    def check(self, graph: Graph, job: Job) -> None:
        """Raise MidflightError unless the workers form the tree that the switches were compiled for."""
        server = job.server.name if job.server else self.server
        found = branches(graph, [each.name for each in job.hosts], server)
        if _shape(found) != _shape(self.branches):
            raise MidflightError(
                "with these workers the tree is another, and its switches are made for this one",
                hint="a worker can be replaced by a host on the same switch",
            )

    def switches(self, graph: Graph, job: Job) -> tuple[str, ...]:
        """Return the switches of the tree; none if the ways on this graph form another tree."""
        try:
            self.check(graph, job)
        except MidflightError:
            return ()
        return tuple(self.branches)

    def receivers(self, graph: Graph, job: Job, switch: str) -> tuple[Member | Child, ...]:
        """Return those that a switch of the tree sends results to: workers, or the switches below it."""
        server = job.server.name if job.server else self.server
        found = branches(graph, [each.name for each in job.hosts], server)
        return tuple(_below(graph, found[switch], job))


def _below(graph: Graph, branch: Branch, job: Job) -> Iterator[Member | Child]:
    workers = {each.name: each for each in job.hosts}
    for each in branch.children:
        port = graph.port_towards(branch.switch, each)
        if branch.hosts:
            yield Member(port, workers[each].mac, workers[each].address, job.port)
        else:
            yield Child(port, graph.node(each).mac)


def _shape(tree: Mapping[str, Branch]) -> dict[str, tuple[int, int, int]]:
    """Return what the switches of a tree are compiled for."""
    return {name: (len(each.children), each.base, each.rank) for name, each in tree.items()}
