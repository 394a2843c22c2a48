"""The plan that a deployment follows, and its renewal when switches fail, fill up or return."""

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
from midflight.runtime.placement.planner.model import Application
from midflight.runtime.placement.planner.solution import Solution

__all__ = ["Following"]


class Following:
    """The plan of a deployment: that of the application in `source`, over the switches of `network`.

    `emit` gets an event `planned` for the first plan, `replanned` for each later one that moves a step, and
    `not-replanned` if there is no plan for the switches that are on, which then keep the last one. If a switch has no
    room for an entry of a step, `full` is emitted before. MidflightError if the application or the network is wrong.
    """

    def __init__(self, source: PlanSource, network: Network, emit: OnEvent) -> None:
        self._planner = Planner(source, network)
        self._network = network
        self._emit = emit
        self._controller: Controller | None = None
        self._for: tuple[object, ...] | None = None  # what the last plan was made for
        self._problem = ""
        self._idle: tuple[str, ...] = ()
        self._moving = False
        self._full: tuple[tuple[str, str], ...] = ()  # steps, with switches that have no room for them

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
        controller.fleet.make_room = self.make_room
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
            if self._for == (fleet.graph, off, self._idle, self._full):
                return
            try:
                self._renew(controller, self._idle, self._full)
            except MidflightError as error:
                self._fail(error.message)

    def make_room(self, step: str, switch: str) -> bool:
        """Plan again without a step on a switch that is full. Return whether another switch runs the step now.

        Nothing changes if the plan would move a step from a switch to hosts. Later plans avoid the switch for the
        step, too, until `renew`. Raises nothing.
        """
        controller = self._controller
        if controller is None or step not in self._planner.steps or self._moving:
            return False
        self._emit(Event("full", "the switch has no more room", switch=switch, application=step))
        with controller.fleet.lock:
            try:
                self._renew(controller, self._idle, (*self._full, (step, switch)), on_switches=True)
            except MidflightError as error:
                self._fail(error.message)
                return False
        return True

    def _fail(self, message: str) -> None:
        if message != self._problem:
            self._problem = message
            self._emit(Event("not-replanned", message))

    def renew(self, idle: Collection[str]) -> tuple[Move, ...]:
        """Plan again for the switches that are on, and return the steps that have moved. Those in `idle` only forward,
        and those that were full may have room again.

        MidflightError if there is no plan, or if one of `idle` is not a switch. DeviceError if a switch rejects its
        program. Then the switches follow the last plan.
        """
        controller = self._controller
        assert controller is not None
        with controller.fleet.lock:
            for name in idle:
                controller.fleet.switch(name)
            return self._renew(controller, tuple(idle), ())

    @property
    def application(self) -> Application:
        """The application that is planned, with the rates of sources that are expected."""
        return self._planner.application

    def rate(self, rates: Mapping[str, float], idle: Collection[str] | None = None) -> tuple[Move, ...]:
        """Plan again for other rates of sources, in bits a second, and return the steps that have moved.

        Later plans expect these rates, too. `idle` are as in `renew`; None are those of the last plan. MidflightError
        if there is no source of a name, if a rate is not above 0 and finite, or if there is no plan; DeviceError if a
        switch rejects its program. Then the switches follow the last plan, and its rates stay.
        """
        controller = self._controller
        assert controller is not None
        with controller.fleet.lock:
            before = self._planner.source
            self._planner.expect({**before.rates, **rates})
            try:
                return self.renew(self._idle if idle is None else idle)
            except BaseException:
                self._planner.expect(before.rates)
                raise

    def _renew(
        self,
        controller: Controller,
        idle: tuple[str, ...],
        full: tuple[tuple[str, str], ...],
        *,
        on_switches: bool = False,
    ) -> tuple[Move, ...]:
        """Plan again and follow the plan. With `on_switches`, MidflightError if a step moves from a switch to hosts."""
        fleet = controller.fleet
        with fleet.lock:
            off = tuple(name for name, each in fleet.switches.items() if not each.on)
            checked = fleet.programs.get(fleet.program.p4(), "program.p4")
            found = self._planner.plan(checked, fleet.graph, off, idle, full)
            if on_switches and (left := _left(controller, found)):
                raise MidflightError(f"no other switch has room for {', '.join(left)}")
            self._moving = True
            try:
                moves = controller.follow(found)
            finally:
                self._moving = False
            self._idle, self._full = idle, full
            self._for, self._problem = (fleet.graph, off, idle, full), ""
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


def _left(controller: Controller, found: Plan) -> list[str]:
    """Return the steps that a plan moves from switches to hosts."""
    strategy, switches = controller.fleet.strategy, controller.switches
    assert isinstance(strategy, Planned)
    return [
        step for step, at in found.solution.at.items() if at not in switches and strategy.solution.at[step] in switches
    ]


def _spelled(plan: Plan) -> str:
    return ", ".join(f"{step} on {device}" for step, device in plan.solution.at.items())
