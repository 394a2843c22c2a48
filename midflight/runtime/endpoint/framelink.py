"""A host's network card that needs no root: it exchanges frames with a UDP port of a switch, one in each datagram."""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from midflight.errors import DeviceError, MidflightError, WireError
from midflight.runtime.endpoint.base import Endpoint
from midflight.runtime.endpoint.frames import UdpFlow, decode
from midflight.runtime.endpoint.reliable import Address
from midflight.runtime.steering import IPAddress

__all__ = ["FrameLink", "FrameLinkStatistics"]

_BUFFER = 4 << 20  # bytes of the kernel's buffers
_BATCH = 64  # frames received at a time before replies are sent
_LARGEST = 1 << 16


@dataclass(slots=True)
class FrameLinkStatistics:
    """Counters of the frames of one `FrameLink`.

    `malformed` counts received frames without a valid UDP datagram, `unclaimed` those for another address or for a UDP
    port without an endpoint, and `unsendable` frames that could not be sent, as when the switch has ended or `plug` was
    not called. `received` and `sent` count all others.
    """

    received: int = 0
    sent: int = 0
    malformed: int = 0
    unclaimed: int = 0
    unsendable: int = 0


@dataclass(slots=True)
class _Listener:
    endpoint: Endpoint
    flows: dict[Address, UdpFlow] = field(default_factory=dict)


class FrameLink:
    """A host with one network card, whose other end is a UDP port of a switch (`-i 1@udp:...`).

    It drives endpoints behind UDP ports of the host, as `UdpSocket` drives one, and can be passed to
    `midflight.runtime.endpoint.udp.drive`. `plug` connects it to a switch.

    mac, address: the host's MAC address (48 bits) and IP address in the switch's network. gateway: the MAC address that
    all frames go to. bind: the IPv4 address and UDP port of the socket; port 0 selects a free one. clock: returns
    nanoseconds and never runs backwards. DeviceError if the socket cannot be bound.
    """

    def __init__(
        self,
        *,
        mac: int,
        address: IPAddress,
        gateway: int,
        bind: Address = ("127.0.0.1", 0),
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.statistics = FrameLinkStatistics()
        self._mac, self._address, self._gateway = mac, address, gateway
        self._clock = clock
        self._listeners: dict[int, _Listener] = {}
        self._backlog: deque[bytes] = deque()
        self._sources: dict[tuple[int, int], Address] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                self._socket.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
            with suppress(OSError):  # to exceed the system's limit takes privileges
                self._socket.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), _BUFFER)
            self._socket.bind(bind)
        except (OSError, OverflowError) as error:
            self._socket.close()
            raise DeviceError(f"cannot listen on UDP {bind[0]}:{bind[1]}: {error}") from None

    @property
    def bound(self) -> Address:
        """The IPv4 address and UDP port of the socket, for the switch's port to send to."""
        host, port = self._socket.getsockname()
        return str(host), int(port)

    def plug(self, switch: Address) -> None:
        """Connect to a switch's UDP port; frames from elsewhere are not received from now on.

        DeviceError for an address that frames cannot be sent to from here, or that is not an IPv4 address and UDP port.
        """
        try:
            self._socket.connect(switch)
        except (OSError, OverflowError) as error:
            raise DeviceError(f"cannot send to UDP {switch[0]}:{switch[1]}: {error}") from None

    def listen(self, port: int, endpoint: Endpoint) -> None:
        """Put an endpoint behind a UDP port of the host. MidflightError if another endpoint of this card is there."""
        if port in self._listeners:
            raise MidflightError(f"UDP port {port} of {self._address} is in use")
        self._listeners[port] = _Listener(endpoint)

    def send(self) -> None:
        """Send what the endpoints have to send now, until the kernel's buffer is full. The rest is sent by the next
        call.

        Frames that cannot be sent, as when no switch is there, count as lost. Errors of endpoints propagate.
        """
        for port, listener in self._listeners.items():
            for destination, datagram in listener.endpoint.poll(self._clock()):
                flow = listener.flows.get(destination)
                if flow is None:
                    flow = listener.flows[destination] = self._flow(port, destination)
                self._backlog.append(flow.encode(datagram))
        while self._backlog:
            try:
                self._socket.send(self._backlog[0])
                self.statistics.sent += 1
            except BlockingIOError:
                return
            except OSError:
                self.statistics.unsendable += 1
            self._backlog.popleft()

    def receive(self) -> None:
        """Pass the datagrams in the frames that have arrived to their endpoints, at most 64 of them. Does not block.

        OSError if the socket is closed. Errors of endpoints propagate.
        """
        for _ in range(_BATCH):
            try:
                frame = self._socket.recv(_LARGEST)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue  # an earlier frame met no switch
            try:
                datagram = decode(frame)
            except WireError:
                self.statistics.malformed += 1
                continue
            listener = self._listeners.get(datagram.destination_port)
            ours = (datagram.version, datagram.destination) == (self._address.version, int(self._address))
            if listener is None or not ours:
                self.statistics.unclaimed += 1
                continue
            self.statistics.received += 1
            source = self._source(datagram.source, datagram.source_port)
            listener.endpoint.receive(source, datagram.payload, self._clock())

    def patience(self) -> int | None:
        """Return the milliseconds until the next deadline of any endpoint, rounded up, or None if there is none."""
        deadlines = [each.endpoint.next_deadline() for each in self._listeners.values()]
        deadline = min((each for each in deadlines if each is not None), default=None)
        return None if deadline is None else max(0, -((self._clock() - deadline) // 1_000_000))

    def register(self, poll: select.poll) -> None:
        """Register the socket with `poll` for frames to receive and, if a backlog is waiting, for room to send."""
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._backlog else 0))

    def close(self) -> None:
        """Close the socket. May be called more than once."""
        self._socket.close()

    def _flow(self, port: int, destination: Address) -> UdpFlow:
        return UdpFlow(
            source_mac=self._mac,
            destination_mac=self._gateway,
            source=self._address,
            destination=ip_address(destination[0]),
            source_port=port,
            destination_port=destination[1],
        )

    def _source(self, address: int, port: int) -> Address:
        found = self._sources.get((address, port))
        if found is None:
            family = IPv4Address if self._address.version == 4 else IPv6Address
            if len(self._sources) >= 1 << 16:  # of forged addresses: those of real peers are soon there again
                self._sources.clear()
            found = self._sources[address, port] = str(family(address)), port
        return found
