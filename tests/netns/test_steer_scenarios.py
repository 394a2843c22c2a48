"""Scenarios in namespaces: the same decisions on each kind of switch, and nothing lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from midflight.errors import MidflightError
from midflight.testbed.steer import parse_scenario, shipped
from midflight.testbed.steer.live import LiveRun, live_topology, run_live
from tests.bmv2 import BMV2, ROOT
from tests.cli.run import midflight

pytestmark = ROOT
REQUESTS = 60


@pytest.fixture(scope="module")
def on_host() -> LiveRun:
    return run_live(parse_scenario(shipped("factory")), requests=REQUESTS)


def check(run: LiveRun) -> None:
    """Check that each request was answered, by the host that the controller expected."""
    assert len(run.requests) == REQUESTS
    for each in run.requests:
        assert each.host == each.expected != "", each


def test_the_factory_runs_on_the_embedded_switch(on_host: LiveRun) -> None:
    check(on_host)
    assert len({each.host for each in on_host.requests}) > 5
    assert {each.service for each in on_host.requests} == {"plc", "vision"}
    assert len({each.client for each in on_host.requests}) > 2


@pytest.mark.parametrize("device", [pytest.param("bmv2", marks=BMV2)])
def test_bmv2_decides_as_the_embedded_switch_does(on_host: LiveRun, device: str) -> None:
    run = run_live(parse_scenario(shipped("factory")), device=device, requests=REQUESTS)
    check(run)
    assert run.decisions == on_host.decisions


def test_the_command_reports_who_answered(tmp_path: Path) -> None:
    out = tmp_path / "live.json"
    done = midflight("steer", "contention", "--fabric", "netns", "--requests", "12", "--json", out)
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    assert (found["scenario"], found["device"]) == ("contention", "host")
    for each in found["classes"].values():
        assert sum(each["hosts"].values()) == each["requests"] - each["lost"]
        assert (each["lost"], each["elsewhere"]) == (0, 0)
    assert "answered by" in " ".join(done.output.split())


def test_simulated_policies_do_not_run_in_namespaces() -> None:
    done = midflight("steer", "factory", "--fabric", "netns", "--policy", "hybrid")
    assert done.exit_code == 2
    assert "are for --fabric sim" in done.output


def test_each_instance_has_a_host_behind_its_site() -> None:
    scenario = parse_scenario(shipped("factory"))
    topology, hosts = live_topology(scenario)
    assert len(topology.switches) == len(scenario.sites) + 1
    assert len(topology.hosts) == len(scenario.instances) + len(scenario.ingresses)
    assert set(hosts.values()) < set(topology.hosts)
    with pytest.raises(MidflightError, match="1 to 40000 requests, not 0"):
        run_live(scenario, requests=0)
