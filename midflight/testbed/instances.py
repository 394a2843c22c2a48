"""Where an application is computed: on which switch it fits, and whether that switch or the server is to do it.

A switch that can hold the application and the host that computes it in software are two instances of one service. Of
those that are there, the one is chosen whose compute and network together score best, as CATS has it.
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
    Policy,
    candidates,
    select,
)

__all__ = ["SERVER", "choose"]

SERVER = Capabilities(kind="server", packets_per_second=2e4)
"""What a host is taken for that runs kernels as plain Python."""

# How fast an instance takes packets: one that manages hundreds a second is no use, tens of thousands are plenty.
_COMPUTE = Agent(C_SMA, [Gauge("packets_per_second", Category.COMPUTING, worst=0, best=2e4)])
# What it costs to get there: nothing where the packets pass anyway; 1 ms, or ten links, are too much.
_NETWORK = Agent(
    C_NMA,
    [
        Gauge("delay", Category.COMMUNICATION, worst=1_000_000, best=0),
        Gauge("length", Category.COMMUNICATION, worst=10, best=0),
    ],
)
_PLENTY = 2e4  # of a device that does not tell


def choose(
    graph: Graph, ingress: str, sites: Mapping[str, Capabilities], policy: Policy | None = None, now: int = 0
) -> Choice:
    """Return the instance to use: `sites` are the nodes where one is, with what each can do.

    `ingress` is the switch that the workers' packets come to first. MidflightError where no instance is left.
    """
    reports = {}
    for name, sheet in sites.items():
        rate = _PLENTY if sheet.packets_per_second is None else sheet.packets_per_second
        reports[name] = _COMPUTE.report(name, {"packets_per_second": rate}, now)
    offered = candidates(graph, ingress, {name: name for name in sites}, reports, _NETWORK, paths=1, now=now)
    return select(offered, policy, now=now)
