"""Compute-aware forwarding: metrics, the choice of instance and path, routes, and offload to a switch."""

from midflight.runtime.steering.controls import Controls
from midflight.runtime.steering.graph import Graph, Hop, Host, IPAddress, Link, Path, Switch
from midflight.runtime.steering.metrics import (
    C_NMA,
    C_SMA,
    Agent,
    Category,
    Gauge,
    Metric,
    MinMax,
    Report,
    combine,
    level2,
    path_readings,
)
from midflight.runtime.steering.offload import Offload
from midflight.runtime.steering.routes import Member, Route, along, members, port_to, routes, tree
from midflight.runtime.steering.select import Candidate, Choice, Policy, Ranked, candidates, select
from midflight.runtime.steering.standing import Admission, Child, Sender, Standing

__all__ = [
    "C_NMA",
    "C_SMA",
    "Admission",
    "Agent",
    "Candidate",
    "Category",
    "Child",
    "Choice",
    "Controls",
    "Gauge",
    "Graph",
    "Hop",
    "Host",
    "IPAddress",
    "Link",
    "Member",
    "Metric",
    "MinMax",
    "Offload",
    "Path",
    "Policy",
    "Ranked",
    "Report",
    "Route",
    "Sender",
    "Standing",
    "Switch",
    "along",
    "candidates",
    "combine",
    "level2",
    "members",
    "path_readings",
    "port_to",
    "routes",
    "select",
    "tree",
]
