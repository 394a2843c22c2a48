"""Which switches compute for a group of workers, and what each of them runs for that."""

from __future__ import annotations

from typing import Protocol

from midflight.errors import MidflightError
from midflight.primitives import Program
from midflight.runtime.controller.branches import branches
from midflight.runtime.controller.jobs import Job
from midflight.runtime.footprint import Footprint
from midflight.runtime.steering import Child, Graph, Member, members

__all__ = ["Flat", "Strategy"]


class Strategy(Protocol):
    """How the work of a group is spread over switches. It knows no switch's state, only graphs and jobs."""

    def program_for(self, switch: str, program: Program) -> Program:
        """Return what a switch runs in place of a program."""

    def footprint_for(self, switch: str, program: Program, footprint: Footprint) -> Footprint:
        """Return what a switch needs room for of a program, given the footprint of what it would run."""

    def check(self, graph: Graph, job: Job) -> None:
        """Raise MidflightError if the hosts of a new job do not fit the strategy."""

    def switches(self, graph: Graph, job: Job) -> tuple[str, ...]:
        """Return the switches that would compute for a job together, the nearest to the server first.

        Empty if there are none on this graph and the server is to compute. MidflightError if nobody can.
        """

    def receivers(self, graph: Graph, job: Job, switch: str) -> tuple[Member | Child, ...]:
        """Return those that one of these switches sends results to."""


class Flat:
    """One switch computes for all workers of a group (a `Strategy`): the nearest that all their requests pass."""

    def program_for(self, switch: str, program: Program) -> Program:  # noqa: ARG002
        """Return the program itself."""
        return program

    def footprint_for(self, switch: str, program: Program, footprint: Footprint) -> Footprint:  # noqa: ARG002
        """Return the footprint itself."""
        return footprint

    def check(self, graph: Graph, job: Job) -> None:
        """Accept any hosts: `switches` refuses those that have no switch in common."""

    def switches(self, graph: Graph, job: Job) -> tuple[str, ...]:
        """Return the first switch on the way to the server that has a port for each worker."""
        application, server = job.application, job.server
        if server is None:
            return (graph.switches[0].name,)
        paths = []
        for each in job.hosts:
            path = graph.path(each.name, server.name)
            if path is None:
                raise MidflightError(f"there is no way from {each.name} to {server.name}")
            paths.append(path.nodes[1:-1])
        refusal = f"the ways from {application.name}'s workers to {server.name} have no switch in common"
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
        """Return the workers."""
        return members(graph, switch, {each.name: job.port for each in job.hosts})


def _advice(graph: Graph, job: Job) -> str:
    """Return what to do where no single switch can compute for a group."""
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
