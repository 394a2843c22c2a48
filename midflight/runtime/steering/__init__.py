"""Compute-aware forwarding: which instance and path, which routes, and what is computed on the way."""

from midflight.runtime.steering.graph import Graph, Hop, Host, Link, Path, Switch
from midflight.runtime.steering.offload import Admission, Controls, Offload
from midflight.runtime.steering.routes import Member, Route, members, routes, tree

__all__ = [
    "Admission",
    "Controls",
    "Graph",
    "Hop",
    "Host",
    "Link",
    "Member",
    "Offload",
    "Path",
    "Route",
    "Switch",
    "members",
    "routes",
    "tree",
]
