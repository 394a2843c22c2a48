"""The choice between a switch and the server as the place that computes an application.

A switch with room for an application, and the host that computes it in software, are two instances of one service.
The instance whose compute and network metrics together score best is chosen, as in CATS (RFC 10053).
"""

from __future__ import annotations

from collections.abc import Mapping

from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.steering import (
    C_NMA,
    C_SMA,
    Agent,
    Category,
    Choice,
    Gauge,
    Graph,
    MinMax,
    Policy,
    candidates,
    select,
)

__all__ = ["SERVER", "choose"]

SERVER = Capabilities(kind="server", packets_per_second=2e4)
"""The capabilities that are assumed of a server, a host that runs kernels as plain Python: 20,000 packets a second."""

# The packet rate of an instance: 0 a second is the worst, 20000 are as good as any more.
_COMPUTE = Agent(C_SMA, [Gauge("packets_per_second", Category.COMPUTING, MinMax(worst=0, best=2e4))])
# The detour to an instance: none is best; 1 ms, or ten links, is the worst.
_NETWORK = Agent(
    C_NMA,
    [
        Gauge("delay", Category.COMMUNICATION, MinMax(worst=1_000_000, best=0)),
        Gauge("length", Category.COMMUNICATION, MinMax(worst=10, best=0)),
    ],
)
_PLENTY = 2e4  # assumed of a device whose sheet gives no rate


def choose(
    graph: Graph, ingress: str, sites: Mapping[str, Capabilities], policy: Policy | None = None, now: int = 0
) -> Choice:
    """Return the instance, a switch or server that can compute, whose compute and network metrics together score best.

    `sites` maps the nodes of the graph that can compute to their capabilities, of which the packet rate counts.
    `ingress` is the switch that the workers' packets reach first; the delay and number of links from there count.
    `policy` weighs and excludes instances; None is the default `Policy`. `now` is the time of the metrics in
    nanoseconds. MidflightError if no instance is reachable, or if `policy` excludes all that are.
    """
    reports = {}
    for name, sheet in sites.items():
        rate = _PLENTY if sheet.packets_per_second is None else sheet.packets_per_second
        reports[name] = _COMPUTE.report(name, {"packets_per_second": rate}, now)
    offered = candidates(graph, ingress, {name: name for name in sites}, reports, _NETWORK, paths=1, now=now)
    return select(offered, policy, now=now)
