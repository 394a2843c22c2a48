"""The guarantees of `midflight deploy` on switches that it did not start, with processes killed.

Meanwhile hosts sum arrays through the switches, check every sum, and count retransmissions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from midflight.testbed.topology import Topology
from tests.bmv2 import BMV2, ROOT
from tests.controller.byhand import ByHand, Worker

pytestmark = ROOT

APP = """\
from midflight.primitives import Aggregate, Program, Threshold

program = Program(
    Aggregate("near", workers=2, lanes=8, slots=8),
    Aggregate("far", workers=2, lanes=8, slots=8),
    Threshold("hot", above=9, clear=5, sensors=16),
)
"""
TOPOLOGY = Topology.of([("h1", "s1"), ("h2", "s1"), ("h3", "s2"), ("h4", "s2"), ("s1", "s2")])
ENDS = {"near": ("h1", "h2"), "far": ("h1", "h3")}  # the first is computed on s1, the second on s2


@pytest.fixture(params=["host", pytest.param("bmv2", marks=BMV2)])
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ByHand]:
    with ByHand(TOPOLOGY, tmp_path, APP, request.param) as made:
        for name in ("s1", "s2"):
            made.start_switch(name)
        yield made


def start(network: ByHand, application: str, *, patient: bool = True) -> list[Worker]:
    return network.start_workers(application, *ENDS[application], server="h4", patient=patient)


def stop(workers: list[Worker]) -> list[dict[str, Any]]:
    workers[0].stop()
    return [each.report() for each in workers]


def test_restarting_a_killed_controller_does_not_disturb_traffic(network: ByHand) -> None:
    first = network.deploy()
    first.event("ready")
    near, far = start(network, "near"), start(network, "far")
    status = network.command("status")
    computed = {each["name"]: each["job"]["switches"] for each in status["applications"] if each["job"]}
    assert computed == {"near": ["s1"], "far": ["s2"]}
    for each in (*near, *far):
        each.rounds(20)
    first.kill()
    for each in (*near, *far):
        each.rounds(20)  # there is no controller, and traffic continues
    second = network.deploy()
    second.event("ready")
    assert second.kinds() == ["resumed", "switch-adopted", "switch-adopted", "ready"]
    assert second.event("switch-adopted", "s1")["foreign"] == 0
    for each in (*near, *far):
        each.rounds(20)
    for report in (*stop(near), *stop(far)):
        assert report["sums"] > 60
        assert report["reliable"]["retransmitted"] == 0
        assert (report["epochs"], report["asked"], report["stuck"]) == (0, 0, 0)
    assert network.command("counters", "near")["counters"][0]["packets"] > 0


def test_a_restarted_switch_is_restored(network: ByHand) -> None:
    controller = network.deploy()
    controller.event("ready")
    workers = {application: start(network, application, patient=False) for application in ENDS}
    for name, application in (("s1", "near"), ("s2", "far")):
        for each in workers[application]:
            each.rounds(5)
        network.switches[name].kill()
        controller.event("switch-lost", name)
        network.start_switch(name)
        controller.event("switch-restored", name)
        for those in workers.values():
            for each in those:
                each.rounds(5)
    for those in workers.values():
        reports = stop(those)
        assert any(each["reliable"]["retransmitted"] for each in reports)
        assert all(each["epochs"] for each in reports)
    assert [each["state"] for each in network.command("status")["switches"]] == ["on", "on"]


def test_a_standby_takes_over_when_the_controller_dies(network: ByHand) -> None:
    first = network.deploy()
    first.event("ready")
    bids = {each["name"]: each["election_id"] for each in network.command("status")["switches"]}
    standby = network.deploy("--standby")
    standby.event("standby")
    near, far = start(network, "near"), start(network, "far")
    for each in (*near, *far):
        each.rounds(10)
    first.kill()
    standby.event("took-over")
    standby.event("ready")
    assert standby.kinds() == ["standby", "took-over", "resumed", "switch-adopted", "switch-adopted", "ready"]
    for each in (*near, *far):
        each.rounds(10)
    for report in (*stop(near), *stop(far)):
        assert report["reliable"]["retransmitted"] == 0
    status = network.command("status")
    assert status["controller"]["pid"] == standby.process.pid
    assert all(each["election_id"] > bids[each["name"]] for each in status["switches"])
    network.command("admit", "hot", "--switch", "s1")
    assert network.command("undeploy") == {"absent": []}
    assert standby.process.wait(30) == 0
