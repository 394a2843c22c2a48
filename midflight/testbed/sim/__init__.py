"""The simulated network: hosts, links and switches in virtual time. The same seed gives the same run, bit for bit."""

from midflight.testbed.sim.host import Host
from midflight.testbed.sim.link import ChannelStatistics
from midflight.testbed.sim.network import Network

__all__ = ["ChannelStatistics", "Host", "Network"]
