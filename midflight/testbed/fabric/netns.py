"""Networks of real sockets: each node a network namespace, each link a veth pair, each program a process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from midflight.errors import MidflightError
from midflight.primitives import Program
from midflight.primitives.kernel.map import Entry
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.devices.base import Device
from midflight.runtime.devices.switchprocess import SwitchProcess
from midflight.runtime.endpoint import Endpoint
from midflight.runtime.endpoint.reliable import Address, Timing
from midflight.runtime.endpoint.udp import UdpSocket, drive
from midflight.runtime.endpoint.worker import Worker
from midflight.runtime.engine.ports.namespace import within
from midflight.runtime.steering import IPAddress
from midflight.testbed.fabric.base import Schedule
from midflight.testbed.fabric.cards import NetnsCard, offset, play
from midflight.testbed.fabric.fences import Fences
from midflight.testbed.fabric.namespaces import command, mac, offloads_off, set_options
from midflight.testbed.fabric.processcrew import ProcessCrew
from midflight.testbed.fabric.processes import HostProcess, run_inside
from midflight.testbed.fabric.relay import AskStatistics, Impair, Relayed, StartRelay, Statistics, Tap, packet_socket
from midflight.testbed.fabric.runs import Run
from midflight.testbed.host.control import Adopt, Serve, StartServer, StartWorker, Write
from midflight.testbed.sim.link import ChannelStatistics
from midflight.testbed.topology import Link, LinkQuality, Port, Topology

__all__ = ["NetnsFabric", "NetnsHost"]

Opener = Callable[[str, str, Mapping[int, str], Path], Device]

_AT_ONCE = 8  # devices that are started at a time
_GATEWAY = {4: "10.255.255.254", 6: "fe80::1"}  # no host's: the way out is a MAC, and Linux wants an address before it
_BETWEEN = "-links"  # the namespace of the ends of links that are ours; no node has such a name
_ANSWER = 30.0  # seconds that our links are given to tell their statistics
_IPV6_OPTIONS = {
    "ipv6/conf/all/disable_ipv6": "0",
    "ipv6/conf/default/disable_ipv6": "0",
    "ipv6/conf/eth0/addr_gen_mode": "1",  # no link-local address
    "ipv6/conf/eth0/accept_ra": "0",
}
"""Of hosts that have IPv6, which still do not look for neighbours, as their network cards are said to need none."""
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
_TIMING = Timing(initial=200_000_000, minimum=20_000_000, maximum=500_000_000, patience=30_000_000_000)


@dataclass(frozen=True, slots=True)
class NetnsHost:
    """A host: a network namespace with one network card, eth0."""

    name: str
    mac: int
    address: IPAddress
    netns: str

    def run(self, arguments: Sequence[str], *, timeout: float = 60.0, check: bool = True) -> str:
        """Run a command in the host's namespace and return what it prints; see `Host.run`."""
        return run_inside(self.name, self.netns, arguments, timeout, check)


