"""The strategy that follows a plan: each switch runs the steps that the planner gave it."""

from __future__ import annotations

from dataclasses import replace

from midflight.primitives import Program
from midflight.runtime.controller.jobs import Job
from midflight.runtime.controller.strategy import Flat
from midflight.runtime.footprint import Footprint
from midflight.runtime.placement.planner import Plan
from midflight.runtime.placement.planner.solution import Solution
from midflight.runtime.steering import Child, Graph, Member, Sender

__all__ = ["Planned"]


class Planned:
    """A `Strategy` by which every switch runs those applications that a plan puts on it, and no others.

    The switches must have the names of the plan's devices, and the applications those of its steps. The switch that
    computes for a group is also that of the plan; if the plan puts the application on a host, the group's server
    computes. Of a plan, only its `solution` is used.
    """

    def __init__(self, plan: Plan | Solution) -> None:
        self.solution = plan.solution if isinstance(plan, Plan) else plan
        """The devices of the steps."""
        self._flat = Flat()

    def program_for(self, switch: str, program: Program) -> Program:  # noqa: ARG002
        """Return `program` unchanged: what a switch runs of it follows from `footprint_for`."""
        return program

    def footprint_for(self, switch: str, program: Program, footprint: Footprint) -> Footprint:  # noqa: ARG002
        """Return the part of `footprint` that a switch needs: that of the steps that the plan gives it, and what all
        applications share.
        """
        chosen = self.solution.on(switch)
        return replace(
            footprint, applications={name: each for name, each in footprint.applications.items() if name in chosen}
        )

    def check(self, graph: Graph, job: Job) -> None:
        """Do nothing: any hosts fit. If the plan's switch cannot compute for them, `switches` returns none."""
        self._flat.check(graph, job)

    def switches(self, graph: Graph, job: Job) -> tuple[str, ...]:
        """Return the switch that the plan gives to the job's application.

        Empty, so that the server computes, if the plan has no switch for it, or if the requests of a worker do not pass
        that switch.
        """
        name = self.solution.at.get(job.application.name, "")
        if name not in {each.name for each in graph.switches}:
            return ()
        for each in job.hosts:
            path = graph.path(each.name, job.server.name if job.server is not None else name)
            if path is None or name not in path.nodes:
                return ()
        return (name,)

    def receivers(self, graph: Graph, job: Job, switch: str) -> tuple[Member | Child, ...]:
        """Return the workers of the job, with the ports of the switch by which they are reached.

        MidflightError if two workers are behind the same port, or if one is out of the switch's reach.
        """
        return self._flat.receivers(graph, job, switch)

    def senders(self, graph: Graph, job: Job, switch: str) -> tuple[Sender, ...]:
        """Return the workers, each with the port of the switch by which its requests arrive.

        MidflightError if a worker is out of the switch's reach.
        """
        return self._flat.senders(graph, job, switch)
