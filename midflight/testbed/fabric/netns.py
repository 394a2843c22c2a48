"""Networks of real sockets: each node a network namespace, each link a veth pair, each program a process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType

from midflight.errors import MidflightError
from midflight.primitives import Program
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.devices.base import Device
from midflight.testbed.endpoint.reliable import Address, Timing
from midflight.testbed.fabric.base import Worker
from midflight.testbed.fabric.namespaces import command, inside, mac, offloads_off, set_options
from midflight.testbed.fabric.processes import HostProcess, ProcessCrew, run_inside
from midflight.testbed.fabric.runs import Run
from midflight.testbed.host.control import Serve, StartServer
from midflight.testbed.sim.link import ChannelStatistics
from midflight.testbed.topology import Topology

__all__ = ["NetnsFabric", "NetnsHost"]

_GATEWAY = "10.255.255.254"  # no host's: the way out is a MAC, and Linux wants an address in front of it
_OPTIONS = {
    # Nothing but what our programs send: no neighbour discovery.
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
    # The way back may be another than the way there.
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    # Ping is everybody's.
    "ipv4/ping_group_range": "0 2147483647",
}

# A round trip takes some 100 us through the embedded switch and some ms through a busy BMv2, and the machine may have
# less processors than the network has nodes.
_TIMING = Timing(initial=200_000_000, minimum=20_000_000, maximum=1_000_000_000, patience=30_000_000_000)


@dataclass(frozen=True, slots=True)
class NetnsHost:
    """A host: a network namespace with one network card, eth0."""

    name: str
    mac: int
    address: IPv4Address
    netns: str

    def run(self, arguments: Sequence[str], *, timeout: float = 60.0, check: bool = True) -> str:
        """Run a command in the host's namespace and return what it prints, errors included.

        DeviceError where it does not run, is not done within `timeout` seconds, or, unless told not to `check`, ends
        with another status than 0.
        """
        return run_inside(self.name, self.netns, arguments, timeout, check)


class NetnsFabric:
    """A topology of network namespaces (a `Fabric`). Takes root.

    `device` opens a switch's device, given its name, its namespace and its interfaces by port number. Everything made
    carries the run's id, in `run.id`, and goes when this is closed, when this process ends, or when it is killed.
    """

    def __init__(
        self, topology: Topology, device: Callable[[str, str, Mapping[int, str]], Device], *, timing: Timing = _TIMING
    ) -> None:
        self.topology = topology
        self._timing = timing
        self._servers: dict[str, HostProcess] = {}
        with ExitStack() as stack:
            self.run = Run([*topology.hosts, *topology.switches])
            stack.callback(self.run.close)
            self._netns = self.run.namespaces
            self._make()
            self.hosts = {
                name: NetnsHost(name, topology.mac(name), topology.address(name), self._netns[name])
                for name in topology.hosts
            }
            self.devices: dict[str, Device] = {}
            for name in topology.switches:
                ports = {port: f"eth{port}" for port in topology.ports(name)}
                self.devices[name] = stack.enter_context(device(name, self._netns[name], ports))
            self._stack = stack.pop_all()

    @property
    def now(self) -> int:
        """The system's monotonic time in nanoseconds."""
        return time.monotonic_ns()

    def crew(self, workers: Sequence[Worker]) -> ProcessCrew:
        """Start a process for each worker, in its host's namespace."""
        addresses = {name: str(host.address) for name, host in self.hosts.items()}
        crew = ProcessCrew(workers, addresses, self._netns, self.run.folder, self._timing)
        self._stack.callback(crew.close)
        return crew

    def serve(self, host: str, program: Program, application: str, members: Sequence[Address]) -> None:
        """Have a host compute for an application in software, in a process that is started with the first."""
        message = Serve.of(program, application, tuple(members))
        if host not in self._servers:
            task = StartServer(str(self.hosts[host].address), UDP_PORT, program.schema())
            process = HostProcess(host, self._netns[host], task, self.run.folder / f"{host}-server.log")
            self._stack.callback(process.close)
            process.ready()
            self._servers[host] = process
        self._servers[host].tell(message)
        self._servers[host].ready()

    def statistics(self, one: str, other: str) -> ChannelStatistics:
        """Return what has gone from a node to its neighbour, by the kernel's own counters."""
        for number, (far, _) in self.topology.ports(one).items():
            if far.node == other:
                packets, size = self._counters(one, number)[2:]
                delivered = self._counters(other, far.number)[0]
                return ChannelStatistics(packets=packets, bytes=size, delivered=delivered)
        raise MidflightError(f"no link leads from {one} to {other}")

    def settle(self) -> None:
        """Do nothing: what is under way arrives by itself, and who it is for is not ours to tell."""

    def trace_hash(self) -> str:
        """Return nothing: real time never runs the same twice."""
        return ""

    def close(self) -> None:
        """Take everything down. May be called more than once."""
        self._stack.close()

    def __enter__(self) -> NetnsFabric:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make(self) -> None:
        topology, netns = self.topology, self._netns
        lines = [f"netns add {each}" for each in netns.values()]
        for link in topology.links:
            one, other = (
                f"eth{end.number} address {mac(topology.mac(end.node))} netns {netns[end.node]}" for end in link.ends
            )
            lines.append(f"link add name {one} type veth peer name {other}")
        command(lines)
        for node, name in netns.items():
            interfaces = [f"eth{number}" for number in topology.ports(node)]

            def prepare(interfaces: list[str] = interfaces) -> None:
                set_options(_OPTIONS)
                offloads_off(interfaces)

            inside(name, prepare)
            lines = [f"link set {each} up" for each in ("lo", *interfaces)]
            if node in topology.hosts and interfaces:
                lines += [
                    f"address add {topology.address(node)}/32 dev eth0",
                    f"neighbour add {_GATEWAY} lladdr {mac(topology.gateway(node))} dev eth0 nud permanent",
                    f"route add default via {_GATEWAY} dev eth0 onlink",
                ]
            command(lines, netns=name)

    def _counters(self, node: str, port: int) -> tuple[int, int, int, int]:
        """Return a port's packets and bytes received, and its packets and bytes sent."""
        interface = f"eth{port}"

        def read() -> tuple[int, int, int, int]:
            for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
                name, _, numbers = line.partition(":")
                if name.strip() == interface:
                    fields = [int(each) for each in numbers.split()]
                    return fields[1], fields[0], fields[9], fields[8]
            raise MidflightError(f"{node} has no interface {interface}")

        return inside(self._netns[node], read)
