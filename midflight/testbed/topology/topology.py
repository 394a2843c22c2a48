"""The description of a network: its nodes, their links, and the names and addresses of both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from midflight.errors import MidflightError
from midflight.runtime.steering import Graph, IPAddress
from midflight.runtime.steering import Host as GraphHost
from midflight.runtime.steering import Link as GraphLink
from midflight.runtime.steering import Switch as GraphSwitch
from midflight.runtime.steering.cabling import parse_end, plugged
from midflight.testbed.topology.clocks import SwitchClock
from midflight.testbed.topology.parts import Link, Port
from midflight.testbed.topology.picture import draw
from midflight.testbed.topology.quality import LinkQuality

if TYPE_CHECKING:
    from midflight.runtime.engine.queues import QueueOptions

__all__ = ["FIRST_ADDRESS", "Ends", "Topology", "is_host"]

FIRST_ADDRESS = int(IPv4Address("10.0.0.0"))
"""Host n, counted from 1, has this address plus n."""
FIRST_IPV6_ADDRESS = int(IPv6Address("64:ff9b:1::10.0.0.0"))
"""The same for IPv6, from the prefix for addresses that embed IPv4 addresses (RFC 8215), as programs translate them."""
_FIRST_HOST_MAC = 0x02_00_00_00_00_00
_FIRST_SWITCH_MAC = 0x02_00_00_01_00_00
_MOST_NODES = 65_000  # hosts, or switches: as many as their address ranges hold
_LEAST_IPV6_MTU = 1280
_LARGEST_PORT = 509  # BMv2's ports have 9 bits; 510 is the CPU port and 511 drops
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")

Ends = tuple[str, str] | tuple[str, str, LinkQuality]
"""A link in short form: its two ends as "h1" or, with a port number, "s1:3", and optionally its quality."""


@dataclass(frozen=True, slots=True)
class Topology:
    """Hosts, switches and the links between them. Immutable and always valid.

    `hosts` and `switches` are names: unique, up to 32 letters, digits, `-` and `_`, starting with a letter. A host has
    at most one link. Addresses follow from the order of the hosts: host n, counted from 1, has the IPv4 address
    10.0.0.0 + n. `ipv4` and `macs` list pairs of a host and another address; see `with_addresses`. `ipv6` lists pairs
    of a host and its IPv6 address, for hosts that have one instead; see `with_ipv6`. `queues` lists pairs of a
    switch and its queues between ingress and egress, and `clocks` pairs of a simulated switch and its clock; see
    `with_queues` and `with_clocks`. MidflightError if the parts do not form a valid topology.
    """

    hosts: tuple[str, ...]
    switches: tuple[str, ...]
    links: tuple[Link, ...]
    ipv6: tuple[tuple[str, IPv6Address], ...] = ()
    queues: tuple[tuple[str, QueueOptions], ...] = ()
    clocks: tuple[tuple[str, SwitchClock], ...] = ()
    ipv4: tuple[tuple[str, IPv4Address], ...] = ()
    macs: tuple[tuple[str, int], ...] = ()
    _hosts: Mapping[str, int] = field(init=False, repr=False, compare=False)
    _switches: Mapping[str, int] = field(init=False, repr=False, compare=False)

    _addresses: Mapping[str, IPAddress] = field(init=False, repr=False, compare=False)
    _macs: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names: set[str] = set()
        for name in (*self.hosts, *self.switches):
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise MidflightError(
                    f"a node cannot be called {name!r}",
                    hint="use up to 32 letters, digits, - and _, starting with a letter",
                )
            if name in names:
                raise MidflightError(f"two nodes of the topology have the same name, {name}")
            names.add(name)
        if max(len(self.hosts), len(self.switches)) > _MOST_NODES:
            raise MidflightError(f"a topology has at most {_MOST_NODES} hosts and as many switches")
        hosts = set(self.hosts)
        taken: set[Port] = set()
        for port in (end for link in self.links for end in link.ends):
            if port.node not in names:
                raise MidflightError(f"a link ends in {port.node}, which is not a node of the topology")
            if port.node in hosts and port.number != 0:
                raise MidflightError(f"host {port.node} has only port 0, not port {port.number}")
            if port.node not in hosts and not 0 <= port.number <= _LARGEST_PORT:
                raise MidflightError(f"{port.node} has no port {port.number}: a switch has ports 0 to {_LARGEST_PORT}")
            if port in taken:
                what = f"host {port.node}" if port.node in hosts else f"port {port.number} of {port.node}"
                raise MidflightError(f"two links end in {what}")
            taken.add(port)
        for link in self.links:
            if link.one.node == link.other.node:
                raise MidflightError(f"a link leads from {link.one.node} to itself")
        self._check_ipv6()
        for name, _ in (*self.queues, *self.clocks):
            if name not in self.switches:
                raise MidflightError(f"queues or a clock are set for {name}, but no switch has this name")
        self._check_addresses()
        object.__setattr__(self, "_addresses", {**dict(self.ipv4), **dict(self.ipv6)})
        object.__setattr__(self, "_macs", dict(self.macs))
        object.__setattr__(self, "_hosts", {name: number for number, name in enumerate(self.hosts, 1)})
        object.__setattr__(self, "_switches", {name: number for number, name in enumerate(self.switches, 1)})

    def _check_ipv6(self) -> None:
        owners: dict[IPv6Address, str] = {}
        for name, address in self.ipv6:
            if name not in self.hosts:
                raise MidflightError(f"an IPv6 address is set for {name}, but no host has this name")
            if address.is_multicast or address.is_loopback or address.is_unspecified or address.is_link_local:
                raise MidflightError(f"{address} cannot be the address of a host")
            if owners.setdefault(address, name) != name:
                raise MidflightError(f"hosts {owners[address]} and {name} have the same address")
        for link in self.links:
            if link.quality.mtu < _LEAST_IPV6_MTU and any(end.node in owners.values() for end in link.ends):
                raise MidflightError(
                    f"the link {link} carries {link.quality.mtu} bytes, but IPv6 needs {_LEAST_IPV6_MTU}"
                )

    def _check_addresses(self) -> None:
        for what, pairs in (("an IPv4 address", self.ipv4), ("a MAC address", self.macs)):
            owners: dict[object, str] = {}
            for name, address in pairs:
                if name not in self.hosts:
                    raise MidflightError(f"{what} is set for {name}, but no host has this name")
                if owners.setdefault(address, name) != name:
                    raise MidflightError(f"hosts {owners[address]} and {name} have the same address")

    @classmethod
    def of(cls, links: Iterable[Ends], *, hosts: Sequence[str] = (), switches: Sequence[str] = ()) -> Topology:
        """Return the topology with these links. Ports that are not given are numbered in the order of the links.

            Topology.of([("h1", "s1"), ("h2", "s1"), ("s1", "s2:7"), ("h3", "s2", LinkQuality(loss=0.01))])

        Nodes that are not listed in `hosts` or `switches` are taken from the links, in order: those called h and a
        number are hosts, the others are switches. Ports of a switch that are not given get the lowest numbers from 1
        that no link names. A link without a quality has the default `LinkQuality()`. MidflightError if the links do not
        form a valid topology.
        """
        given, qualities = [], []
        for each in links:
            given.append((each[0], each[1]))
            qualities.append(each[2] if len(each) == 3 else LinkQuality())
        known = {*hosts, *switches}
        found = dict.fromkeys(name for ends in given for name, _ in map(parse_end, ends) if name not in known)
        all_hosts = (*hosts, *filter(is_host, found))
        all_switches = (*switches, *(name for name in found if not is_host(name)))
        cables = zip(plugged(given, all_switches), qualities, strict=True)
        return cls(
            all_hosts, all_switches, tuple(Link(Port(*one), Port(*other), quality) for (one, other), quality in cables)
        )

    def with_ipv6(self, hosts: Iterable[str] | Mapping[str, str] | None = None) -> Topology:
        """Return a copy of the topology in which these hosts have IPv6 addresses instead of IPv4 addresses.

        `hosts` are names, or a mapping from names to addresses; None means all hosts. Host n gets 64:ff9b:1::10.0.0.0 +
        n if no address is given. Hosts not mentioned have IPv4 addresses. MidflightError if an address is invalid or
        given twice, if there is no such host, or if the MTU of its link is below 1280 bytes.
        """
        numbers = self._hosts
        given: dict[str, IPv6Address] = {}
        for name in self.hosts if hosts is None else hosts:
            if isinstance(hosts, Mapping):
                try:
                    given[name] = IPv6Address(hosts[name])
                except AddressValueError as error:
                    raise MidflightError(f"not an IPv6 address: {error}") from None
            else:
                given[name] = IPv6Address(FIRST_IPV6_ADDRESS + numbers.get(name, 0))
        return replace(self, ipv6=tuple(given.items()))

    def with_addresses(
        self, ipv4: Mapping[str, IPv4Address] | None = None, macs: Mapping[str, int] | None = None
    ) -> Topology:
        """Return a copy of the topology in which hosts have these addresses, by name; others keep the usual ones.

        MAC addresses are 48-bit integers. MidflightError if there is no such host, or if two have the same address.
        """
        return replace(self, ipv4=tuple((ipv4 or {}).items()), macs=tuple((macs or {}).items()))

    def with_queues(self, queues: QueueOptions | Mapping[str, QueueOptions]) -> Topology:
        """Return a copy of the topology in which switches have these queues between ingress and egress.

        `queues` are those of all switches, or a mapping from the names of switches to their queues; the other switches
        then have none. MidflightError if there is no such switch.
        """
        chosen = queues if isinstance(queues, Mapping) else dict.fromkeys(self.switches, queues)
        return replace(self, queues=tuple(chosen.items()))

    def with_clocks(self, clocks: Mapping[str, SwitchClock]) -> Topology:
        """Return a copy of the topology with these clocks of switches, by the switch's name, which simulations use.

        A switch that is not named shows the time since the start of the simulation. MidflightError if there is no such
        switch.
        """
        return replace(self, clocks=tuple(clocks.items()))

    def address(self, host: str) -> IPAddress:
        """Return the address of a host. MidflightError if there is no such host."""
        if host not in self._hosts:
            raise MidflightError(f"there is no host named {host}")
        return self._addresses.get(host) or IPv4Address(FIRST_ADDRESS + self._hosts[host])

    def mac(self, node: str) -> int:
        """Return the MAC address of a host or switch as a 48-bit integer. All ports of a switch share one.

        MidflightError if there is no such node.
        """
        if node in self._hosts:
            return self._macs.get(node, _FIRST_HOST_MAC + self._hosts[node])
        if node in self._switches:
            return _FIRST_SWITCH_MAC + self._switches[node]
        raise MidflightError(f"there is no host or switch named {node}")

    def gateway(self, host: str) -> int:
        """Return the MAC address that a host's frames are sent to, as a 48-bit integer: that of the node at the end of
        its link.

        MidflightError if the host has no link or does not exist.
        """
        for far, _ in self.ports(host).values():
            return self.mac(far.node)
        raise MidflightError(f"host {host} has no link")

    @property
    def mtu(self) -> int:
        """The size in bytes of the largest IP packet that every link carries; 1500 if there are no links."""
        return min((each.quality.mtu for each in self.links), default=1500)

    def ports(self, node: str) -> dict[int, tuple[Port, Link]]:
        """Return what a node's ports are connected to, by port number in ascending order: the far end's port, and the
        link.

        Empty if the node has no links or does not exist.
        """
        found = {}
        for link in self.links:
            for near, far in (link.ends, link.ends[::-1]):
                if near.node == node:
                    found[near.number] = far, link
        return dict(sorted(found.items()))

    def graph(self) -> Graph:
        """Return the topology as a `steering.Graph`, which routes are computed on. A link's cost is its delay in
        nanoseconds.
        """
        return Graph(
            tuple(GraphHost(name, self.mac(name), self.address(name)) for name in self.hosts),
            tuple(GraphSwitch(name, self.mac(name)) for name in self.switches),
            tuple(
                GraphLink(each.one.node, each.one.number, each.other.node, each.other.number, each.quality.delay)
                for each in self.links
            ),
        )

    def svg(self) -> str:
        """Return a picture of the topology as the text of an SVG file. The same topology gives the same picture."""
        addresses = {name: str(self.address(name)) for name in self.hosts}
        return draw(self.hosts, self.switches, self.links, addresses)


def is_host(name: str) -> bool:
    """Return whether a node of this name is a host if nothing else says what it is: whether the name is `h` and a
    number.
    """
    return re.fullmatch(r"h\d+", name) is not None