class NetnsFabric:
    """A topology of network namespaces (a `Fabric`). Takes root.

    `device` opens a switch's device, given its name, its namespace, its interfaces by port number and
    a folder for its files. Everything made
    carries the run's id, in `run.id`, and goes when this is closed, when this process ends, or when it is killed.

    A link is a veth pair, and nothing worse, unless it loses, duplicates or reorders, has a rate below 10 Gb/s or a
    delay above 50 us. Then a process of ours is between its two ends, with luck from `seed`; frames that it reorders
    are late by up to 2 ms at least, or nothing would overtake them. `pcap` is a folder to keep every link's frames in,
    as they pass its first end: h1-s1.pcap. What is `owned` is closed last.
    """

    def __init__(
        self,
        topology: Topology,
        device: Opener,
        *,
        seed: int = 0,
        pcap: Path | None = None,
        timing: Timing = _TIMING,
        owned: Iterable[AbstractContextManager[object]] = (),
    ) -> None:
        self.topology = topology
        self.timing = timing
        self._sockets: dict[tuple[str, int], UdpSocket] = {}  # of what `listen` has put on hosts
        self._servers: dict[str, HostProcess] = {}
        self._cards: dict[str, NetnsCard] = {}
        self._offset = offset()
        self._fences: Fences | None = None
        self._late = _lateness(topology.links)
        with ExitStack() as stack:
            for each in owned:
                stack.enter_context(each)
            relayed = [link for link in topology.links if _worse(link.quality)]
            self.run = Run([*topology.hosts, *topology.switches, *([_BETWEEN] if relayed else [])])
            stack.callback(self.run.close)
            self._netns = self.run.namespaces
            self._make(relayed)
            self._relay: HostProcess | None = None
            if relayed or pcap is not None:
                self._relay = self._start_relay(relayed, pcap, seed)
                stack.callback(self._relay.close)
            self.hosts = {
                name: NetnsHost(name, topology.mac(name), topology.address(name), self._netns[name])
                for name in topology.hosts
            }
            self._opener = device
            self.devices = self._open(stack)
            self._stack = stack.pop_all()

    @property
    def now(self) -> int:
        """The system's monotonic time in nanoseconds."""
        return time.monotonic_ns()

    def crew(self, workers: Sequence[Worker]) -> ProcessCrew:
        """Start a process for each worker, in its host's namespace."""

        def start(worker: Worker) -> HostProcess:
            host = self.hosts[worker.host]
            log = self.run.folder / f"{host.name}-worker-{worker.application}.log"
            task = StartWorker(str(host.address), worker, self.timing)
            return HostProcess(f"host {host.name}", host.netns, task, log)

        addresses = {name: str(host.address) for name, host in self.hosts.items()}
        crew = ProcessCrew(workers, start, addresses, self.timing)
        self._stack.callback(crew.close)
        return crew

    def serve(
        self,
        host: str,
        program: Program,
        application: str,
        members: Sequence[Address],
        *,
        epoch: int = 0,
        maps: Mapping[str, Sequence[Entry]] | None = None,
    ) -> None:
        """Have a host compute for an application in software, in a process that is started with the first."""
        message = Serve.of(program, application, tuple(members), epoch, maps)
        if host not in self._servers:
            task = StartServer(str(self.hosts[host].address), UDP_PORT, program.schema())
            process = HostProcess(f"host {host}", self._netns[host], task, self.run.folder / f"{host}-server.log")
            self._stack.callback(process.close)
            process.ready()
            self._servers[host] = process
        self._servers[host].tell(message)
        self._servers[host].ready()

    def write(self, application: str, name: str, entry: Entry, there: bool) -> None:
        """Have the hosts that compute for an application have this entry in a map of it, or not."""
        for server in self._servers.values():
            server.tell(Write(application, name, entry, there))
            server.ready()

    def adopt(self, program: Program) -> None:
        """Have the hosts that compute in software go by another program, with what they serve that is in it."""
        for server in self._servers.values():
            server.tell(Adopt(program.schema()))
            server.ready()

    def listen(self, host: str, port: int, endpoint: Endpoint) -> None:
        """Put an endpoint behind a UDP port of a host, in place of one that was put there before."""
        self.leave(host, port)
        address = str(self.hosts[host].address)
        socket = within(self._netns[host], lambda: UdpSocket(endpoint, address, port))
        self._sockets[host, port] = self._stack.enter_context(socket)

    def leave(self, host: str, port: int) -> None:
        """Take an endpoint away that was put behind a UDP port of a host, if there is one."""
        if (socket := self._sockets.pop((host, port), None)) is not None:
            socket.close()

    def drive(self, until: Callable[[], bool], timeout: float | None = None) -> bool:
        """Drive the endpoints, in this process, until `until()` holds or `timeout` seconds have passed."""

        def done() -> bool:
            holds = until()
            for each in self._sockets.values():  # what changes endpoints from outside is seen here
                each.send()
            return holds

        return drive([*self._sockets.values(), *self._cards.values()], done, timeout=timeout)

    def card(self, host: str) -> NetnsCard:
        """Return a host's network card."""
        if host not in self._cards:
            self._cards[host] = card = NetnsCard(self._netns[host], self._offset)
            self._stack.callback(card.close)
        return self._cards[host]

    def play(self, schedules: Sequence[Schedule]) -> list[NDArray[np.int64]]:
        """Send frames, each host its own, and return the times at which they were sent, once the last was."""
        cards = [self.card(each.host) for each in schedules]
        return play(schedules, cards, lambda seconds: self.drive(lambda: False, seconds))

    def statistics(self, one: str, other: str) -> ChannelStatistics:
        """Return what has gone from a node to its neighbour, by the kernel's own counters or those of our own link."""
        for number, (far, link) in self.topology.ports(one).items():
            if far.node == other and _worse(link.quality):
                assert self._relay is not None
                self._relay.tell(AskStatistics())
                answer = self._relay.answer(_ANSWER)
                assert isinstance(answer, Statistics)
                return answer.channels[f"{Port(one, number)}->{far}"]
            if far.node == other:
                packets, size = self._counters(one, number)[2:]
                delivered = self._counters(other, far.number)[0]
                return ChannelStatistics(packets=packets, bytes=size, delivered=delivered)
        raise MidflightError(f"no link leads from {one} to {other}")

    def power(self, switch: str, *, on: bool) -> None:
        """Kill a switch's process, or start it anew, without a program."""
        if switch not in self.devices:
            raise MidflightError(f"there is no switch named {switch}")
        if on:
            made = self._opener(switch, self._netns[switch], self._interfaces(switch), self.run.folder)
            self.devices[switch] = self._stack.enter_context(made)
        else:
            device = self.devices[switch]
            if isinstance(device, SwitchProcess) and device.alive:
                os.kill(device.pid, signal.SIGKILL)  # without a chance to put anything in order
            device.close()

    def impair(self, quality: LinkQuality) -> None:
        """Have all links be of this quality from now on, in a network all of whose links are ours from the start."""
        if self._relay is None or not all(_worse(link.quality) for link in self.topology.links):
            raise MidflightError(
                "links between the kernel's own ends stay as they are", hint="begin with links that lose a little"
            )
        self._late = _lateness([replace(each, quality=quality) for each in self.topology.links])
        self._relay.tell(Impair(_lively(quality)))
        self._relay.answer(_ANSWER)

    def settle(self, senders: Sequence[str] | None = None, timeout: float = 5.0) -> str:
        """Let what hosts have sent arrive; see `fences`."""
        if self._fences is None:
            linked = [each for each in self.topology.hosts if self.topology.ports(each)]
            self._fences = Fences(self.topology, {each: self.card(each) for each in linked}, self.drive)
        self._fences.late = self._late
        missing = self._fences.passed([*self._cards] if senders is None else senders, timeout)
        return ", ".join(f"what {one} sends to {other}" for one, other in missing)

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

    def _make(self, relayed: Sequence[Link]) -> None:
        topology, netns = self.topology, self._netns
        lines = [f"netns add {each}" for each in netns.values()]
        for number, link in enumerate(topology.links):
            mtu = link.quality.mtu
            one, other = (
                f"eth{end.number} address {mac(topology.mac(end.node))} mtu {mtu} netns {netns[end.node]}"
                for end in link.ends
            )
            if link in relayed:
                lines.append(f"link add name {one} type veth peer name a{number} mtu {mtu} netns {netns[_BETWEEN]}")
                lines.append(f"link add name {other} type veth peer name b{number} mtu {mtu} netns {netns[_BETWEEN]}")
            else:
                lines.append(f"link add name {one} type veth peer name {other}")
        command(lines)
        for node, name in netns.items():
            interfaces = [f"eth{number}" for number in topology.ports(node)]
            if node == _BETWEEN:
                numbers = [number for number, link in enumerate(topology.links) if link in relayed]
                interfaces = [f"{end}{number}" for number in numbers for end in "ab"]

            address = topology.address(node) if node in topology.hosts and interfaces else None
            options = _OPTIONS | (_IPV6_OPTIONS if address and address.version == 6 else {})

            def prepare(interfaces: list[str] = interfaces, options: dict[str, str] = options) -> None:
                set_options(options)
                offloads_off(interfaces)

            within(name, prepare)
            lines = [f"link set {each} up" for each in ("lo", *interfaces)]
            if address:
                gateway, all_bits = _GATEWAY[address.version], address.max_prefixlen
                if address.version == 6:
                    lines.insert(0, "link set eth0 arp off")
                lines += [
                    f"address add {address}/{all_bits} dev eth0",
                    f"neighbour add {gateway} lladdr {mac(topology.gateway(node))} dev eth0 nud permanent",
                    f"route add {'::/0' if address.version == 6 else 'default'} via {gateway} dev eth0 onlink",
                ]
            command(lines, netns=name)

    def _open(self, stack: ExitStack) -> dict[str, Device]:
        """Open the switches' devices, several at a time: each is a process that takes its time to start."""
        with ThreadPoolExecutor(_AT_ONCE, "device") as pool:
            opening = {
                name: pool.submit(self._opener, name, self._netns[name], self._interfaces(name), self.run.folder)
                for name in self.topology.switches
            }
            for each in opening.values():
                if each.cancelled():
                    continue
                if each.exception() is None:
                    stack.enter_context(each.result())
                else:
                    pool.shutdown(wait=False, cancel_futures=True)  # those that have not begun need not
        return {name: each.result() for name, each in opening.items()}

    def _interfaces(self, switch: str) -> dict[int, str]:
        return {port: f"eth{port}" for port in self.topology.ports(switch)}

    def _start_relay(self, relayed: Sequence[Link], pcap: Path | None, seed: int) -> HostProcess:
        links, taps = [], []
        with ExitStack() as stack:

            def opened(node: str, interface: str, *, outgoing: bool = False) -> int:
                made = within(self._netns[node], lambda: packet_socket(interface, outgoing=outgoing))
                return stack.enter_context(made).fileno()

            for number, link in enumerate(self.topology.links):
                if link in relayed:
                    ends = opened(_BETWEEN, f"a{number}"), opened(_BETWEEN, f"b{number}")
                    links.append(Relayed(str(link.one), str(link.other), *ends, _lively(link.quality)))
                if pcap is not None:
                    pcap.mkdir(parents=True, exist_ok=True)
                    file = pcap.absolute() / f"{link.one.node}-{link.other.node}.pcap"
                    taps.append(Tap(opened(link.one.node, f"eth{link.one.number}", outgoing=True), str(file)))
            files = [number for each in links for number in (each.one_socket, each.other_socket)]
            files += [each.socket for each in taps]
            task = StartRelay(seed, tuple(links), tuple(taps))
            process = HostProcess("the links", "", task, self.run.folder / "links.log", files=files)
        try:
            process.ready()
        except BaseException:
            process.close()
            raise
        return process

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

        return within(self._netns[node], read)


def _worse(quality: LinkQuality) -> bool:
    """Say whether a link is worse than what a veth pair is by itself."""
    slow = quality.rate is not None and quality.rate < 10_000_000_000
    return quality.impaired or slow or quality.delay > 50_000


def _lively(quality: LinkQuality) -> LinkQuality:
    return replace(quality, jitter=max(quality.jitter, 2_000_000))


def _lateness(links: Sequence[Link]) -> float:
    """Return the seconds that a packet may be overtaken by at most, on all links one after the other."""
    return sum(_lively(each.quality).jitter / 1e9 for each in links if each.quality.reorder or each.quality.duplicate)
