"""The engine's benchmark: its report, and that it verifies the outputs of what it measures."""

from __future__ import annotations

import itertools
import json

import pytest

from midflight.errors import MidflightError
from midflight.runtime.engine import Engine, Packets
from midflight.testbed.bench.engine import bench_engine


def test_figures_follow_from_the_clock_and_say_what_was_measured() -> None:
    ticks = itertools.count()
    reported: list[tuple[int, int, str]] = []
    bench = bench_engine(
        routes=40,
        lanes=4,
        workers=2,
        packets=200,
        runs=3,
        clock=lambda: next(ticks) * 0.5,
        progress=lambda *each: reported.append(each),
    )
    for rate in (bench.forwarder, bench.aggregation):
        assert rate.packets == 200
        assert rate.runs == (400.0, 400.0, 400.0)
        assert rate.packets_per_second == 400.0
        assert rate.nanoseconds == 1e9 / 400
        assert rate.compile_seconds == 0.5
    assert bench.forwarder.packet_bytes == 64
    assert bench.aggregation.packet_bytes == 14 + 20 + 8 + 16 + 8 + 4 * 4
    assert [done for done, _, _ in reported] == [0, 1, 2, 3, 3, 4, 5, 6]
    assert {total for _, total, _ in reported} == {6}
    assert json.loads(json.dumps(bench.json()))["routes"] == 40


def test_packets_processed_wrong_give_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Engine.process

    def broken(self: Engine, packets: Packets, now: int = 0) -> Packets:
        return Packets.from_list([(port ^ 1, data) for port, data in process(self, packets, now)])

    monkeypatch.setattr(Engine, "process", broken)
    with pytest.raises(MidflightError, match="wrong way"):
        bench_engine(routes=10, lanes=1, workers=1, packets=10, runs=1)
