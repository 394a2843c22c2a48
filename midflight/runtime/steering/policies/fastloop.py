"""The fast loop: for each request, the better of two weighted candidates by loads that replies carry.

A forwarder keeps a few numbers for each instance. Two describe the last reply: the load that it carried, plus one for
each request sent there since, and the time of that load's measurement. Another counts its own outstanding requests.
An old load says little. So the wait that follows from it is blended with the wait that the slow loop expects, corrected
by the forwarder's own outstanding requests; the share of the carried load halves with every half-life.

A candidate costs the time of a request without waiting, the price of its carbon if there is one, its expected wait and
its toll, which is how much longer the slow loop expects a request to make others wait. At the slow loop's optimum, this
sum is the same by all options in use. So without fresh loads no option is preferred to another, and the weights decide:
forwarders do not all choose the same instance.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

__all__ = ["better", "cumulative", "expected_wait", "pick", "wait_of", "worth_moving"]


def wait_of(load: float, servers: int, service: float) -> float:
    """Return how long a request waits at an instance, in the unit of `service`, the mean service time of a request.

    `load` is the number of other requests there, waiting or in service, and `servers` how many it serves at a time.
    """
    return max(0.0, load - servers + 1.0) * service / servers


def expected_wait(recent: float, steady: float, excess: float, age: float, half_life: float) -> float:
    """Return the expected wait at an instance.

    `recent` is the wait that follows from the last carried load, which was measured `age` ago. `steady` is the wait
    that the slow loop expects (`Plan.waits`). `excess` is the time that the instance needs for the outstanding requests
    of this forwarder beyond the expected number, and negative for fewer. The first three are in one unit, and so are
    the last two.
    """
    trust: float = 0.5 ** (age / half_life)
    return trust * recent + (1.0 - trust) * max(0.0, steady + excess)


def cumulative(weights: Sequence[float]) -> list[float]:
    """Return the running sums of weights, scaled so that the last one is 1. ValueError if none is positive."""
    total = float(sum(weights))
    if not total > 0.0:
        raise ValueError("no weight is positive")
    sums, running = [], 0.0
    for each in weights:
        running += each
        sums.append(running / total)
    last = max(index for index, each in enumerate(weights) if each > 0.0)
    sums[last:] = [1.0] * (len(sums) - last)
    return sums


def pick(sums: Sequence[float], draw: float) -> int:
    """Draw an index: each weight's index with the probability of its share. `sums` is a result of `cumulative`.

    `draw` is a random number from 0 up to but not including 1.
    """
    return bisect_right(sums, draw)


def better(first: int, second: int, first_cost: float, second_cost: float) -> int:
    """Return the cheaper of two candidates, given by number; the first if they cost the same."""
    return second if second_cost < first_cost else first


def worth_moving(stay: float, move: float, objective: float) -> bool:
    """Return whether a session moves to another instance together with its state.

    Affinity is the rule (R16 of RFC 10054). A session only moves if `stay`, the time to the reply without a move, is at
    least 0.8 times the service level `objective`, and `move`, that at the other instance, is at most 0.7 times `stay`.
    All are in one unit.
    """
    return stay >= 0.8 * objective and move <= 0.7 * stay
