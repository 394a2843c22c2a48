"""The weights of a service's instances for a forwarder, from the updates that a C-PS has received."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from midflight.errors import MidflightError
from midflight.runtime.steering.agents.board import Entry, State
from midflight.runtime.steering.metrics.levels import Category
from midflight.runtime.steering.policies.optimum import Problem
from midflight.runtime.steering.policies.slowloop import Damping, Plan, plan, static_shares

__all__ = ["Described", "Selection", "choose_weights"]


@dataclass(frozen=True, slots=True)
class Described:
    """The static description of an instance, which needs no measurement.

    `delay` is the time to it and back in seconds, `servers` the requests that it serves at a time, `service` the mean
    service time in seconds, and `cv2` the squared coefficient of variation of it. MidflightError unless `servers` and
    `service` are positive and the others at least 0.
    """

    csci_id: str
    delay: float
    servers: float
    service: float
    cv2: float = 1.0

    def __post_init__(self) -> None:
        if self.delay < 0.0 or self.servers <= 0.0 or self.service <= 0.0 or self.cv2 < 0.0:
            raise MidflightError(
                f"instance {self.csci_id}: servers {self.servers} and service time {self.service} must be positive, and"
                f" delay {self.delay} and cv2 {self.cv2} at least 0"
            )


@dataclass(frozen=True, slots=True)
class Selection:
    """Weights by CSCI-ID, which sum to 1, and the state of the update that each one follows from.

    `plan` is passed to the next round. `static` says that no update could be trusted, so the descriptions decided.
    `available` is False if every instance says that it is not available; the weights then pretend that all are.
    """

    weights: Mapping[str, float]
    states: Mapping[str, State]
    plan: Plan | None
    static: bool
    available: bool = True


def choose_weights(
    instances: Sequence[Described],
    entries: Mapping[str, Entry],
    demand: float,
    now: int,
    previous: Selection | None = None,
    damping: Damping | None = None,
) -> Selection:
    """Return the weights of the instances for a demand in requests a second.

    `entries` has the latest update of each instance by CSCI-ID, as a board keeps it, and `now` is the board's time in
    nanoseconds. A fresh or stale update gives the service time, and the work of others: what exceeds the share of the
    demand that the previous weights sent there. An instance without one counts as described. One that says that it is
    not available, or whose service scores 0, and whose update is fresh, gets no weight, unless all instances are such.
    When no update is left, static weights hold. `previous` is the selection of the last round for the same instances.
    MidflightError if there are no instances, or if the optimum is not found; UnsupportedError if the extra `steer` is
    not installed and an update is left.
    """
    if not instances:
        raise MidflightError("there are no instances to choose from")
    names = [each.csci_id for each in instances]
    states = {name: entries[name].state(now) if name in entries else State.GONE for name in names}
    raw = [_raw(entries[name]) if states[name] != State.GONE else {} for name in names]
    there = [
        not (states[name] == State.FRESH and (each.get("service_available") == 0 or not _scored(entries[name])))
        for name, each in zip(names, raw, strict=True)
    ]
    available = any(there)
    there = there if available else [True] * len(names)
    kept = [number for number, good in enumerate(there) if good]
    service = np.array([_positive(raw[k].get("service_time"), instances[k].service) for k in kept])
    rates = np.array([raw[k].get("service_request_rate", 0.0) for k in kept])
    own = np.array([previous.weights.get(names[k], 0.0) if previous else 0.0 for k in kept]) * demand
    number = np.arange(len(kept))
    problem = Problem(
        demands=np.array([demand]),
        of=np.zeros(len(kept), dtype=np.int64),
        fixed=np.array([instances[k].delay for k in kept]) + service,
        use_option=number,
        use_queue=number,
        use_seconds=service,
        servers=np.array([instances[k].servers for k in kept]),
        copies=np.ones(len(kept)),
        cv2=np.array([instances[k].cv2 for k in kept]),
        background=np.maximum(0.0, rates - own) * service,
        tail=2.0,
    )
    made: Plan | None = None
    static = all(state == State.GONE for state in states.values()) or demand <= 0.0
    if static:
        shares = static_shares(problem)
    else:
        same = previous is not None and [*previous.weights] == [names[k] for k in kept]
        made = plan(problem, previous.plan if previous and same else None, damping or Damping())
        shares = made.shares
    weights = {names[k]: float(share) for k, share in zip(kept, shares, strict=True)}
    return Selection(weights, states, made, static, available)


def _raw(entry: Entry) -> dict[str, float]:
    return {each.kind: float(each.value) for each in entry.update.raw}


def _scored(entry: Entry) -> bool:
    """Return whether the service does not score 0, as it does if it is not available."""
    return entry.update.score(Category.SERVICE) != 0


def _positive(value: float | None, otherwise: float) -> float:
    return value if value is not None and value > 0.0 else otherwise
