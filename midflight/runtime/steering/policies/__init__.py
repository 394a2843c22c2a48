"""Decisions of compute-aware forwarding as pure functions: which instance serves a request, over which path.

The slow loop (`plan`) optimises weights over compute and network together, in a C-PS; `choose_weights` does so
for one forwarder, from the updates on a board. The fast loop (`pick`, `better`,
`expected_wait`) decides for each request. `baselines` are known policies to compare with. No function reads a clock or
a socket, so a controller, an ingress and a simulation use the same ones.
"""

from midflight.runtime.steering.policies.fastloop import better, cumulative, expected_wait, pick, wait_of, worth_moving
from midflight.runtime.steering.policies.optimum import Optimum, Problem, cost, optimise
from midflight.runtime.steering.policies.queueing import mean_wait, waiting
from midflight.runtime.steering.policies.selector import Described, Selection, choose_weights
from midflight.runtime.steering.policies.slowloop import Damping, Plan, plan, static_shares

__all__ = [
    "Damping",
    "Described",
    "Optimum",
    "Plan",
    "Problem",
    "Selection",
    "better",
    "choose_weights",
    "cost",
    "cumulative",
    "expected_wait",
    "mean_wait",
    "optimise",
    "pick",
    "plan",
    "static_shares",
    "wait_of",
    "waiting",
    "worth_moving",
]
