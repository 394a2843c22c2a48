"""Demand that shifts: a plan for other rates of sources, on request and when counters show it for long enough."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from midflight.errors import MidflightError
from midflight.runtime.controller.demand import Shift, demand_watch
from midflight.runtime.controller.deployment import Deployment
from midflight.runtime.controller.observe.metrics import Reading, SwitchReading
from midflight.runtime.controller.service.commands import Commands
from midflight.runtime.controller.service.server import CommandServer
from midflight.runtime.placement.planner.model import Application, Source, Step
from tests.cli.run import midflight
from tests.controller.planned import PlannedLab

APP = """\
from midflight.primitives import Program, Threshold

program = Program(*(Threshold(name, above=900, clear=850, sensors=16) for name in ("left", "right")))
"""
PLAN = """\
program: app.py
sources:
  lefts: {at: h1, rate: 100Mbit}
  rights: {at: h1, rate: 10Mbit}
steps:
  left: {takes: lefts, keeps: 10%}
  right: {takes: rights, keeps: 10%}
sinks:
  one: {takes: left, at: h2}
  other: {takes: right, at: h2}
"""
# The edge has room for one step. The step with more traffic saves more there.
NETWORK = """\
switches:
  edge: {address: "unix:FOLDER/edge", kind: host, capabilities: {register_arrays: 1}}
  core: {address: "unix:FOLDER/core", kind: host}
hosts:
  h1: {address: 10.0.0.1, mac: "02:00:00:00:00:01"}
  h2: {address: 10.0.0.2, mac: "02:00:00:00:00:02"}
links: [h1 edge, edge core, core h2]
"""
BEFORE, AFTER = {"left": "edge", "right": "core"}, {"left": "core", "right": "edge"}
MBIT = 125_000  # bytes a second


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[PlannedLab]:
    tmp_path.chmod(0o700)
    with closing(PlannedLab(tmp_path, NETWORK, APP, PLAN)) as made:
        yield made


def steps(deployment: Deployment) -> dict[str, str]:
    return {step: name for name, each in deployment.controller.switches.items() for step in each.running.placed}


def test_a_plan_for_other_rates_moves_steps_with_their_state(lab: PlannedLab) -> None:
    with lab.deployed() as (deployment, _):
        following, controller = deployment.following, deployment.controller
        assert following is not None
        assert steps(deployment) == BEFORE
        controller.state("right", "core").armed.write([0], start=3)
        assert following.rate({"lefts": 90e6}) == (), "the same plan is the best"
        moves = following.rate({"rights": 900e6})
        assert {str(each) for each in moves} == {
            "left from edge to core, with its state",
            "right from core to edge, with its state",
        }
        assert steps(deployment) == AFTER
        assert controller.state("right", "edge").armed.read()[3] == 0
        for wrong, message in (({"ups": 1.0}, "no source ups"), ({"rights": 0.0}, "a rate above 0")):
            with pytest.raises(MidflightError, match=message):
                following.rate(wrong)
        assert following.renew([]) == (), "later plans expect these rates, too"
    with lab.deployed(again=True) as (deployment, _):
        assert deployment.following is not None
        assert {each.name: each.rate for each in deployment.following.application.sources} == {
            "lefts": 90e6,
            "rights": 900e6,
        }
        assert steps(deployment) == AFTER
        deployment.following.rate({"rights": 1e6})
        assert steps(deployment) == BEFORE


def test_the_command_plans_for_other_rates(lab: PlannedLab) -> None:
    with lab.deployed() as (deployment, _):
        commands = Commands(deployment)
        with CommandServer(lab.folder / "control", commands.calls, commands.streams):
            done = midflight("replan", "--state", lab.folder, "--rate", "rights=900Mbit")
            assert "right from core to edge, with its state" in done.output
            assert "is not SOURCE=RATE" in midflight("replan", "--state", lab.folder, "--rate", "rights=9").output
            assert "no source ups" in midflight("replan", "--state", lab.folder, "--rate", "ups=1Mbit").output


def test_demand_that_has_shifted_for_long_enough_moves_steps(lab: PlannedLab) -> None:
    began = time.monotonic()

    def read() -> Reading:
        """Count 10 Mbit/s for left instead of 100, and 900 for right instead of 10."""
        seconds = time.monotonic() - began
        grown = {"left": 10, "right": 900}
        return Reading(
            1,
            {
                switch: SwitchReading(True, 1, {}, {(step, "any"): round(grown[step] * MBIT * seconds)})
                for step, switch in steps(deployment).items()
            },
        )

    with lab.deployed() as (deployment, events):
        assert deployment.following is not None
        with demand_watch(deployment.following, read, deployment.emit, 0.5):
            shifted = events.wait("demand-shifted")
            moved = events.wait("replanned")
        assert shifted.details["rates"] == pytest.approx({"lefts": 10e6, "rights": 900e6}, rel=0.2)
        assert moved.details["steps"] == AFTER
        assert steps(deployment) == AFTER


APPLICATION = Application(
    [Source("ups", ("h1", "h2"), 50e6), Source("downs", ("h3",), 10e6)],
    [Step("up", ("ups",)), Step("down", ("downs",)), Step("later", ("up",))],
)


def played(*megabits: tuple[float, float], step: str = "up") -> list[dict[str, float]]:
    """Sample once a second: the rates of a step at two switches in Mbit/s; a shift has to last 3 seconds."""
    shift, counts = Shift(APPLICATION, 3.0), [0.0, 0.0]
    found = [shift.sample({(step, "s1"): 0, (step, "s2"): 0}, 0.0)]
    for second, rates in enumerate(megabits, start=1):
        counts = [count + MBIT * rate for count, rate in zip(counts, rates, strict=True)]
        found.append(shift.sample({(step, f"s{n}"): int(each) for n, each in enumerate(counts, 1)}, float(second)))
    return found


def test_a_shift_has_to_last() -> None:
    assert played(*[(60, 40)] * 5) == [{}] * 6, "as planned: two devices of 50 Mbit/s"
    assert played(*[(150, 150)] * 3) == [{}, {}, {}, {"ups": pytest.approx(150e6)}]
    assert played(*[(10, 10)] * 3)[-1] == {"ups": pytest.approx(10e6)}
    assert played((150, 150), (150, 150), (50, 50), (150, 150), (150, 150)) == [{}] * 6, "a peak"
    assert played((150, 150), (150, 150), (1, 1), (150, 150), (1, 1)) == [{}] * 6, "it swings"


def test_what_says_nothing_about_sources_is_no_shift() -> None:
    assert played(*[(999, 999)] * 5, step="later") == [{}] * 6, "it takes from another step"
    shift = Shift(APPLICATION, 1.0)
    assert [shift.sample({}, float(second)) for second in range(5)] == [{}] * 5, "left to hosts"
    assert shift.sample({("up", "s1"): 10**9}, 6.0) == {}, "a switch that was not counted before"
    assert shift.sample({("up", "s1"): 0}, 7.0) == {}, "a switch that has lost its counters"
    assert shift.sample({("up", "s1"): 10**9}, 7.0) == {}, "no time has passed"
