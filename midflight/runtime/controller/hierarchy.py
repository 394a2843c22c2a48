"""Summation in a tree of switches: each switch sums what arrives from below and sends one packet upwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address

from midflight.errors import MidflightError
from midflight.primitives import Aggregate, Application, Program
from midflight.primitives.wire import RESULT_FOR_ALL
from midflight.runtime.controller.branches import Branch, branches
from midflight.runtime.controller.jobs import Job
from midflight.runtime.controller.strategy import Flat
from midflight.runtime.footprint import Footprint
from midflight.runtime.steering import Child, Graph, Member, Sender

__all__ = ["SummationTree"]


class SummationTree:
    """A `Strategy`, which spreads the work of a group over switches, for switches that sum as a tree.

    The tree consists of the switches on the paths from `workers` to `server`, given by the names of their hosts. It
    sums each `Aggregate` of the program that has as many workers as the tree: each switch sums what comes from its own
    children. If a switch has no room for that, the server sums. All other applications are the same on every switch,
    and one switch computes an `Aggregate` over another number of workers. MidflightError if the paths form no tree.
    """

    def __init__(self, graph: Graph, workers: Sequence[str], server: str) -> None:
        self.workers = tuple(workers)
        self.server = server
        self.branches: Mapping[str, Branch] = branches(graph, workers, server)
        """The switches of the tree by name, each with its children, the topmost first."""
        self._flat = Flat()

    def sums(self, program: Program) -> tuple[str, ...]:
        """Return the names of the applications that the tree sums: each Aggregate with as many workers as the tree."""
        return tuple(name for name, each in program.applications.items() if self._covers(each))

    def program_for(self, switch: str, program: Program) -> Program:
        """Return the variant of a program that a switch runs.

        In a switch of the tree, each Aggregate that the tree sums becomes one over that switch's children. Any other
        switch runs the program itself.
        """
        if (branch := self.branches.get(switch)) is not None:
            for name in self.sums(program):
                whole = program.applications[name].primitive
                own = type(whole)(name, **{**whole.parameters, **branch.parameters})
                program = program.replaced(own)
        return program

    def footprint_for(self, switch: str, program: Program, footprint: Footprint) -> Footprint:
        """Return the part of `footprint`, that of a switch's variant, that the switch needs room for.

        That is all of it on a switch of the tree. On any other, the applications that the tree sums are left out.
        """
        if switch in self.branches:
            return footprint
        tree = self.sums(program)
        others = {name: it for name, it in footprint.applications.items() if name not in tree}
        return replace(footprint, applications=others)

    def check(self, graph: Graph, job: Job) -> None:
        """Raise MidflightError unless the hosts of a new job form the tree that the switches were compiled for.

        Accepts any hosts for an Aggregate that the tree does not sum.
        """
        if not self._covers(job.application):
            self._flat.check(graph, job)
        elif _shape(self._found(graph, job)) != _shape(self.branches):
            raise MidflightError(
                "these workers form another tree than the one that the switches are compiled for",
                hint="replace a worker only by a host on the same switch",
            )

    def switches(self, graph: Graph, job: Job) -> tuple[str, ...]:
        """Return the names of the switches that compute a job, the topmost first.

        Those are all switches of the tree, or none if the paths on this graph form another tree: then the server has to
        compute. For an Aggregate that the tree does not sum, as `Flat.switches`, with its errors.
        """
        if not self._covers(job.application):
            return self._flat.switches(graph, job)
        try:
            self.check(graph, job)
        except MidflightError:
            return ()
        return tuple(self.branches)

    def receivers(self, graph: Graph, job: Job, switch: str) -> tuple[Member | Child, ...]:
        """Return the receivers of the results of a switch that computes the job: its own workers and the switches below
        it.

        For an Aggregate that the tree does not sum, they are those of `Flat.receivers`. MidflightError if two are then
        behind the same port, or if the workers form no tree.
        """
        if not self._covers(job.application):
            return self._flat.receivers(graph, job, switch)
        return tuple(_below(graph, self._found(graph, job)[switch], job))

    def senders(self, graph: Graph, job: Job, switch: str) -> tuple[Sender, ...]:
        """Return the senders whose packets a switch computes on for a job, each with its port, address and number.

        Those are its own workers, each worker below a switch below it (a switch's sum has the address of the worker
        that completed it, and the number of that switch), and the switch above, which sends results for all workers.
        For an Aggregate that the tree does not sum, they are those of `Flat.senders`. MidflightError if the workers
        form no tree, or one is out of reach.
        """
        if not self._covers(job.application):
            return self._flat.senders(graph, job, switch)
        return tuple(_contributors(graph, self._found(graph, job), switch, job))

    def _covers(self, application: Application) -> bool:
        primitive = application.primitive
        return isinstance(primitive, Aggregate) and primitive.workers == len(self.workers)

    def _found(self, graph: Graph, job: Job) -> dict[str, Branch]:
        return branches(graph, [each.name for each in job.hosts], job.server.name if job.server else self.server)


def _below(graph: Graph, branch: Branch, job: Job) -> Iterator[Member | Child]:
    workers = {each.name: each for each in job.hosts}
    for each in branch.children:
        port = graph.port_towards(branch.switch, each)
        if each in workers:
            yield Member(port, workers[each].mac, workers[each].address, job.port)
        else:
            yield Child(port, graph.node(each).mac)


def _contributors(graph: Graph, tree: Mapping[str, Branch], switch: str, job: Job) -> Iterator[Sender]:
    """Yield what a switch of the tree computes on.

    A sum from a switch below has that switch's number, and the address of the worker that completed it. Results for all
    workers come down from the switch above, and from the address that requests are sent to.
    """
    branch, addresses = tree[switch], {each.name: each.address for each in job.hosts}
    for place, child in enumerate(branch.children):
        port = graph.port_towards(switch, child)
        number = branch.base + place if place < branch.hosts else branch.first + place - branch.hosts
        for worker in _workers_below(tree, child):
            yield Sender(port, addresses[worker], number, job.number)
    for above in tree.values():
        if switch in above.children:
            source = ip_address(job.destination[0])
            yield Sender(graph.port_towards(switch, above.switch), source, kind=RESULT_FOR_ALL)


def _workers_below(tree: Mapping[str, Branch], node: str) -> list[str]:
    """Return the workers below a node of the tree, or the node itself if it is one."""
    nodes, found = [node], []
    while nodes:
        each = nodes.pop()
        if each in tree:
            nodes += tree[each].children[::-1]
        else:
            found.append(each)
    return found


def _shape(tree: Mapping[str, Branch]) -> dict[str, dict[str, int]]:
    """Return the parameters that the switches of a tree are compiled with."""
    return {name: each.parameters for name, each in tree.items()}
