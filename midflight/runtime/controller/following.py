"""The plan that a deployment follows, and its renewal when switches fail or return."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from midflight.errors import MidflightError
from midflight.primitives import Aggregate, Program
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.controller.controller import Controller
from midflight.runtime.controller.network import Network
from midflight.runtime.controller.observe.events import Event, OnEvent
from midflight.runtime.controller.plan_change import Move
from midflight.runtime.controller.planned import Planned
from midflight.runtime.controller.planning import Planner, PlanSource
from midflight.runtime.placement.planner import Plan
from midflight.runtime.placement.planner.solution import Solution
from midflight.runtime.steering import Graph

__all__ = ["Following"]


class Following:
    """The plan of a deployment: that of the application in `source`, over the switches of `network`.

    `emit` gets an event `planned` for the first plan, `replanned` for each later one that moves a step, and
    `not-replanned` if there is no plan for the switches that are on, which then keep the last one. MidflightError if
    the application or the network is wrong.
    """

    def __init__(self, source: PlanSource, network: Network, emit: OnEvent) -> None:
        self._planner = Planner(source, network)
        self._network = network
        self._emit = emit
        self._controller: Controller | None = None
        self._for: tuple[Graph, tuple[str, ...], tuple[str, ...]] | None = None  # what the last plan was made for
        self._problem = ""
        self._idle: tuple[str, ...] = ()

    def strategy(self, program: Program, at: Mapping[str, str] | None) -> Planned:
        """Return a strategy that follows a plan.

        `at` are the devices of the steps in a saved plan; None makes a plan for all switches, and emits `planned`.
        MidflightError if there is no plan.
        """
        if at is None:
            found = self._planner.plan(CheckedProgram(program.p4(), "program.p4"), self._network.graph)
            self._emit(Event("planned", _spelled(found), details={"steps": dict(found.solution.at)}))
            return Planned(found)
        return Planned(Solution(dict(at), {}, {}, {}))

    def begin(self, controller: Controller, *, resumed: bool) -> None:
        """Follow the plan on a controller that has the strategy. If it is not resumed, admit the steps for all hosts.

        An Aggregate is not admitted: it needs a group of workers. MidflightError if a step cannot be admitted,
        DeviceError if a switch refuses; the steps before it are admitted.
        """
        self._controller = controller
        if resumed:
            return
        for step in self._planner.steps:
            self._admit(controller, step)

    def _admit(self, controller: Controller, step: str) -> None:
        """Admit a step for all hosts, if a switch runs it and it needs no group."""
        it = controller.fleet
        placed = any(step in each.running.placed for each in it.switches.values())
        if placed and not isinstance(it.application(step).primitive, Aggregate):
            controller.admit(step)

    def again(self) -> None:
        """Plan again if other switches are on than for the last plan, and move the steps. Raises nothing."""
        controller = self._controller
        if controller is None:
            return
        fleet = controller.fleet
        with fleet.lock:
            off = tuple(name for name, each in fleet.switches.items() if not each.on)
            if self._for == (fleet.graph, off, self._idle):
                return
            try:
                self.renew(self._idle)
            except MidflightError as error:
                if error.message != self._problem:
                    self._problem = error.message
                    self._emit(Event("not-replanned", error.message))

    def renew(self, idle: Collection[str]) -> tuple[Move, ...]:
        """Plan again for the switches that are on, and return the steps that have moved. Those in `idle` only forward.

        MidflightError if there is no plan, or if one of `idle` is no switch. DeviceError if a switch rejects its
        program. Then the switches follow the last plan.
        """
        controller = self._controller
        assert controller is not None
        fleet = controller.fleet
        with fleet.lock:
            for name in idle:
                fleet.switch(name)
            off = tuple(name for name, each in fleet.switches.items() if not each.on)
            checked = fleet.programs.get(fleet.program.p4(), "program.p4")
            found = self._planner.plan(checked, fleet.graph, off, idle)
            moves = controller.follow(found)
            self._idle = tuple(idle)
            self._for, self._problem = (fleet.graph, off, self._idle), ""
            admitted = {name for name, _ in fleet.desired.admissions}
            for each in moves:
                if each.before not in fleet.switches and each.step not in admitted:
                    self._admit(controller, each.step)
        if moves:
            details = {"steps": dict(found.solution.at), "moved": [asdict(each) for each in moves]}
            self._emit(Event("replanned", "; ".join(str(each) for each in moves), details=details))
        return moves

    def document(self, controller: Controller) -> dict[str, Any]:
        """Return the source and the devices of the steps as a JSON object."""
        strategy = controller.fleet.strategy
        assert isinstance(strategy, Planned)
        return {**self._planner.source.document(), "at": dict(strategy.solution.at)}


def _spelled(plan: Plan) -> str:
    return ", ".join(f"{step} on {device}" for step, device in plan.solution.at.items())
