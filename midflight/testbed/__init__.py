"""Networks of hosts and switches to run programs in, simulated in virtual time."""

from midflight.testbed.group import Group
from midflight.testbed.sim import Host, LinkQuality
from midflight.testbed.star import Star

__all__ = ["Group", "Host", "LinkQuality", "Star"]
