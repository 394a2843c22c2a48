"""Scenarios of compute-aware forwarding, simulated under our policies, known ones and an oracle."""

from midflight.testbed.cluster import local_cluster
from midflight.testbed.steer.file import SCENARIOS, load_scenario, parse_scenario, shipped
from midflight.testbed.steer.page import page
from midflight.testbed.steer.scenario import Scenario
from midflight.testbed.steer.sweep import OURS, POLICIES, evaluate, report, sweep

__all__ = [
    "OURS",
    "POLICIES",
    "SCENARIOS",
    "Scenario",
    "evaluate",
    "load_scenario",
    "local_cluster",
    "page",
    "parse_scenario",
    "report",
    "shipped",
    "sweep",
]
