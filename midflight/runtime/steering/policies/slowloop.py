"""The slow loop: the shares of each demand that go to each option, round by round, without oscillation.

A C-PS runs `plan` every round, wherever it is: in a controller with the demands of all ingresses, or in an ingress with
its own demands and the load of others as background.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from midflight.errors import MidflightError
from midflight.runtime.steering.policies.optimum import Problem, cost, optimise, totals

__all__ = ["Damping", "Plan", "plan", "reserve", "static_shares"]

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Damping:
    """The damping of the slow loop.

    `step` is the part of the way from the old to the new shares that one round goes, above 0 and at most 1. The old
    shares stay if they cost at most (1 + `hysteresis`) times what the new ones would cost; `hysteresis` is 0 or more.
    An option can be a second choice of the fast loop only if it costs less than (1 + `tolerance`) times as much as the
    cheapest; `tolerance` is above 0. MidflightError if a value is out of these ranges.
    """

    step: float = 0.5
    hysteresis: float = 0.02
    tolerance: float = 0.25

    def __post_init__(self) -> None:
        if not 0.0 < self.step <= 1.0:
            raise MidflightError(f"a step of {self.step} is not above 0 and at most 1")
        if self.hysteresis < 0.0 or self.tolerance <= 0.0:
            raise MidflightError("the hysteresis must not be negative, and the tolerance must be positive")


@dataclass(frozen=True, slots=True)
class Plan:
    """The result of a round. `shares` has one number for each option; those of a demand sum to 1.

    `second` has the shares with which the fast loop draws its second choice. `waits` is how long a request waits by
    each option on average, and `tolls` how much longer it makes others wait, in seconds. `changed` says whether the
    shares are others than before.
    """

    shares: Numbers
    second: Numbers
    waits: Numbers
    tolls: Numbers
    changed: bool


def plan(problem: Problem, previous: Plan | None, damping: Damping) -> Plan:
    """Return the plan of this round: the new shares of all options, damped.

    `previous` is the plan of the last round for the same options, or None. The shares stay as they are if new ones
    would gain too little (`Damping.hysteresis`). MidflightError if a demand has no option, or if the optimum is not
    found; UnsupportedError if the extra `steer` is not installed.
    """
    best = optimise(problem)
    sent = totals(problem.of, best.rates, len(problem.demands))[problem.of]
    fallback = static_shares(problem)
    shares = np.where(sent > 0.0, best.rates / np.where(sent > 0.0, sent, 1.0), fallback)
    second = reserve(problem, best.marginal, damping.tolerance)
    waits, tolls = best.waits, best.marginal - problem.fixed - best.waits
    if previous is None:
        return Plan(shares, second, waits, tolls, True)
    second = previous.second + damping.step * (second - previous.second)
    waits = previous.waits + damping.step * (waits - previous.waits)
    tolls = previous.tolls + damping.step * (tolls - previous.tolls)
    if cost(problem, previous.shares) <= cost(problem, shares) * (1.0 + damping.hysteresis):
        return Plan(previous.shares, second, waits, tolls, False)
    return Plan(previous.shares + damping.step * (shares - previous.shares), second, waits, tolls, True)


def reserve(problem: Problem, marginal: Numbers, tolerance: float) -> Numbers:
    """Return shares for a second choice: by room in the queues, of options that cost little more than the cheapest.

    An option's share falls linearly to 0 where its marginal cost exceeds the demand's cheapest by `tolerance`.
    """
    cheapest = np.full(len(problem.demands), np.inf)
    np.minimum.at(cheapest, problem.of, marginal)
    excess = (marginal / cheapest[problem.of] - 1.0) / tolerance
    return _normalised(problem, np.maximum(1.0 - excess, 0.0) * _room(problem))


def static_shares(problem: Problem) -> Numbers:
    """Return shares that need no measurement: by the servers of each option, and less the farther it is.

    They hold when updates stop for long: no demand is ever left without an instance.
    """
    cheapest = np.full(len(problem.demands), np.inf)
    np.minimum.at(cheapest, problem.of, problem.fixed)
    return _normalised(problem, _room(problem) * (cheapest[problem.of] / problem.fixed) ** 2)


def _room(problem: Problem) -> Numbers:
    """Return the servers of the first queue that each option uses, its instances."""
    room = np.ones(len(problem.of))
    capacity = problem.servers * problem.copies
    room[problem.use_option[::-1]] = capacity[problem.use_queue[::-1]]
    return room


def _normalised(problem: Problem, weights: Numbers) -> Numbers:
    return weights / totals(problem.of, weights, len(problem.demands))[problem.of]
