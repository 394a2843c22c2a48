"""The primitives' benchmark: its report, and that it verifies the outputs of what it measures."""

from __future__ import annotations

import itertools
import json

import pytest

from midflight.errors import MidflightError
from midflight.runtime.engine import Engine, Packets
from midflight.testbed.bench.load import Load, usual
from midflight.testbed.bench.primitives import bench_primitives
from midflight.testbed.conformance.subject import subject


def test_figures_follow_from_the_clock_and_say_what_was_measured() -> None:
    ticks = itertools.count()
    reported: list[tuple[int, int, str]] = []
    bench = bench_primitives(
        ["Aggregate", "Filter"],
        packets=64,
        lanes=(1, 3),
        runs=2,
        clock=lambda: next(ticks) * 0.5,
        progress=lambda *each: reported.append(each),
    )
    assert [each.name for each in bench.primitives] == ["Aggregate", "Filter"]
    for each in bench.primitives:
        assert each.rate.packets >= 64
        assert each.rate.packets_per_second == 2 * each.rate.packets
        assert each.rate.runs == (each.rate.packets_per_second,) * 2
        assert sum(each.outcomes.values()) == each.rate.packets
    assert bench.primitives[0].parameters["lanes"] == 32
    assert bench.lanes is not None
    assert bench.lanes.lanes == (1, 3)
    assert [each.packet_bytes for each in bench.lanes.rates] == [14 + 20 + 8 + 16 + 8 + 4 * lanes for lanes in (1, 3)]
    # Both took half a second, so a lane has no cost.
    assert bench.lanes.fixed == pytest.approx(0.5e9 / 64)
    assert bench.lanes.each == pytest.approx(0, abs=1)
    assert bench.lanes.off == pytest.approx(0, abs=1e-9)
    assert (reported[0][:2], reported[-1][:2]) == ((0, 8), (8, 8))
    assert json.loads(json.dumps(bench.json()))["primitives"][1]["parameters"]["keep"]


def test_a_line_through_what_lanes_cost() -> None:
    """The clock shows 100 ns for a packet with one lane and 160 ns with three, and twice that in every second run."""
    waits = itertools.cycle((100e-9 * 64, 160e-9 * 64, 200e-9 * 64, 320e-9 * 64))
    ends = itertools.count()
    now = 0.0

    def clock() -> float:
        nonlocal now
        number = next(ends)
        # Before measuring lanes, the benchmark compiles Aggregate, runs its pairs, and compiles both numbers of lanes.
        if number >= 2 + 2 * 2 + 4 and number % 2:
            now += next(waits)
        return now

    bench = bench_primitives(["Aggregate"], packets=64, lanes=(1, 3), runs=2, clock=clock)
    assert bench.lanes is not None
    assert bench.lanes.fixed == pytest.approx(70)
    assert bench.lanes.each == pytest.approx(30)


def test_lanes_are_timed_with_aggregate_alone() -> None:
    assert bench_primitives(["Threshold"], packets=32, runs=1).lanes is None


@pytest.mark.parametrize("name", ["Quorum", "Lock", "Cache", "GroupBy", "Sequencer"])
def test_traffic_keeps_the_state_at_work(name: str) -> None:
    """Consecutive traces get similar answers to each trace on a switch that has just started."""
    of = subject(name)
    load = Load(of, 600, 0, lambda: 0.0)
    outcomes = load.outcomes
    assert usual(of).parameters == load.primitive.parameters
    assert sum(outcomes.values()) >= 600
    assert (outcomes["answered"] + outcomes["forwarded"]) / sum(outcomes.values()) > 0.25


def test_what_has_a_default_has_it() -> None:
    """The sketches of the tests have few columns, so that they fill up; the benchmark uses the defaults."""
    assert usual(subject("CountMin")).parameters["columns"] == 4096
    assert usual(subject("Filter")).parameters["keep"] == subject("Filter").choice(0)["keep"]


def test_packets_processed_wrong_give_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Engine.process

    def broken(self: Engine, packets: Packets, now: int = 0) -> Packets:
        out = process(self, packets, now)
        out.data[out.offsets + out.lengths - 1] ^= 1
        return out

    monkeypatch.setattr(Engine, "process", broken)
    with pytest.raises(MidflightError, match="Filter on the switch differs from its kernel in Python at packet"):
        bench_primitives(["Filter"], packets=32, runs=1)
