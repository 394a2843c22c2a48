"""Networks of hosts and switches to run programs in, simulated in virtual time."""

from midflight.testbed.group import Group
from midflight.testbed.sim import Host
from midflight.testbed.star import Star
from midflight.testbed.topology import LinkQuality

__all__ = ["Group", "Host", "LinkQuality", "Star"]
