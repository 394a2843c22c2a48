"""The delay of an instance under load: Sakasegawa's approximation of the queue M/G/c."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["STEPS", "mean_wait", "segments", "waiting"]

STEPS = (0.0, 0.25, 0.45, 0.6, 0.7, 0.78, 0.84, 0.89, 0.93, 0.96, 0.98)
"""The utilisations between which `segments` is linear. Beyond the last, the last slope grows by `OVERLOAD`."""

OVERLOAD = 20.0
"""How much steeper than the last segment an overloaded queue is. Finite, so that there is always a solution."""


def waiting(servers: float, utilisation: float, cv2: float) -> float:
    """Return the mean number of requests that wait, of Poisson arrivals at `servers` servers that share one queue.

    `utilisation` is the share of the servers that is busy, at least 0; from 0.995 on the number no longer grows. `cv2`
    is the squared coefficient of variation of the service time: 0 is constant, 1 exponential. (H. Sakasegawa, "An
    approximation formula Lq = a rho^b / (1 - rho)", 1977.)
    """
    busy = min(max(utilisation, 0.0), 0.995)
    return (1.0 + cv2) / 2.0 * math.pow(busy, math.sqrt(2.0 * (servers + 1.0))) / (1.0 - busy)


def mean_wait(servers: float, utilisation: float, cv2: float, service: float) -> float:
    """Return the mean time that a request waits, by Little's law, in the unit of `service`, the mean service time.

    The other parameters are those of `waiting`. 0 if `utilisation` is 0 or less.
    """
    if utilisation <= 0.0:
        return 0.0
    return waiting(servers, utilisation, cv2) * service / (min(utilisation, 0.995) * servers)


def segments(servers: NDArray[np.float64], cv2: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the number of waiting requests as a convex, piecewise linear function of the busy servers.

    `servers` has the number of servers of each queue, and `cv2` the squared coefficient of variation of its service
    times; both have the shape (queues,). The results are the widths, in busy servers, and the slopes of the segments,
    of shape (queues, segments). The last segment is unbounded.
    """
    steps = np.array(STEPS)
    exponents = np.sqrt(2.0 * (servers + 1.0))[:, None]
    values = (1.0 + cv2)[:, None] / 2.0 * steps[None, :] ** exponents / (1.0 - steps)[None, :]
    widths = np.diff(steps)[None, :] * servers[:, None]
    # Rounding may make neighbouring slopes of a many-server queue decrease by a hair, which convexity forbids.
    slopes = np.maximum.accumulate(np.diff(values, axis=1) / widths, axis=1)
    last = np.maximum(slopes[:, -1:], 1.0) * OVERLOAD
    endless = np.full((len(servers), 1), np.inf)
    return np.concatenate([widths, endless], axis=1), np.concatenate([slopes, last], axis=1)
