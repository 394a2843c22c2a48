"""Normalisation and combination functions, measurement windows, registry entries and calibration."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.errors import MidflightError
from midflight.runtime.steering.metrics import (
    C_SMA,
    ENTRIES,
    KINDS,
    Agent,
    Band,
    Category,
    Gauge,
    Metric,
    MinMax,
    Normalisation,
    RawMetric,
    Sigmoid,
    Source,
    Statistics,
    Window,
    ZScore,
    agreement,
    best,
    calibrate,
    entry,
    level2,
    mean,
    raw,
    worst,
)

FALLING = [MinMax(worst=100, best=0), Sigmoid(50, 10, rising=False), ZScore(50, 10, rising=False)]
RISING = [MinMax(worst=0, best=100), Sigmoid(50, 10), ZScore(50, 10)]


@pytest.mark.parametrize("function", RISING)
@given(one=st.floats(-1e9, 1e9), other=st.floats(-1e9, 1e9))
def test_shares_rise_with_readings_between_0_and_1(function: Normalisation, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= function(low) <= function(high) <= 1


@pytest.mark.parametrize(("rising", "falling"), list(zip(RISING, FALLING, strict=True)))
def test_the_middle_scores_half_and_directions_mirror_each_other(rising: Normalisation, falling: Normalisation) -> None:
    assert rising(50) == falling(50) == Fraction(1, 2)
    assert float(rising(70)) == pytest.approx(1 - float(falling(70)))
    assert rising(70) > Fraction(1, 2)


def test_known_shares() -> None:
    assert float(Sigmoid(50, 10)(60)) == pytest.approx(0.7310585786)  # 1 / (1 + 1/e)
    assert Sigmoid(0, 1e-9)(1e9) == 1
    assert [ZScore(50, 10)(each) for each in (20, 19, 65)] == [0, 0, Fraction(3, 4)]


def test_a_gauge_takes_any_function_and_refuses_what_is_no_share() -> None:
    steps = Gauge("free", Category.COMPUTING, lambda reading: Fraction(int(reading > 4)))
    assert [steps.score(each) for each in (4, 5)] == [0, 10]
    wild = Gauge("free", Category.COMPUTING, lambda reading: Fraction(reading))
    with pytest.raises(MidflightError, match="gauge free: 4 is normalised to 4"):
        wild.score(4)


def test_combinations_of_gauges_and_categories() -> None:
    gauges = [Gauge("a", Category.COMPUTING, MinMax(0, 10), weight=3), Gauge("b", Category.COMPUTING, MinMax(0, 10))]
    readings = {"a": 2, "b": 8}
    scores = [
        Agent(C_SMA, gauges, *how).scores("i", readings)[Category.COMPUTING] for how in ((), (mean,), (worst,), (best,))
    ]
    assert scores == [Fraction(7, 2), 5, 2, 8]
    levels = [Metric(Category.COMPUTING, 1, 2), Metric(Category.COMMUNICATION, 1, 9), Metric(Category.SERVICE, 1, 4)]
    assert [level2(levels, {}, how).value for how in (mean, worst, best)] == [5, 2, 9]
    assert level2(levels, {Category.COMPUTING: 0}, worst).value == 4, "a weight of 0 leaves a category out"


def test_bands() -> None:
    assert [Metric("norm_fi", 2, each).band for each in (0, 3, 4, 7, 8, 10)] == [
        *(Band.LOW,) * 2,
        *(Band.MEDIUM,) * 2,
        *(Band.HIGH,) * 2,
    ]
    for value in (-1, 11):
        with pytest.raises(MidflightError, match="not an integer from 0 to 10"):
            Metric("norm_fi", 2, value)


def test_the_statistics_of_a_window_forget_old_samples() -> None:
    window = Window("service_time", length=10)
    for now, value in ((0, 9.0), (5, 1.0), (8, 4.0)):
        window.add(value, now)
    found = {each: metric.value for each in Statistics if (metric := window.metric(each, 8))}
    assert found == {Statistics.MAX: 9, Statistics.MIN: 1, Statistics.MEAN: 14 / 3, Statistics.CURRENT: 4}
    assert window.count(10) == 3, "a sample as old as the window is in it"
    later = window.metric(Statistics.MAX, 11)
    assert later == RawMetric("service_time", 4, "second", Source.MEASURED, Statistics.MAX)
    assert window.metric(Statistics.MAX, 19) is None


def test_raw_metrics_have_the_fields_of_the_draft() -> None:
    assert raw("compute_cpu_cores", 8).fields() == {
        "Metric_Type": "compute_cpu_cores",
        "Level": 0,
        "Format": "int",
        "Length": 8,
        "Unit": "none",
        "Source": "nominal",
        "Statistics": "cur",
        "Value": 8,
    }
    assert raw("network_delay", 0.25).fields()["Format_std"] == "ieee_754"
    assert {each.category for each in KINDS.values()} == set(Category) - {Category.COMPOSED}
    with pytest.raises(MidflightError, match="nan"):
        raw("network_delay", float("nan"))
    with pytest.raises(MidflightError, match="is not a finite number"):
        raw("network_queue", 10**400)


@pytest.mark.parametrize("reading", [float("nan"), float("inf"), 10**400])
def test_a_reading_that_is_not_finite_has_no_score(reading: float) -> None:
    agent = Agent(C_SMA, [Gauge("idle", Category.COMPUTING, MinMax(worst=0, best=1))])
    with pytest.raises(MidflightError, match=r"gauge idle: the reading .* is not a finite number"):
        agent.report("edge", {"idle": reading}, 0)


def test_only_scores_of_level_1_are_combined() -> None:
    with pytest.raises(MidflightError, match="norm_fi is not a score of level 1"):
        level2([Metric("norm_fi", 2, 5)], {})


def test_every_score_is_registered_with_its_window_and_tolerance() -> None:
    assert set(ENTRIES) == {*(each.value for each in Category), "norm_fi"}
    found = entry("norm_fi")
    assert (found.level, found.lowest, found.highest, found.tolerance) == (2, 0, 10, Fraction(1, 10))
    assert found.measurement_window == 10 * 10**9
    with pytest.raises(MidflightError, match="delay_norm is not a registered score"):
        entry("delay_norm")


def test_calibrated_sites_agree_within_a_tenth() -> None:
    """A site twice as slow, with a constant overhead and a little noise, before and after calibration."""
    loads = [0.1 * each for each in range(1, 10)]
    reference = [10 + 80 * load for load in loads]
    noise = [0.2, -0.1, 0.3, -0.3, 0.1, -0.2, 0.0, 0.2, -0.2]
    slow = [2 * value + 7 + each for value, each in zip(reference, noise, strict=True)]
    gauge = Gauge("time", Category.SERVICE, MinMax(worst=100, best=0))

    def scores(agent: Agent, readings: list[float]) -> list[Fraction]:
        return [agent.scores("i", {"time": each})[Category.SERVICE] for each in readings]

    expected = scores(Agent(C_SMA, [gauge]), reference)
    before = agreement(scores(Agent(C_SMA, [gauge]), slow), expected)
    correction = calibrate(slow[::2], reference[::2])
    after = agreement(scores(Agent(C_SMA, [gauge], calibrations={"time": correction}), slow), expected)
    assert not before.holds
    assert before.deviation > 2
    assert after.holds
    assert after.deviation < 0.1


def test_one_abnormal_round_in_ten_is_allowed_and_two_are_not() -> None:
    ones = [Fraction(5)] * 10
    assert agreement([Fraction(7), *ones[1:]], ones).holds
    assert not agreement([Fraction(7), Fraction(7), *ones[2:]], ones).holds


def test_calibration_needs_rounds_that_show_the_load() -> None:
    with pytest.raises(MidflightError, match="2 readings cannot be calibrated by 2"):
        calibrate([1, 2], [1, 2])
    with pytest.raises(MidflightError, match="all 3 readings are 4"):
        calibrate([4, 4, 4], [1, 2, 3])
