"""Deployments with a plan: steps on several switches, which move when a switch fails, returns or is left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Map, bit
from midflight.runtime.controller.deployment import Deployment
from midflight.runtime.controller.service.commands import Commands
from midflight.runtime.p4runtime.client.link import RequestError
from midflight.runtime.p4runtime.client.maps import MapWriter
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.p4runtime.status import Code
from tests.controller.planned import PlannedLab

APP = """\
from midflight.primitives import Filter, Header, Map, Primitive, Program, Register, Threshold, bit


class Count(Primitive):
    '''Count packets by the number that a map has for their key.'''

    class Wire(Header):
        key = bit[16]

    def setup(self):
        self.numbers = Map(bit[16], bit[4], size=8)
        self.seen = Register(bit[48], 16)

    def ingress(self, packet, wire):
        number = self.numbers.get(wire.key, 0)
        self.seen.update(bit[32](number), lambda old: old + 1)
        packet.forward()


program = Program(
    Filter("hot", keep="heat > 80"),
    Count("count"),
    Threshold("pressure", above=900, clear=850, sensors=16),
)
"""
PLAN = """\
program: app.py
sources:
  readings: {at: h1, rate: 100Mbit}
steps:
  hot: {takes: readings, keeps: 20%}
  count: {takes: hot, keeps: 50%}
  pressure: {takes: count, keeps: 50%}
sinks:
  desk: {takes: pressure, at: h2}
"""
MAC = "02:00:00:00:00:0"
# The edge has no registers, the spines raise no alerts, and the rack has narrow registers.
NETWORK = f"""\
switches:
  edge: {{address: "unix:FOLDER/edge", kind: host, capabilities: {{register_arrays: 0}}}}
  one: {{address: "unix:FOLDER/one", kind: host, capabilities: {{digests: false}}}}
  two: {{address: "unix:FOLDER/two", kind: host, capabilities: {{digests: false}}}}
  core: {{address: "unix:FOLDER/core", kind: host, capabilities: {{digests: false}}}}
  rack: {{address: "unix:FOLDER/rack", kind: host, capabilities: {{register_width: 32}}}}
hosts:
  h1: {{address: 10.0.0.1, mac: "{MAC}1"}}
  h2: {{address: 10.0.0.2, mac: "{MAC}2"}}
links: [h1 edge, edge one, edge two, one core, two core, core rack, rack h2]
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[PlannedLab]:
    with closing(PlannedLab(tmp_path, NETWORK, APP, PLAN)) as made:
        yield made


def runs(deployment: Deployment) -> dict[str, tuple[str, ...]]:
    return {name: tuple(each.running.placed) for name, each in deployment.controller.switches.items()}


def steps(deployment: Deployment) -> dict[str, str]:
    """Return the switch that runs each step."""
    return {step: name for name, those in runs(deployment).items() for step in those}


FIRST = {"hot": "edge", "count": "one", "pressure": "rack"}


def test_each_switch_runs_its_steps_and_they_are_admitted(lab: PlannedLab) -> None:
    with lab.deployed() as (deployment, events):
        assert steps(deployment) == FIRST
        assert dict([*deployment.controller.fleet.desired.admissions]) == FIRST
        assert events.wait("planned").details == {"steps": FIRST}
        admitted = {name: [*each.admitted] for name, each in deployment.controller.steering.items()}
        assert admitted == {"edge": [1], "one": [2], "two": [], "core": [], "rack": [3]}


def test_a_step_moves_with_its_state_when_its_switch_is_left_out(lab: PlannedLab) -> None:
    with lab.deployed() as (deployment, events):
        controller, following = deployment.controller, deployment.following
        assert following is not None
        controller.limit("count", 500)
        controller.state("count").seen.write([2**40], start=3)
        controller.map("count", "numbers")[7] = 3
        epoch = controller.fleet.epoch
        with pytest.raises(MidflightError, match="there is no switch named three"):
            following.renew(["three"])
        moves = following.renew(["one"])
        assert [str(each) for each in moves] == ["count from one to core, with its state"]
        assert steps(deployment) == {**FIRST, "count": "core"}
        assert events.wait("replanned").message == str(moves[0])
        assert [*controller.state("count", "core").seen.read()[:5]] == [0, 0, 0, 2**40, 0]
        assert dict(controller.map("count", "numbers", "core")) == {7: 3}
        assert controller.steering["core"].admitted[2].rate == 500
        assert (controller.steering["one"].admitted, controller.fleet.epoch) == ({}, epoch)
        assert [str(each) for each in following.renew([])] == ["count from core to one, with its state"]
        assert controller.state("count").seen.read()[3] == 2**40


