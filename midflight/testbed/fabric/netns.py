"""Networks with real packets: each node is a network namespace, each link a veth pair, and each program a process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from midflight.closing import Closer
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
from midflight.testbed.fabric.base import Schedule
from midflight.testbed.fabric.cards import NetnsCard, offset, play
from midflight.testbed.fabric.fences import Fences
from midflight.testbed.fabric.namespaces import command, mac, offloads_off, set_options
from midflight.testbed.fabric.netnshost import NetnsHost
from midflight.testbed.fabric.processcrew import ProcessCrew
from midflight.testbed.fabric.processes import HostProcess
from midflight.testbed.fabric.relay import AskStatistics, Impair, Relayed, StartRelay, Statistics, Tap, packet_socket
from midflight.testbed.fabric.runs import Run
from midflight.testbed.fabric.watch import Watch
from midflight.testbed.host.control import Adopt, Serve, StartServer, StartWorker, Write
from midflight.testbed.sim.link import ChannelStatistics
from midflight.testbed.topology import Link, LinkQuality, Port, Topology
from midflight.workers import Workers

__all__ = ["NetnsFabric"]

Opener = Callable[[str, str, Mapping[int, str], Path], Device]

_AT_ONCE = 8  # devices that are started at a time
# No host has these addresses. Linux requires an address for a gateway; its MAC address is a static neighbour entry.
_GATEWAY = {4: "10.255.255.254", 6: "fe80::1"}
_RELAY = "-links"  # the namespace of the relay's ends of links; no node can have this name
_ANSWER = 30.0  # seconds that the relay has to answer
_IPV6_OPTIONS = {
    "ipv6/conf/all/disable_ipv6": "0",
    "ipv6/conf/default/disable_ipv6": "0",
    "ipv6/conf/eth0/addr_gen_mode": "1",  # no link-local address
    "ipv6/conf/eth0/accept_ra": "0",
}
"""Options of hosts with IPv6. `arp off` on their interfaces prevents neighbour discovery."""
_OPTIONS = {
    # No neighbour discovery or other packets of the kernel's own.
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
    # Requests and replies may take different paths.
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    # All users may use ping.
    "ipv4/ping_group_range": "0 2147483647",
}

# A round trip takes about 100 us through the embedded switch and several ms through a busy BMv2, and the machine may
# have fewer processors than the network has nodes.
_TIMING = Timing(initial=200_000_000, minimum=20_000_000, maximum=500_000_000, patience=30_000_000_000)


class NetnsFabric:
    """A network of namespaces (a `Fabric`). Needs root.

    `device` opens a switch's device, given the switch's name, its namespace, its interfaces by port number, and a
    folder for its files. The names of everything that is created contain the run's id, `run.id`. Everything is removed
    when the fabric is closed, and also when this process ends or is killed.

    A link is a plain veth pair, unless it loses, duplicates or reorders frames, has a rate below 10 Gbit/s or a delay
    above 50 us. Such links go through a relay process, which takes its random choices from `seed`. Its jitter is at
    least 2 ms, so that frames do overtake each other. `pcap` is a folder for captures of every link, taken at its first
    end: h1-s1.pcap. `owned` are context managers, entered first and closed last. DeviceError without root, or if a
    namespace, link or switch cannot be created; then nothing remains.
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
        self._sockets: dict[tuple[str, int], UdpSocket] = {}  # of endpoints, by host and UDP port
        self._servers: dict[str, HostProcess] = {}
        self._cards: dict[str, NetnsCard] = {}
        self._offset = offset()
        self._fences: Fences | None = None
        self._late = _reordering_delay(topology.links)
        self._watch = Watch()
        with ExitStack() as stack:
            for each in owned:
                stack.enter_context(each)
            stack.callback(self._watch.close)
            relayed = [link for link in topology.links if _needs_relay(link.quality)]
            self.run = Run([*topology.hosts, *topology.switches, *([_RELAY] if relayed else [])])
            stack.callback(self.run.close)
            self._netns = self.run.namespaces
            self._make(relayed)
            self._relay: HostProcess | None = None
            if relayed or pcap is not None:
                self._relay = self._start_relay(relayed, pcap, seed)
                stack.callback(self._relay.close)
                self._watch.add(_RELAY, self._relay)
            self.hosts = {
                name: NetnsHost(name, topology.mac(name), topology.address(name), self._netns[name])
                for name in topology.hosts
            }
            self._opener = device
            self.devices = self._open(stack)
            stack.callback(self._watch.close)  # what is closed from here on has not ended by itself
            self._stack = stack.pop_all()
        self._close = Closer(self, self._stack.close)

    @property
    def now(self) -> int:
        """The current time of the network's clock, in nanoseconds: the system's monotonic clock."""
        return time.monotonic_ns()

    def crew(self, workers: Sequence[Worker]) -> ProcessCrew:
        """Start a process for each worker, in its host's namespace, and return the crew once all run.

        `workers` are in the order of their numbers. DeviceError if a process does not start.
        """
        hosts, folder, timing = self.hosts, self.run.folder, self.timing  # but not this fabric, which closes the crew

        def start(worker: Worker) -> HostProcess:
            host = hosts[worker.host]
            log = folder / f"{host.name}-worker-{worker.application}.log"
            task = StartWorker(str(host.address), worker, timing)
            return HostProcess(f"host {host.name}", host.netns, task, log)

        addresses = {name: str(host.address) for name, host in self.hosts.items()}
        crew = ProcessCrew(workers, start, addresses, self.timing, self._watch)
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
        token: int = 0,
    ) -> None:
        """Start computing an application for a group on a host: see `HostSoftware.serve`.

        One process on the host serves all its applications. DeviceError if the process does not start, MidflightError
        if it cannot import the primitive's class.
        """
        message = Serve.of(program, application, tuple(members), epoch, maps, token)
        if host not in self._servers:
            task = StartServer(str(self.hosts[host].address), UDP_PORT, program.schema())
            process = HostProcess(f"host {host}", self._netns[host], task, self.run.folder / f"{host}-server.log")
            self._stack.callback(process.close)
            process.ready()
            self._servers[host] = process
        self._servers[host].send(message)
        self._servers[host].ready()

    def write(self, application: str, name: str, entry: Entry, present: bool) -> None:
        """Add an entry to an application's map `name` on every host that computes, or remove it if `present` is False.

        DeviceError if a host's process has ended.
        """
        for server in self._servers.values():
            server.send(Write(application, name, entry, present))
            server.ready()

    def adopt(self, program: Program) -> None:
        """Continue with another program on all hosts that compute. They stop computing applications that it does not
        have.

        DeviceError if a host's process has ended.
        """
        for server in self._servers.values():
            server.send(Adopt(program.schema()))
            server.ready()

    def listen(self, host: str, port: int, endpoint: Endpoint) -> None:
        """Run an endpoint on a UDP port of a host, in place of an earlier one, while the fabric is driven.

        DeviceError if another program uses the port.
        """
        self.leave(host, port)
        address = str(self.hosts[host].address)
        socket = within(self._netns[host], lambda: UdpSocket(endpoint, address, port))
        self._sockets[host, port] = self._stack.enter_context(socket)

    def leave(self, host: str, port: int) -> None:
        """Remove the endpoint that `listen` has put on a UDP port of a host. Does nothing if there is none."""
        if (socket := self._sockets.pop((host, port), None)) is not None:
            socket.close()

    def drive(self, until: Callable[[], bool], timeout: float | None = None) -> bool:
        """Run the endpoints of `listen`, in this process, until `until()` returns True; return whether it did.

        `until` is called first and after every event. False after `timeout` seconds; None waits without limit.
        Exceptions of endpoints are raised here. DeviceError if a process of the network has ended by itself.
        """

        def done() -> bool:
            holds = until()
            for each in self._sockets.values():  # `until` may have given endpoints something to send
                each.send()
            return holds

        return drive([self._watch, *self._sockets.values(), *self._cards.values()], done, timeout=timeout)

    def card(self, host: str) -> NetnsCard:
        """Return a host's network card, which is opened at the first call and closed with the fabric.

        KeyError if there is no such host.
        """
        if host not in self._cards:
            self._cards[host] = card = NetnsCard(self._netns[host], self._offset)
            self._stack.callback(card.close)
        return self._cards[host]

    def play(self, schedules: Sequence[Schedule]) -> list[NDArray[np.int64]]:
        """Send the frames of each schedule in real time, and return when each was sent, in nanoseconds of the network's
        clock.

        Offsets count from the call, which returns once the last frame was sent.
        """
        cards = [self.card(each.host) for each in schedules]
        return play(schedules, cards, lambda seconds: self.drive(lambda: False, seconds))

    def statistics(self, one: str, other: str) -> ChannelStatistics:
        """Return the counters of the link from node `one` to its neighbour `other`, in that direction only.

        They are the kernel's or, for links that go through the relay, its own. MidflightError if there is no such link.
        """
        for number, (far, link) in self.topology.ports(one).items():
            if far.node == other and _needs_relay(link.quality):
                assert self._relay is not None
                self._relay.send(AskStatistics())
                answer = self._relay.answer(_ANSWER)
                assert isinstance(answer, Statistics)
                return answer.channels[f"{Port(one, number)}->{far}"]
            if far.node == other:
                packets, size = self._counters(one, number)[2:]
                delivered = self._counters(other, far.number)[0]
                return ChannelStatistics(packets=packets, bytes=size, delivered=delivered)
        raise MidflightError(f"no link leads from {one} to {other}")

    @property
    def processes(self) -> dict[int, str]:
        """The processes of the network by process id, except those of workers, each with a description such as "switch
        s1".
        """
        found = {self.run.janitor: "janitor"}
        if self._relay is not None:
            found[self._relay.pid] = "links"
        found |= {process.pid: f"server on {name}" for name, process in self._servers.items()}
        for name, device in self.devices.items():
            if isinstance(device, SwitchProcess) and device.alive:
                found[device.pid] = f"switch {name}"
        return found

    def power(self, switch: str, *, on: bool) -> None:
        """Kill a switch's process (`on` False), or start a new one, which has no program until a controller loads it.

        MidflightError if there is no such switch, DeviceError if the process does not start.
        """
        if switch not in self.devices:
            raise MidflightError(f"there is no switch named {switch}")
        if on:
            made = self._opener(switch, self._netns[switch], self._interfaces(switch), self.run.folder)
            self.devices[switch] = self._stack.enter_context(made)
            self._expect(switch, made)
        else:
            self._watch.remove(switch)
            device = self.devices[switch]
            if isinstance(device, SwitchProcess) and device.alive:
                os.kill(device.pid, signal.SIGKILL)  # without a chance to clean up
            device.close()

    def impair(self, quality: LinkQuality) -> None:
        """Set the quality of all links from now on, with a jitter of at least 2 ms.

        MidflightError unless every link has gone through the relay process from the start, because a plain veth pair
        cannot be changed.
        """
        if self._relay is None or not all(_needs_relay(link.quality) for link in self.topology.links):
            raise MidflightError(
                "the quality of plain veth links cannot be changed", hint="start with links that lose a few packets"
            )
        self._late = _reordering_delay([replace(each, quality=quality) for each in self.topology.links])
        self._relay.send(Impair(_with_jitter(quality)))
        self._relay.answer(_ANSWER)

    def connect(self, one: str, other: str, *, up: bool) -> None:
        """Turn the interface of the link between two nodes off (`up` False) or on, at the end that is a switch.

        Neither end receives frames then. MidflightError if there is no such link, DeviceError if `ip` fails.
        """
        ends = [
            end
            for link in self.topology.links
            if {each.node for each in link.ends} == {one, other}
            for end in sorted(link.ends, key=lambda each: each.node in self.topology.hosts)[:1]
        ]
        if not ends:
            raise MidflightError(f"there is no link between {one} and {other}")
        for end in ends:
            command([f"link set eth{end.number} {'up' if up else 'down'}"], netns=self._netns[end.node])

    def settle(self, senders: Sequence[str] | None = None, timeout: float = 5.0) -> str:
        """Wait until all packets that hosts have sent have passed the network, for at most `timeout` seconds.

        Sends marker packets, as described in `fabric.fences`, from the hosts named in `senders` (None means all) and
        waits for them. Returns the pairs of hosts whose markers are missing, as text; empty if everything has passed.
        """
        if self._fences is None:
            linked = [each for each in self.topology.hosts if self.topology.ports(each)]
            self._fences = Fences(self.topology, {each: self.card(each) for each in linked}, self.drive)
        self._fences.late = self._late
        missing = self._fences.passed([*self._cards] if senders is None else senders, timeout)
        return ", ".join(f"packets from {one} to {other}" for one, other in missing)

    def trace_hash(self) -> str:
        """Return an empty text: a network in real time never runs twice alike."""
        return ""

    def close(self) -> None:
        """Close the network and remove everything that it created. May be called more than once."""
        self._close()

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
                lines.append(f"link add name {one} type veth peer name a{number} mtu {mtu} netns {netns[_RELAY]}")
                lines.append(f"link add name {other} type veth peer name b{number} mtu {mtu} netns {netns[_RELAY]}")
            else:
                lines.append(f"link add name {one} type veth peer name {other}")
        command(lines)
        for node, name in netns.items():
            interfaces = [f"eth{number}" for number in topology.ports(node)]
            if node == _RELAY:
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
        """Open the switches' devices, several at a time, because each is a process that takes a while to start."""
        with closing(Workers(_AT_ONCE, "opening a device")) as pool:
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
                    for later in opening.values():
                        later.cancel()  # do not start the remaining devices
        devices = {name: each.result() for name, each in opening.items()}
        for name, device in devices.items():
            self._expect(name, device)
        return devices

    def _expect(self, switch: str, device: Device) -> None:
        """Expect a switch's process to run until it is switched off."""
        if isinstance(device, SwitchProcess):
            device.name = switch
            self._watch.add(switch, device)

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
                    ends = opened(_RELAY, f"a{number}"), opened(_RELAY, f"b{number}")
                    links.append(Relayed(str(link.one), str(link.other), *ends, _with_jitter(link.quality)))
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


def _needs_relay(quality: LinkQuality) -> bool:
    """Return whether a link has a lower quality than a plain veth pair, and so needs the relay."""
    slow = quality.rate is not None and quality.rate < 10_000_000_000
    return quality.impaired or slow or quality.delay > 50_000


def _with_jitter(quality: LinkQuality) -> LinkQuality:
    return replace(quality, jitter=max(quality.jitter, 2_000_000))


def _reordering_delay(links: Sequence[Link]) -> float:
    """Return the longest time in seconds by which links can delay a packet while others overtake it."""
    return sum(
        _with_jitter(each.quality).jitter / 1e9 for each in links if each.quality.reorder or each.quality.duplicate
    )
