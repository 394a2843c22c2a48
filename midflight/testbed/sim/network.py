"""A topology brought to life in virtual time."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address

from midflight.errors import MidflightError
from midflight.testbed.sim.host import Host
from midflight.testbed.sim.link import Channel, ChannelStatistics
from midflight.testbed.sim.simulator import Simulator
from midflight.testbed.sim.switch import Processor, Switch
from midflight.testbed.sim.topology import Topology

__all__ = ["GATEWAY_MAC", "Network"]

GATEWAY_MAC = 0x02_00_00_00_FF_FE
"""The MAC that hosts send to and switches answer from; there is no ARP, as everything is known beforehand."""

_FIRST_ADDRESS = int(IPv4Address("10.0.0.0"))
_FIRST_MAC = 0x02_00_00_00_00_00


class Network:
    """Simulated hosts, switches and links. Host n of the topology, from 1, has address 10.0.0.0 + n."""

    def __init__(self, topology: Topology, processors: Mapping[str, Processor], *, seed: int = 0) -> None:
        self.simulator = Simulator(seed)
        self.topology = topology
        self.hosts: dict[str, Host] = {
            name: Host(
                self.simulator,
                name,
                mac=_FIRST_MAC + number,
                address=IPv4Address(_FIRST_ADDRESS + number),
                gateway=GATEWAY_MAC,
            )
            for number, name in enumerate(topology.hosts, 1)
        }
        missing = set(topology.switches) - set(processors)
        if missing:
            raise MidflightError(f"nothing processes the packets of {', '.join(sorted(missing))}")
        self.switches: dict[str, Switch] = {
            name: Switch(self.simulator, name, processors[name]) for name in topology.switches
        }
        self.channels: dict[str, Channel] = {}
        nodes: dict[str, Host | Switch] = {**self.hosts, **self.switches}
        for cable in topology.cables:
            for near, far in ((cable.one, cable.other), (cable.other, cable.one)):
                name = f"{near.node}->{far.node}"
                if name in self.channels:
                    name = f"{near.node}:{near.number}->{far.node}:{far.number}"  # parallel links
                channel = Channel(self.simulator, name, cable.quality, nodes[far.node], far.number)
                nodes[near.node].attach(near.number, channel)
                self.channels[name] = channel

    def link(self, one: str, other: str) -> ChannelStatistics:
        """Return the statistics of the link between two nodes, both directions together."""
        return self.channels[f"{one}->{other}"].statistics + self.channels[f"{other}->{one}"].statistics

    def totals(self) -> ChannelStatistics:
        """Return the statistics of all links together."""
        return sum((each.statistics for each in self.channels.values()), ChannelStatistics())
