"""Requests per second of applications: from two samples of counters, and in the status of a running controller."""

from __future__ import annotations

from midflight.runtime.controller.observe.metrics import Reading, SwitchReading
from midflight.runtime.controller.observe.rates import Rates


def reading(**counts: int) -> Reading:
    """Return a sample in which `hot` received these numbers of requests at switches, all at one port."""
    return Reading(1, {name: SwitchReading(True, 1, packets={("hot", "1"): count}) for name, count in counts.items()})


def test_rates_are_those_between_two_samples_of_at_least_a_second() -> None:
    now, samples = [0.0], [reading(s1=100, s2=7)]
    rates = Rates(lambda: samples[-1], lambda: now[0])
    assert rates.latest() == {}
    samples.append(reading(s1=400, s2=7))
    now[0] = 0.9
    assert rates.latest() == {}, "too early for another sample"
    now[0] = 2.0
    assert rates.latest() == {("hot", "s1"): 150.0, ("hot", "s2"): 0.0}
    samples.append(reading(s1=500))
    now[0] = 2.5
    assert rates.latest() == {("hot", "s1"): 150.0, ("hot", "s2"): 0.0}, "the rates of the last interval"
    now[0] = 4.0
    assert rates.latest() == {("hot", "s1"): 50.0}, "s2 does not answer"


def test_a_counter_that_was_set_to_zero_has_no_rate_until_the_next_sample() -> None:
    now, samples = [0.0], [reading(s1=100)]
    rates = Rates(lambda: samples[-1], lambda: now[0])
    samples.append(reading(s1=5))
    now[0] = 1.0
    assert rates.latest() == {}
    samples.append(reading(s1=15))
    now[0] = 2.0
    assert rates.latest() == {("hot", "s1"): 10.0}


def test_ports_are_added_up() -> None:
    now, counts = [0.0], {("hot", "1"): 0, ("hot", "2"): 0}
    rates = Rates(lambda: Reading(1, {"s1": SwitchReading(True, 1, packets=dict(counts))}), lambda: now[0])
    counts.update({("hot", "1"): 3, ("hot", "2"): 4})
    now[0] = 1.0
    assert rates.latest() == {("hot", "s1"): 7.0}
