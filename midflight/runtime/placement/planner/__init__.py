"""The planner: which device runs which step of an application, and by which paths the traffic goes."""

from midflight.runtime.placement.planner.costs import Costs
from midflight.runtime.placement.planner.model import Application, Device, Link, Network, Sink, Source, Step
from midflight.runtime.placement.planner.plan import Plan, moved, plan, without

__all__ = [
    "Application",
    "Costs",
    "Device",
    "Link",
    "Network",
    "Plan",
    "Sink",
    "Source",
    "Step",
    "moved",
    "plan",
    "without",
]
