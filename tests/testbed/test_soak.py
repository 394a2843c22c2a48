"""A network that works for long needs no more memory, threads or descriptors than at the beginning."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from midflight.testbed.bench.soak import GUESTS, WORKERS, Process, Sample, soak
from tests.bmv2 import ROOT
from tests.cli.run import midflight


class Clock:
    """A clock that only passes while somebody pauses."""

    def __init__(self) -> None:
        self.time = 100.0

    def pause(self, seconds: float) -> None:
        self.time += seconds

    def now(self) -> float:
        return self.time


def test_a_soak_of_a_simulated_network() -> None:
    clock = Clock()
    found = soak(24.0, fabric="sim", pause=clock.pause, now=clock.now)
    assert (found.seconds, found.sums, found.controllers, found.pushes) == (24.0, 24 * WORKERS, 24 * GUESTS, 2)
    process = found.processes[0]  # others are children of this process that other tests left, such as a fork server
    assert process.name == "controller"
    assert [each.at for each in process.samples] == [0.0, *(float(at) for at in range(2, 24, 2)), 24.0]
    assert all(each.memory > 10_000 for each in process.samples)
    threads = [each.threads for each in process.settled(found.seconds)]
    assert max(threads[-3:]) <= max(threads[:3]) + 2, "a session's thread is left for each controller"
    assert process.samples[-1].descriptors <= process.samples[1].descriptors + 8
    document = json.loads(json.dumps(found.json()))
    assert document["processes"][0]["growth"] == process.growth(found.seconds)


def test_growth_is_that_of_the_time_after_the_warm_up() -> None:
    grown = Process("it", [Sample(at, 1000 if at < 10 else 2000 + at, 1, 1) for at in range(0, 101, 5)])
    assert len(grown.settled(100)) == 19
    assert grown.growth(100) == pytest.approx(3600)
    assert Process("it", [Sample(0.0, 1000, 1, 1)]).growth(100) == 0.0


@pytest.mark.root
@ROOT[1]
def test_a_soak_of_processes_samples_each_of_them() -> None:
    clock = Clock()
    found = soak(3.0, rate=1.0, pause=clock.pause, now=clock.now)
    names = [each.name for each in found.processes]
    for expected in ("controller", "janitor", "links", "switch s1", "worker 0", "worker 1", "worker 2"):
        assert expected in names
    assert found.processes[0].samples[0].memory > 0
    assert found.sums == 3 * WORKERS


def test_the_command_prints_a_table_and_writes_the_figures(tmp_path: Path) -> None:
    file = tmp_path / "soak.json"
    result = midflight("bench", "soak", "--fabric", "sim", "--minutes", "0.02", "--rate", "100", "--json", file)
    assert result.exit_code == 0, result.output
    assert "minutes in sim" in result.output
    assert "controller" in result.output
    assert json.loads(file.read_text())["sums"] >= WORKERS


@pytest.mark.long
@pytest.mark.root
@ROOT[1]
def test_nothing_grows() -> None:
    minutes = float(os.environ.get("MIDFLIGHT_SOAK", "10"))
    found = soak(minutes * 60)
    for each in found.processes:
        samples = each.settled(found.seconds)
        assert samples[-1].threads <= samples[0].threads + 4, each.name
        assert samples[-1].descriptors <= samples[0].descriptors + 8, each.name
        assert samples[-1].memory <= 1.1 * samples[0].memory + 8 * 1024, each.name