def test_a_step_moves_when_its_switch_fails_and_back_when_it_returns(lab: PlannedLab) -> None:
    with lab.deployed() as (deployment, events):
        controller = deployment.controller
        epoch = controller.fleet.epoch
        controller.map("count", "numbers")[7] = 3
        lab.devices["one"].close()
        moved = events.wait("replanned")
        assert moved.message == "count from one to two, without its state"
        assert moved.details["steps"] == {**FIRST, "count": "two"}
        with controller.fleet.lock:
            assert controller.fleet.epoch == epoch + 1
            assert controller.steering["two"].admitted[2].epoch == epoch + 1
            assert dict(controller.map("count", "numbers", "two")) == {7: 3}
            path = controller.fleet.graph.path("h1", "h2")
            assert path is not None
            assert path.nodes == ("h1", "edge", "two", "core", "rack", "h2")
            controller.state("count", "two").seen.write([5], start=1)
        lab.devices["one"] = lab.start("one")
        events.wait("switch-restored", "one")
        back = events.wait_for(lambda each: each.kind == "replanned" and "to one" in each.message)
        assert back.message == "count from two to one, with its state"
        with controller.fleet.lock:
            assert controller.state("count", "one").seen.read()[1] == 5


def test_steps_are_left_to_hosts_without_a_switch_for_them_and_admitted_again_later(lab: PlannedLab) -> None:
    with lab.deployed() as (deployment, events):
        for name in ("one", "two"):
            lab.devices[name].close()
        events.wait("not-replanned")  # no path is left
        lab.devices["two"] = lab.start("two")
        moved = events.wait_for(lambda each: each.kind == "replanned" and "to two" in each.message)
        assert moved.details["steps"]["count"] == "two"
        following, controller = deployment.following, deployment.controller
        assert following is not None
        gone = following.renew(["two", "core"])
        assert [(each.step, each.before, each.state) for each in gone] == [("count", "two", False)]
        assert "count" not in steps(deployment)
        assert ("count", "two") not in controller.fleet.desired.admissions
        following.renew([])
        assert steps(deployment)["count"] == "two"
        assert 2 in controller.steering["two"].admitted


def test_the_registers_of_a_step_that_is_left_to_hosts_stay_readable_and_its_map_returns(lab: PlannedLab) -> None:
    with lab.deployed() as (deployment, _):
        following, controller = deployment.following, deployment.controller
        assert following is not None
        controller.map("count", "numbers")[7] = 3
        controller.state("count").seen.write([2**40], start=3)
        following.renew(["one", "two", "core"])
        controller.map("count", "numbers")[8] = 4
    with lab.deployed(again=True) as (deployment, _):
        following, controller = deployment.following, deployment.controller
        assert following is not None
        assert "count" not in steps(deployment)
        state = Commands(deployment).state({"application": "count"})
        assert (state["switch"], state["registers"]["seen"][:5]) == ("", [0, 0, 0, 2**40, 0])
        following.renew([])
        assert dict(controller.map("count", "numbers", "one")) == {7: 3, 8: 4}
        state = Commands(deployment).state({"application": "count"})
        assert (state["switch"], state["registers"]["seen"][3]) == ("one", 0)


def fill(deployment: Deployment, switch: str) -> None:
    """Write entries of somebody else to the map on a switch, until one more has room."""
    there = deployment.controller.switches[switch].maps
    others = MapWriter(there, "ingress.count.numbers", Map(bit[16], bit[4], size=8))
    for key in range(100, 107 - len(there["count", "numbers"].entries) + 1):
        others[key] = 1


def test_a_step_moves_when_its_switch_fills_up(lab: PlannedLab) -> None:
    with lab.deployed() as (deployment, events):
        controller, following = deployment.controller, deployment.following
        assert following is not None
        controller.state("count").seen.write([2**40], start=3)
        numbers = controller.map("count", "numbers")
        numbers[7] = 3
        fill(deployment, "one")
        numbers[8] = 4
        assert (events.wait("full").switch, events.wait("full").application) == ("one", "count")
        assert events.wait("replanned").message == "count from one to core, with its state"
        assert steps(deployment) == {**FIRST, "count": "core"}
        assert dict(numbers) == dict(controller.map("count", "numbers", "core")) == {7: 3, 8: 4}
        assert controller.state("count").seen.read()[3] == 2**40
        assert [str(each) for each in following.renew([])] == ["count from core to one, with its state"]


