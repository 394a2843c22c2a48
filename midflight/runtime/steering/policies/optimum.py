"""The convex optimisation behind the slow loop: how much of each demand each instance serves, and over which links.

The mean number of requests in the network is minimised: on the way, in service, and waiting, at instances and links
alike. By Little's law this is the mean delay. Waiting is convex in the load (`queueing`), so the optimum is a linear
program over its segments, which HiGHS solves. Requests that no queue has room for go where they harm least: there is
always a solution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from midflight.errors import MidflightError, UnsupportedError
from midflight.runtime.steering.policies.queueing import segments

__all__ = ["Optimum", "Problem", "cost", "optimise", "totals"]

Numbers = NDArray[np.float64]
Indexes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Problem:
    """Demands, the options that each one has, and the queues that options use. Times are in seconds.

    `demands` has the rate of each demand in requests a second: those of one service at one ingress. Option `o` carries
    a part of demand `of[o]`, at `fixed[o]` seconds a request for the way there and back and the service, and any
    price that the operator adds, as for carbon. Use `u` says that each request of option `use_option[u]` occupies a
    server of queue `use_queue[u]` for `use_seconds[u]`. Queue `q` stands for `copies[q]` equal ones with `servers[q]`
    servers each, and a squared coefficient of variation of `cv2[q]`. Others keep `background[q]` of all these servers
    busy. `tail` weighs waiting against the rest: 1 minimises the mean delay, and more the high percentiles.
    """

    demands: Numbers
    of: Indexes
    fixed: Numbers
    use_option: Indexes
    use_queue: Indexes
    use_seconds: Numbers
    servers: Numbers
    copies: Numbers
    cv2: Numbers
    background: Numbers
    tail: float = 1.0


@dataclass(frozen=True, slots=True)
class Optimum:
    """The rate of each option in requests a second, and what one more request costs by it in seconds.

    The latter, `marginal`, is `Problem.fixed` with the waiting that the request would cause to all. `waits` is how long
    the request itself would wait on average. `value` is the cost of the whole, in requests.
    """

    rates: Numbers
    marginal: Numbers
    waits: Numbers
    value: float


def optimise(problem: Problem) -> Optimum:
    """Return the optimum of a problem: the rate of each option for which the weighted number of requests is the
    smallest.

    Without any demand, all rates are 0. MidflightError if a demand has no option, or if the solver fails;
    UnsupportedError if the extra `steer` is not installed, which has scipy.
    """
    try:
        from scipy.optimize import linprog
        from scipy.sparse import csr_array
    except ImportError:
        raise UnsupportedError("weights by demand need scipy", hint="pip install 'midflight[steer]'") from None

    options, demands, queues = len(problem.of), len(problem.demands), len(problem.servers)
    if options == 0 or np.bincount(problem.of, minlength=demands).min() == 0:
        raise MidflightError("a demand has no instance that could serve it")
    if not problem.demands.sum() > 0.0:
        return Optimum(np.zeros(options), problem.fixed.copy(), np.zeros(options), 0.0)
    widths, slopes = _room(problem)
    pieces = widths.shape[1]
    used = options + queues * pieces
    rows = np.concatenate([problem.of, demands + problem.use_queue, demands + np.repeat(np.arange(queues), pieces)])
    columns = np.concatenate([np.arange(options), problem.use_option, np.arange(options, used)])
    # The flow of an option is scaled by its demand's rate, so that the solver sees shares; queues count busy servers.
    rate = np.maximum(problem.demands, 1e-9)[problem.of]
    values = np.concatenate(
        [np.ones(options), problem.use_seconds * rate[problem.use_option], -np.ones(queues * pieces)]
    )
    solved = linprog(
        np.concatenate([problem.fixed * rate, problem.tail * slopes.ravel()]),
        A_eq=csr_array((values, (rows, columns)), shape=(demands + queues, used)),
        b_eq=np.concatenate([np.ones(demands), np.zeros(queues)]),
        bounds=np.column_stack([np.zeros(used), np.concatenate([np.full(options, np.inf), widths.ravel()])]),
        method="highs",
    )
    if solved.x is None:
        raise MidflightError(f"the optimum of the weights was not found: {solved.message}")
    prices = -np.asarray(solved.eqlin.marginals)[demands:]
    caused = totals(problem.use_option, problem.use_seconds * prices[problem.use_queue], options)
    rates = np.maximum(solved.x[:options], 0.0) * rate
    return Optimum(rates, problem.fixed + caused, _waits(problem, rates), float(solved.fun))


def cost(problem: Problem, shares: Numbers) -> float:
    """Return what the given shares of the demands cost: the weighted mean number of requests in the network.

    `shares` has one number for each option.
    """
    rates = shares * problem.demands[problem.of]
    widths, slopes = _room(problem)
    filled = np.clip(_busy(problem, rates)[:, None] - _starts(widths), 0.0, widths)
    return float((problem.fixed * rates).sum() + problem.tail * (filled * slopes).sum())


def totals(keys: Indexes, values: Numbers, count: int) -> Numbers:
    """Return the sums of the values with each key, from 0 up to but not including `count`."""
    return np.bincount(keys, values, minlength=count).astype(np.float64, copy=False)


def _waits(problem: Problem, rates: Numbers) -> Numbers:
    """Return the mean wait by each option at these rates: that of each queue on it by Little's law."""
    own = _busy(problem, rates)
    arrivals = totals(problem.use_queue, rates[problem.use_option], len(own))
    busy = own + problem.background
    widths, slopes = segments(problem.servers, problem.cv2)
    widths = widths * problem.copies[:, None]
    waiting = (np.clip(busy[:, None] - _starts(widths), 0.0, widths) * slopes).sum(axis=1)
    service = own / np.maximum(arrivals, 1e-12)
    each = np.where(busy > 0.0, waiting * service / np.maximum(busy, 1e-12), 0.0)
    return totals(problem.use_option, each[problem.use_queue], len(rates))


def _busy(problem: Problem, rates: Numbers) -> Numbers:
    return totals(problem.use_queue, problem.use_seconds * rates[problem.use_option], len(problem.servers))


def _room(problem: Problem) -> tuple[Numbers, Numbers]:
    """Return the widths and slopes of the segments of each queue, without the part that the background fills."""
    widths, slopes = segments(problem.servers, problem.cv2)
    widths = widths * problem.copies[:, None]
    return widths - np.clip(problem.background[:, None] - _starts(widths), 0.0, widths), slopes


def _starts(widths: Numbers) -> Numbers:
    return np.concatenate([np.zeros((len(widths), 1)), np.cumsum(widths[:, :-1], axis=1)], axis=1)
