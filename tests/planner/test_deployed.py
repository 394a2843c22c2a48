"""A plan deployed by the controller: each switch runs its own steps, on devices of several kinds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from midflight.primitives import Aggregate, Filter, Program, Threshold
from midflight.runtime.controller.planned import Planned
from midflight.runtime.placement.planner import Application, Plan, Sink, Source, Step, plan
from midflight.testbed import Net, Topology
from tests.bmv2 import BMV2
from tests.planner.instances import CHIP, costs
from tests.planner.test_plan import line

PROGRAM = Program(Filter("hot", keep="heat > 80"), Threshold("pressure", above=900, clear=850))
TOPOLOGY = Topology.of([("h1", "s1"), ("s1", "s2"), ("s2", "h2")])


def planned() -> Plan:
    application = Application(
        [Source("data", ("h1",), 1e9)],
        [Step("hot", ("data",), 0.9), Step("pressure", ("hot",))],
        [Sink("store", ("h2",), "pressure")],
    )
    return plan(line(CHIP, CHIP), application, costs())


@pytest.mark.parametrize(
    "devices",
    [{"s1": "host", "s2": "host"}, pytest.param({"s1": "host", "s2": "bmv2"}, marks=BMV2)],
    ids=["host", "bmv2"],
)
def test_every_switch_runs_its_steps_alone(devices: Mapping[str, str]) -> None:
    found = planned()
    assert found.solution.at == {"hot": "s1", "pressure": "s2"}
    with Net(TOPOLOGY, program=PROGRAM, device=devices, strategy=Planned(found)) as net:
        assert {name: each.on(name) for name, each in net.placements.items()} == {"s1": ("hot",), "s2": ("pressure",)}
        net.send("h1", "hot", to="h2", heat=[10, 90, 81, 80])
        assert [each.fields["heat"] for each in net.received("h2", "hot").requests] == [90, 81]
        net.send("h1", "pressure", to="h2", sensor=3, value=[500, 950, 960])
        assert [(each.sensor, each.value, each.switch) for each in net.alerts("pressure")] == [(3, 950, "s2")]


def test_a_group_is_where_the_plan_says() -> None:
    application = Application([Source("data", ("h1",), 1e6)], [Step("sums", ("data",))], [Sink("end", ("h2",), "sums")])
    program = Program(Aggregate("sums", workers=1, lanes=1, slots=2))
    here = plan(line(CHIP, CHIP), application, costs(), "latency")
    assert here.solution.at["sums"] in ("s1", "s2")
    with Net(TOPOLOGY, program=program, strategy=Planned(here)) as net:
        group = net.group("sums", net.hosts[:1], server=net.host("h2"))
        assert group.allreduce([np.array([1.5], dtype=np.float32)])[0].tolist() == [1.5]
        assert net.placements[here.solution.at["sums"]].device_of("sums") == here.solution.at["sums"]


def test_the_server_computes_if_requests_do_not_pass_the_planned_switch() -> None:
    application = Application([Source("data", ("h1",), 1e6)], [Step("sums", ("data",))], [Sink("end", ("h2",), "sums")])
    program = Program(Aggregate("sums", workers=1, lanes=1, slots=2))
    found = plan(line(CHIP, CHIP), application, costs(), "latency")
    aside = Topology.of([("h1", "s3"), ("s3", "h2"), ("s3", found.solution.at["sums"])])
    with Net(aside, program=program, strategy=Planned(found)) as net:
        group = net.group("sums", net.hosts[:1], server=net.host("h2"))
        assert group.allreduce([np.array([1.5], dtype=np.float32)])[0].tolist() == [1.5]
        assert net.placements["s3"].on("s3") == ()
