"""Strategies: which switches compute for a group of workers, and what each of them runs."""

from __future__ import annotations

from typing import Protocol

from midflight.errors import MidflightError
from midflight.primitives import Program
from midflight.runtime.controller.branches import branches
from midflight.runtime.controller.jobs import Job
from midflight.runtime.footprint import Footprint
from midflight.runtime.steering import Child, Graph, Member, Sender, members, port_to

__all__ = ["Flat", "Strategy"]


class Strategy(Protocol):
    """Decides which switches compute for a group of workers, and what each runs, from the network's graph and the job
    alone.

    Implementations are `Flat`, one switch for each group, `SummationTree`, a tree of switches, and `Planned`, the
    switches of a plan. Methods write nothing.
    """

    def program_for(self, switch: str, program: Program) -> Program:
        """Return the variant of `program` that the switch of this name runs."""

    def footprint_for(self, switch: str, program: Program, footprint: Footprint) -> Footprint:
        """Return the part of `footprint` that the switch of this name needs room for.

        `footprint` is that of the variant that `program_for` returned for the switch; `program` is that variant.
        """

    def check(self, graph: Graph, job: Job) -> None:
        """Raise MidflightError if the hosts of a new job do not fit the strategy."""

    def switches(self, graph: Graph, job: Job) -> tuple[str, ...]:
        """Return the names of the switches that together can compute a job, the nearest to the server first.

        Empty if no switches of this graph can, so that the server has to. MidflightError if no switch has a path to all
        workers.
        """

    def receivers(self, graph: Graph, job: Job, switch: str) -> tuple[Member | Child, ...]:
        """Return the receivers of a switch's results, workers or switches below; it is one that `switches` returned.

        MidflightError if two receivers are behind the same port, or if one is out of reach.
        """

    def senders(self, graph: Graph, job: Job, switch: str) -> tuple[Sender, ...]:
        """Return the senders whose packets a switch computes on; it is one that `switches` returned.

        Each sender has the port of the switch by which its packets arrive, its address and its number in the job.
        MidflightError if one is out of reach.
        """


class Flat:
    """A `Strategy` in which one switch computes for all workers of a group: the first that all their requests pass."""

    def program_for(self, switch: str, program: Program) -> Program:  # noqa: ARG002
        """Return `program` unchanged: every switch runs the same."""
        return program

    def footprint_for(self, switch: str, program: Program, footprint: Footprint) -> Footprint:  # noqa: ARG002
        """Return `footprint` unchanged: every switch needs room for all of the program."""
        return footprint

    def check(self, graph: Graph, job: Job) -> None:
        """Do nothing: whether hosts fit is checked by `switches`, which raises MidflightError."""

    def switches(self, graph: Graph, job: Job) -> tuple[str, ...]:
        """Return one switch: the first that all workers' paths to the server have in common, with one port for each
        worker.

        Without a server, it is the first switch of the graph. MidflightError if no switch meets these conditions.
        """
        application, server = job.application, job.server
        if server is None:
            return (graph.switches[0].name,)
        paths = []
        for each in job.hosts:
            path = graph.path(each.name, server.name)
            if path is None:
                raise MidflightError(f"there is no path from {each.name} to {server.name}")
            paths.append(path.nodes[1:-1])
        refusal = f"no switch is on the paths of all workers to {server.name}"
        for switch in paths[0]:
            if all(switch in path for path in paths):
                try:
                    members(graph, switch, {each.name: 0 for each in job.hosts})
                except MidflightError as error:
                    refusal = error.message
                else:
                    return (switch,)
        raise MidflightError(
            f"no switch can compute {application.name} for these hosts: {refusal}", hint=_advice(graph, job)
        )

    def receivers(self, graph: Graph, job: Job, switch: str) -> tuple[Member | Child, ...]:
        """Return the workers of the job, with the ports of the switch by which they are reached, in the order of the
        ports.

        MidflightError if two workers are behind the same port, or if one is out of the switch's reach.
        """
        return members(graph, switch, {each.name: job.port for each in job.hosts})

    def senders(self, graph: Graph, job: Job, switch: str) -> tuple[Sender, ...]:
        """Return the workers in order, each with the port of the switch by which its requests to the server arrive.

        Without a server, it is the port that leads to the worker. MidflightError if a worker is out of the switch's
        reach.
        """
        found = []
        for number, each in enumerate(job.hosts):
            path = graph.path(each.name, job.server.name) if job.server else None
            if path is None:
                port = port_to(graph, switch, each.name)
            else:
                port = graph.port_towards(switch, path.nodes[path.nodes.index(switch) - 1])
            found.append(Sender(port, each.address, number, job.number))
        return tuple(found)


def _advice(graph: Graph, job: Job) -> str:
    """Return a hint for a group for which no single switch can compute."""
    assert job.server is not None
    workers = [each.name for each in job.hosts]
    try:
        tree = ", ".join(branches(graph, workers, job.server.name))
    except MidflightError:
        return "choose hosts on one switch, or another server"
    names = ", ".join(f'"{each}"' for each in workers)
    return (
        f"a tree of switches can, {tree}: Hierarchy(topology, program=program, workers=[{names}], "
        f'server="{job.server.name}")'
    )
