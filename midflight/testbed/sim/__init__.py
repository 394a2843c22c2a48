"""The simulated network: hosts, links and switches in virtual time, the same run for the same seed, bit for bit."""

from midflight.testbed.sim.host import Host
from midflight.testbed.sim.link import ChannelStatistics, LinkQuality
from midflight.testbed.sim.network import Network
from midflight.testbed.sim.topology import Cable, Port, Topology, star

__all__ = ["Cable", "ChannelStatistics", "Host", "LinkQuality", "Network", "Port", "Topology", "star"]
