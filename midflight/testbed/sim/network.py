"""A topology as a simulated network."""

from __future__ import annotations

from collections.abc import Mapping

from midflight.errors import MidflightError
from midflight.testbed.sim.host import Host
from midflight.testbed.sim.link import Channel, ChannelStatistics
from midflight.testbed.sim.simulator import Simulator
from midflight.testbed.sim.switch import Processor, Switch
from midflight.testbed.topology import Topology

__all__ = ["Network"]


class Network:
    """A topology as a simulated network: hosts, switches and links in virtual time.

    `processors` are the functions that process the packets of each switch, by name. `seed` determines the links' random
    choices. There is no ARP or neighbour discovery: hosts send to the MAC address of the node at the other end of their
    link. MidflightError if a switch of the topology has no processor.
    """

    def __init__(self, topology: Topology, processors: Mapping[str, Processor], *, seed: int = 0) -> None:
        self.simulator = Simulator(seed)
        self.topology = topology
        gateways = {near.node: far.node for link in topology.links for near, far in (link.ends, link.ends[::-1])}
        self.hosts: dict[str, Host] = {
            name: Host(
                self.simulator,
                name,
                mac=topology.mac(name),
                address=topology.address(name),
                gateway=topology.mac(gateways.get(name, name)),
            )
            for name in topology.hosts
        }
        missing = set(topology.switches) - set(processors)
        if missing:
            raise MidflightError(f"there is no processor for {', '.join(sorted(missing))}")
        self.switches: dict[str, Switch] = {
            name: Switch(self.simulator, name, processors[name]) for name in topology.switches
        }
        self.channels: dict[str, Channel] = {}
        nodes: dict[str, Host | Switch] = {**self.hosts, **self.switches}
        for link in topology.links:
            for near, far in (link.ends, link.ends[::-1]):
                name = f"{near.node}->{far.node}"
                if name in self.channels:
                    name = f"{near.node}:{near.number}->{far.node}:{far.number}"  # parallel links
                channel = Channel(self.simulator, name, link.quality, nodes[far.node], far.number)
                nodes[near.node].attach(near.number, channel)
                self.channels[name] = channel

    def link(self, one: str, other: str) -> ChannelStatistics:
        """Return the counters of the link between two nodes, summed over both directions. KeyError if there is no such
        link.
        """
        return self.channels[f"{one}->{other}"].statistics + self.channels[f"{other}->{one}"].statistics

    def totals(self) -> ChannelStatistics:
        """Return the counters summed over both directions of all links."""
        return sum((each.statistics for each in self.channels.values()), ChannelStatistics())
