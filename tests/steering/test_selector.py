"""The weights that a C-PS chooses from the updates on its board."""

from __future__ import annotations

import pytest

from midflight.errors import MidflightError
from midflight.runtime.steering.agents.board import Board, Entry, State
from midflight.runtime.steering.metrics.levels import RawMetric
from midflight.runtime.steering.metrics.update import Update
from midflight.runtime.steering.policies import Described, choose_weights

SECOND = 10**9
NEAR, FAR = Described("near", 0.001, 4, 0.01), Described("far", 0.005, 4, 0.01)


def board(now: int = 0, **raw: dict[str, float]) -> dict[str, Entry]:
    """Return the entries of a board that has received an update of each of these instances at a time."""
    made = Board()
    for name, values in raw.items():
        metrics = tuple(RawMetric(kind, value) for kind, value in values.items())
        assert made.accept(Update("vision", name, 1, now, SECOND, (), metrics), now)
    return {name: entry for name in raw if (entry := made.entry("vision", name))}


def test_demand_spreads_by_delay_and_load() -> None:
    entries = board(near={"service_time": 0.01}, far={"service_time": 0.01})
    light, heavy = (choose_weights([NEAR, FAR], entries, demand, 0) for demand in (50.0, 600.0))
    assert light.weights == pytest.approx({"near": 1.0, "far": 0.0})
    assert 0.4 < heavy.weights["far"] < 0.5
    assert not heavy.static


def test_a_slow_instance_and_one_that_others_use_get_less() -> None:
    usual = choose_weights([NEAR, FAR], board(near={"service_time": 0.01}), 400.0, 0).weights["near"]
    slow = choose_weights([NEAR, FAR], board(near={"service_time": 0.02}), 400.0, 0).weights["near"]
    used = {"service_time": 0.01, "service_request_rate": 250.0}
    busy = choose_weights([NEAR, FAR], board(near=used), 400.0, 0)
    assert slow < 0.7 * usual
    assert busy.weights["near"] < 0.7 * usual
    # What the C-PS itself sends is not the work of others.
    own = {"service_time": 0.01, "service_request_rate": 400.0 * usual}
    first = choose_weights([NEAR, FAR], board(near={"service_time": 0.01}), 400.0, 0)
    assert choose_weights([NEAR, FAR], board(near=own), 400.0, 0, first).weights == first.weights


def test_an_instance_that_says_it_is_down_gets_nothing_while_another_is_left() -> None:
    down = {"service_available": 0.0}
    one = choose_weights([NEAR, FAR], board(near=down, far={"service_available": 1.0}), 100.0, 0)
    assert one.weights == {"far": 1.0}
    both = choose_weights([NEAR, FAR], board(near=down, far=down), 100.0, 0)
    assert sum(both.weights.values()) == pytest.approx(1.0), "never no instance"


def test_when_updates_stop_the_last_good_ones_hold_and_then_static_weights() -> None:
    entries = board(near={"service_time": 0.03}, far={"service_time": 0.01})
    fresh, stale, gone = (choose_weights([NEAR, FAR], entries, 400.0, at * SECOND) for at in (0, 2, 4))
    assert [each.states["near"] for each in (fresh, stale, gone)] == [State.FRESH, State.STALE, State.GONE]
    assert stale.weights == fresh.weights
    assert gone.static
    assert gone.weights["near"] > gone.weights["far"] > 0.0


def test_mistakes() -> None:
    with pytest.raises(MidflightError, match="no instances"):
        choose_weights([], {}, 1.0, 0)
    with pytest.raises(MidflightError, match="must be positive"):
        Described("x", 0.0, 0, 1.0)
