"""Simulated hosts: a network interface, an address, and endpoints behind UDP ports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from midflight.errors import MidflightError, WireError
from midflight.runtime.endpoint.base import Endpoint
from midflight.runtime.endpoint.frames import UdpFlow, decode
from midflight.runtime.endpoint.reliable import Address
from midflight.runtime.steering import IPAddress
from midflight.testbed.sim.link import Channel
from midflight.testbed.sim.simulator import Simulator

__all__ = ["Host", "Socket"]


class Host:
    """A simulated host with one network interface, on port 0, which sends every frame to its gateway's MAC address.

    `mac` and `gateway` are 48-bit integers. `malformed` counts frames without a valid UDP datagram; `unclaimed` counts
    datagrams for another address or for a UDP port without an endpoint.
    """

    def __init__(self, simulator: Simulator, name: str, *, mac: int, address: IPAddress, gateway: int) -> None:
        self.name = name
        self.mac = mac
        self.address = address
        self.malformed = 0
        self.unclaimed = 0  # datagrams for another address, or for a UDP port without an endpoint
        self._own = {(address.version, int(address)): None}
        self._simulator = simulator
        self._gateway = gateway
        self._channel: Channel | None = None
        self._sockets: dict[int, Socket] = {}
        self._taps: list[Callable[[int, bytes], None]] = []

    def __repr__(self) -> str:
        return f"Host({self.name!r}, {self.address})"

    def run(self, arguments: Sequence[str], *, timeout: float = 60.0, check: bool = True) -> str:  # noqa: ARG002
        """Raise MidflightError: a simulated host cannot run commands."""
        raise MidflightError(f"{self.name} is a simulated host and cannot run commands", hint='use fabric="netns"')

    def accept(self, address: IPAddress) -> None:
        """Also receive datagrams for another address, such as that of a service. Idempotent."""
        self._own[address.version, int(address)] = None

    def reject(self, address: IPAddress) -> None:
        """No longer receive datagrams for an address that `accept` has added. Idempotent."""
        if address != self.address:
            self._own.pop((address.version, int(address)), None)

    @property
    def family(self) -> type[IPv4Address] | type[IPv6Address]:
        """The class of the host's address: `IPv4Address` or `IPv6Address`."""
        return type(self.address)

    def attach(self, port: int, channel: Channel) -> None:
        """Connect the interface to the channel that carries the host's outgoing frames. `port` must be 0.

        MidflightError if the interface has a link already, or for another port.
        """
        if port != 0 or self._channel is not None:
            raise MidflightError(f"host {self.name} has one network interface, on port 0, for one link")
        self._channel = channel

    def listen(self, port: int, endpoint: Endpoint) -> Socket:
        """Put an endpoint behind a UDP port, and return the socket that drives it. MidflightError if the port is in
        use.
        """
        if port in self._sockets:
            raise MidflightError(f"UDP port {port} of host {self.name} is in use")
        socket = self._sockets[port] = Socket(self._simulator, self, port, endpoint)
        return socket

    def release(self, port: int) -> None:
        """Remove the endpoint behind a UDP port, which then neither sends nor receives. Idempotent."""
        if (socket := self._sockets.pop(port, None)) is not None:
            socket.close()

    def tap(self, taken: Callable[[int, bytes], None]) -> None:
        """Call `taken` with the virtual time in nanoseconds and the content of every frame that arrives from now on."""
        self._taps.append(taken)

    def untap(self, taken: Callable[[int, bytes], None]) -> None:
        """Stop calling `taken` for arriving frames. ValueError if it is not a tap of this host."""
        self._taps.remove(taken)

    @property
    def clear_at(self) -> int:
        """The virtual time in nanoseconds at which the host's link has sent all frames given to it so far; 0 if there
        are none.
        """
        return 0 if self._channel is None else self._channel.free_at

    def receive(self, _port: int, frame: bytes) -> None:
        """Accept a frame from the link at the current time: call the taps, and pass its datagram to the endpoint on its
        UDP port.

        Frames that are damaged or that no socket receives are counted in `malformed` and `unclaimed`, and dropped.
        """
        for each in self._taps:
            each(self._simulator.now, frame)
        try:
            datagram = decode(frame)
        except WireError:
            self.malformed += 1
            return
        socket = self._sockets.get(datagram.destination_port)
        if socket is None or (datagram.version, datagram.destination) not in self._own:
            self.unclaimed += 1
            return
        socket.receive(datagram.source, datagram.source_port, datagram.payload)

    def transmit(self, frame: bytes) -> None:
        """Send a frame on the host's link now. Without a link the frame is lost."""
        if self._channel is not None:
            self._channel.send(frame)

    def flow(self, source_port: int, destination: Address, *, ecn: int = 0) -> UdpFlow:
        """Return the encoder for frames from a UDP port of this host to `destination`, a pair of IP address and UDP
        port. `ecn` is the ECN field of its packets.

        WireError if the destination is of another IP version than the host.
        """
        host, port = destination
        return UdpFlow(
            source_mac=self.mac,
            destination_mac=self._gateway,
            source=self.address,
            destination=ip_address(host),
            source_port=source_port,
            destination_port=port,
            ecn=ecn,
        )


class Socket:
    """A simulated UDP socket on a host, which drives its endpoint in virtual time.

    It passes arriving datagrams to the endpoint, sends what the endpoint returns, and polls it at its deadlines.
    """

    def __init__(self, simulator: Simulator, host: Host, port: int, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._simulator = simulator
        self._host = host
        self._port = port
        self._flows: dict[Address, UdpFlow] = {}
        self._peers: dict[tuple[int, int], Address] = {}
        self._alarm: int | None = None  # the earliest time at which `_wake` is scheduled
        self._closed = False

    def receive(self, address: int, port: int, payload: bytes) -> None:
        """Pass an arriving datagram to the endpoint, then send what the endpoint has to send.

        `address` is the source's IP address as an integer, of the host's own IP version, and `port` the source's UDP
        port.
        """
        peer = self._peers.get((address, port))
        if peer is None:
            peer = self._peers[address, port] = str(self._host.family(address)), port
        self.endpoint.receive(peer, payload, self._simulator.now)
        self.pump()

    def close(self) -> None:
        """Stop driving the endpoint: from now on it sends nothing and is not polled. Idempotent."""
        self._closed = True

    def pump(self) -> None:
        """Send what the endpoint has to send now. Call this after changing the endpoint, such as by submitting data to
        it.

        After arriving datagrams and at deadlines, the socket does it by itself.
        """
        if self._closed:
            return
        flows = self._flows
        for destination, datagram in self.endpoint.poll(self._simulator.now):
            flow = flows.get(destination)
            if flow is None:
                flow = flows[destination] = self._host.flow(self._port, destination)
            self._host.transmit(flow.encode(datagram))
        deadline = self.endpoint.next_deadline()
        if deadline is not None and (self._alarm is None or deadline < self._alarm):
            self._alarm = deadline
            self._simulator.alarm(deadline, self._wake, deadline)

    def _wake(self, alarm: int) -> None:
        # Deadlines move while an alarm is pending. An alarm is not cancelled: it finds nothing due and schedules the
        # next one, which costs less than an event for every answer.
        if alarm == self._alarm:
            self._alarm = None
            self.pump()