def test_a_step_stays_on_a_full_switch_if_no_other_has_room(lab: PlannedLab) -> None:
    with lab.deployed() as (deployment, events):
        controller, following = deployment.controller, deployment.following
        assert following is not None
        following.renew(["two", "core"])
        numbers = controller.map("count", "numbers")
        numbers[7] = 3
        fill(deployment, "one")
        with pytest.raises(RequestError, match="full"):
            numbers.amend([(8, 4, 1), (9, 4, 1)])
        assert events.wait("not-replanned").message == "no other switch has room for count"
        assert (steps(deployment), [each.value for each in numbers.entries]) == (FIRST, [3])


def test_a_step_moves_if_its_switch_has_no_room_for_an_admission(
    lab: PlannedLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RequestError("the table is full", Code.RESOURCE_EXHAUSTED)

    with lab.deployed() as (deployment, _):
        controller = deployment.controller
        hosts = [each for each in lab.network.graph.hosts if each.name == "h1"]
        with monkeypatch.context() as patched:
            patched.setattr(controller.switches["one"], "admit", refuse)
            controller.admit("count", hosts)
        assert steps(deployment) == {**FIRST, "count": "core"}
        request = controller.fleet.desired.admissions["count", "core"]
        assert [each.name for each in request.hosts] == ["h1"]
        assert ("count", "one") not in controller.fleet.desired.admissions


def test_a_resumed_deployment_follows_its_plan(lab: PlannedLab) -> None:
    with lab.deployed() as (deployment, _):
        assert deployment.following is not None
        deployment.following.renew(["one"])
        deployment.controller.state("count").seen.write([9], start=2)
    with lab.deployed(again=True) as (deployment, events):
        assert events.kinds() == ["resumed", *["switch-adopted"] * 5]
        assert steps(deployment) == {**FIRST, "count": "core"}
        assert deployment.controller.state("count").seen.read()[2] == 9
    (lab.folder / "app.yaml").write_text(PLAN.replace("20%", "30%"))
    with pytest.raises(MidflightError, match="differs from the deployed plan"), lab.deployed():
        pass


def test_a_switch_that_refuses_its_program_keeps_the_plan(lab: PlannedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    with lab.deployed() as (deployment, _):
        controller, following = deployment.controller, deployment.following
        assert following is not None
        controller.state("count").seen.write([9], start=2)

        def refuse(*_: object, **__: object) -> None:
            raise DeviceError("no room")

        monkeypatch.setattr(controller.switches["core"], "verify", refuse)
        with pytest.raises(DeviceError, match="core rejects the program: no room"):
            following.renew(["one"])
        assert steps(deployment) == FIRST
        assert 2 in controller.steering["one"].admitted
        assert controller.state("count").seen.read()[2] == 9


@pytest.mark.parametrize(("late", "state"), [("state", "without"), ("admit", "with")])
def test_a_step_is_admitted_although_its_new_switch_stops_answering(
    lab: PlannedLab, monkeypatch: pytest.MonkeyPatch, late: str, state: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise DeviceError("no answer")

    with lab.deployed() as (deployment, _):
        controller, following = deployment.controller, deployment.following
        assert following is not None
        with controller.fleet.lock:
            with monkeypatch.context() as patched:
                patched.setattr(controller.switches["core"], late, refuse)
                moves = following.renew(["one"])
            assert [str(each) for each in moves] == [f"count from one to core, {state} its state"]
            assert controller.switches["core"].reason == "no answer"
            assert dict([*controller.fleet.desired.admissions]) == {**FIRST, "count": "core"}


def test_nothing_is_loaded_if_one_switch_refuses_its_program(lab: PlannedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    load = Session.load

    def refuse(session: Session, *arguments: Any, **options: Any) -> None:
        if session.address.endswith("rack"):
            raise DeviceError("no room")
        load(session, *arguments, **options)

    monkeypatch.setattr(Session, "load", refuse)
    with pytest.raises(DeviceError, match="no room"), lab.deployed():
        pass
    with lab.devices["edge"].session() as session:
        assert session.read_cookie() is None


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (PLAN.replace("count", "counts"), "the program has no application counts"),
        (PLAN.replace("at: h2", "at: h3"), "the network has no host h3"),
    ],
)
def test_wrong_plans_are_refused_before_a_switch_is_reached(lab: PlannedLab, plan: str, message: str) -> None:
    (lab.folder / "app.yaml").write_text(plan)
    with pytest.raises(MidflightError, match=message), lab.deployed():
        pass
    with lab.devices["one"].session() as session:
        assert session.read_cookie() is None
