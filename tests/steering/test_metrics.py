"""Normalisation of raw readings to scores from 0 to 10, for each category and in total."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.errors import MidflightError
from midflight.runtime.steering import (
    C_NMA,
    C_SMA,
    Agent,
    Category,
    Gauge,
    Metric,
    MinMax,
    Path,
    combine,
    level2,
    path_readings,
)

IDLE = Gauge("idle", Category.COMPUTING, MinMax(worst=0, best=100))
MEMORY = Gauge("free_memory", Category.COMPUTING, MinMax(worst=0, best=32), weight=3)
UP = Gauge("up", Category.SERVICE, MinMax(worst=0, best=1), vital=True)
RATE = Gauge("requests_left", Category.SERVICE, MinMax(worst=0, best=1000))
DELAY = Gauge("delay", Category.COMMUNICATION, MinMax(worst=50, best=0))


def test_known_scores() -> None:
    assert IDLE.score(30) == 3
    assert DELAY.score(0) == 10
    assert DELAY.score(45) == 1
    assert [DELAY.score(51), DELAY.score(-1)] == [Fraction(0), Fraction(10)]
    agent = Agent(C_SMA, [IDLE, MEMORY, UP, RATE])
    report = agent.report("10.0.0.5", {"idle": 50, "free_memory": 8, "up": 1, "requests_left": 400}, at=7)
    # (1*5 + 3*2.5) / 4 = 3.125; (10 + 4) / 2 = 7
    assert report.metrics == {
        Category.COMPUTING: Metric("computing_comb", 1, 3),
        Category.SERVICE: Metric("service_comb", 1, 7),
    }
    assert report.at == 7


def test_half_a_point_is_rounded_up() -> None:
    agent = Agent(C_NMA, [DELAY])
    values = [agent.report("p", {"delay": each}, 0).metrics[Category.COMMUNICATION].value for each in (47.5, 47.6)]
    assert values == [1, 0]


def test_an_instance_that_is_down_scores_0() -> None:
    report = Agent(C_SMA, [IDLE, UP, RATE]).report("i", {"idle": 100, "up": 0, "requests_left": 1000}, 0)
    assert {each.kind: each.value for each in report.metrics.values()} == {"computing_comb": 10, "service_comb": 0}


def test_the_representation_is_one_octet_without_unit() -> None:
    assert level2([Metric(Category.COMPUTING, 1, 6), Metric(Category.COMMUNICATION, 1, 9)], {}).fields() == {
        "Metric_Type": "norm_fi",
        "Level": 2,
        "Format": "unsigned integer",
        "Length": 1,
        "Source": "normalization",
        "Value": 8,
    }


def test_weights_shift_the_balance() -> None:
    metrics = [Metric(Category.COMPUTING, 1, 2), Metric(Category.COMMUNICATION, 1, 10)]
    assert combine(metrics, {}) == 6
    assert combine(metrics, {Category.COMPUTING: 3}) == 4
    assert combine(metrics, {Category.COMPUTING: 1, Category.COMMUNICATION: 0}) == 2


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_a_better_reading_never_scores_worse(worst: float, best: float, one: float, other: float) -> None:
    if worst == best:
        return
    gauge = Gauge("g", Category.COMPUTING, MinMax(worst, best))
    low, high = sorted((one, other), reverse=best < worst)
    assert 0 <= gauge.score(low) <= gauge.score(high) <= 10
    assert (gauge.score(worst), gauge.score(best)) == (Fraction(0), Fraction(10))


def test_a_path_has_the_utilisation_of_its_fullest_link_and_the_loss_of_all() -> None:
    links = {("s1", "s2"): {"utilisation": 0.5, "loss": 0.5}, ("s2", "h1"): {"utilisation": 0.25, "loss": 0.5}}
    assert path_readings(Path(("s1", "s2", "h1"), 12), links) == {
        "delay": 12,
        "length": 2,
        "utilisation": 0.5,
        "loss": 0.75,
    }
    assert path_readings(Path(("s1",), 0), {})["loss"] == 0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Gauge("g", Category.SERVICE, MinMax(3, 3)), "worst and best are both 3"),
        (lambda: Gauge("g", Category.SERVICE, MinMax(0, 3), weight=0), "weight 0"),
        (lambda: Agent(C_NMA, [IDLE]), "gauge idle is of category computing_comb"),
        (lambda: Agent(C_SMA, [IDLE]).report("10.0.0.5", {"up": 1}, 0), "10.0.0.5 has no reading of idle"),
        (lambda: combine([], {}), "no metric"),
    ],
)
def test_mistakes_are_named(build: object, message: str) -> None:
    assert callable(build)
    with pytest.raises(MidflightError, match=message):
        build()
