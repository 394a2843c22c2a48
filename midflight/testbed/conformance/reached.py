"""Access to the ports of a remote device: through network interfaces, or through the controller's packet-out and
packet-in.

A switch does not report when it has finished a packet. So each packet is followed by fences: packets from the same
port, one to every port, that every program forwards. Packets do not overtake each other between two ports, so once all
fences are back, all output of the packet before has arrived.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Protocol

import numpy as np

from midflight.errors import DeviceError
from midflight.primitives import Verdict
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.base import PipelineConfig
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.devices.wires import Wires
from midflight.runtime.engine import Packets
from midflight.runtime.engine.ports.namespace import within
from midflight.runtime.p4runtime.client.session import Session
from midflight.testbed.conformance.leaving import leaving
from midflight.testbed.conformance.network import MEMBERS, ROUTER_MAC, SERVER, Frame, address, mac
from midflight.testbed.conformance.tap import FROM_PORT, SESSION, tapped

__all__ = ["ReachedDevice"]

PORTS = (*MEMBERS, SERVER)
# Timeout in seconds for a packet to come back, and interval at which fences are repeated, because the switch may not
# have been ready for the first ones.
PATIENCE = 10.0
AGAIN = 0.5
DISCARD = 9  # RFC 863


class _Path(Protocol):
    def send(self, port: int, frame: bytes) -> None: ...

    def receive(self, timeout: float) -> list[tuple[int, bytes]]: ...


class Reachable(Protocol):
    """A device that is served by P4Runtime, without a way to process packets."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def address(self) -> str: ...

    @property
    def device_id(self) -> int: ...

    def session(self, *, role: str = "", election_id: int | None = None) -> Session: ...

    def compile(self, program: CheckedProgram) -> PipelineConfig: ...

    def close(self) -> None: ...


class ReachedDevice:
    """A remote device as a `PacketDevice`, which sends packets to the device's ports, for conformance tests.

    `interfaces` are the names of the local ends of the links to its ports 1 to 4, by port, in the network namespace
    `netns`. Without interfaces, programs get a tap: code that lets packets enter and leave through the controller's
    port. `timeout` is the time in seconds for each packet. `settle` returns when the device has sent copies that later
    packets may overtake, and `opened` ends with this object. DeviceError if `interfaces` has other ports; methods raise
    it if the device does not forward in time.
    """

    def __init__(
        self,
        device: Reachable,
        interfaces: Mapping[int, str] | None = None,
        timeout: float = PATIENCE,
        *,
        netns: str = "",
        settle: Callable[[], None] | None = None,
        opened: ExitStack | None = None,
    ) -> None:
        if interfaces and set(interfaces) != set(PORTS):
            raise DeviceError(
                f"conformance needs an interface for each of ports {PORTS[0]} to {PORTS[-1]}, and for no other port",
                hint="pass -i PORT@INTERFACE with the local end of the link to that port",
            )
        self._device = device
        self._timeout = timeout
        self._numbers = itertools.count(1)
        self._session: Session | None = None
        self._settle = settle
        self._opened = opened
        self._wires = within(netns, lambda: Wires(interfaces)) if interfaces else None

    @property
    def capabilities(self) -> Capabilities:
        """The remote device's capabilities, as far as the device reports them."""
        return self._device.capabilities

    @property
    def address(self) -> str:
        """The address of the remote device's P4Runtime server, HOST:PORT or unix:PATH."""
        return self._device.address

    @property
    def device_id(self) -> int:
        """The remote device's P4Runtime device id."""
        return self._device.device_id

    @property
    def server(self) -> str:
        """The version that the remote device's P4Runtime server reports; empty if it reports none."""
        return getattr(self._device, "server", "")

    @property
    def reservations(self) -> tuple[str, ...]:
        """Texts that say what conformance cannot test on this device, and why; empty with interfaces on all ports."""
        if self._wires is not None:
            return ()
        return ("packets at its ports: without interfaces, a tap in the programs sends them to the controller",)

    def session(self, *, role: str = "", election_id: int | None = None) -> Session:
        """Open a P4Runtime session as a controller of the device, which the caller closes.

        `election_id` is as for `RemoteDevice.session`. Without interfaces, packets are sent through the session opened
        last. DeviceError if the device does not answer.
        """
        self._session = self._device.session(role=role, election_id=election_id)
        return self._session

    def compile(self, program: CheckedProgram) -> PipelineConfig:
        """Compile a program for the device, with a tap if there are no interfaces. Nothing is loaded.

        MidflightError if the compiler rejects the program or the tap cannot be inserted.
        """
        if self._wires is None:
            program = CheckedProgram(tapped(program.text), program.file)
        return self._device.compile(program)

    def load(self, source: str, file: str = "<string>") -> None:
        """Compile a P4 text and load it on the device. `file` is its name in errors.

        MidflightError if the compiler rejects the program or the tap cannot be inserted; DeviceError if the device does
        not answer, RequestError if it rejects the program.
        """
        pipeline = self.compile(CheckedProgram(source, file))
        with self.session() as session:
            session.load(pipeline.p4info, pipeline.config)

    def process(self, packets: Packets, now: int = 0) -> Packets:  # noqa: ARG002
        """Send packets to the device's ports, one after the other, and return those that leave by its ports.

        `sources` of the result says which packet each results from. `now` is ignored: the device has its own clock.
        DeviceError if the device does not forward within the timeout, or if no session is open and there are no
        interfaces.
        """
        left: list[tuple[int, int, bytes]] = []
        with self._path() as path:
            if len(packets):
                self._past_fences(path, packets[0][0])  # discards earlier packets in flight
            for number, (port, frame) in enumerate(packets):
                path.send(port, frame)
                left += [(number, *each) for each in self._all_past_fences(path, port)]
        left.sort(key=lambda each: each[:2])
        result = Packets.from_list([(port, data) for _, port, data in left])
        result.sources[:] = np.array([number for number, _, _ in left], dtype=result.sources.dtype)
        return result

    def transmitted(self) -> Packets:
        """Return, once, the packets that have left by the device's ports and do not result from packets of `process`.

        DeviceError if the device does not forward within the timeout, or if no session is open and there are no
        interfaces.
        """
        with self._path() as path:
            return Packets.from_list(self._past_fences(path, PORTS[0]))

    def close(self) -> None:
        """Close the local interfaces and the connection. The device keeps running. May be called more than once."""
        if self._wires is not None:
            self._wires.close()
        self._device.close()
        if self._opened is not None:
            self._opened.close()

    def __enter__(self) -> ReachedDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _path(self) -> Iterator[_Path]:
        if self._wires is not None:
            yield self._wires
            return
        if self._session is None:
            raise DeviceError("packets are sent through a controller's session, but none is open")
        self._session.clone_session(SESSION, [SESSION])
        yield _Tap(self._session)
        # A device may keep its clone sessions when it loads a new pipeline.
        self._session.clone_session(SESSION, [])

    def _all_past_fences(self, path: _Path, port: int) -> list[tuple[int, bytes]]:
        left = self._past_fences(path, port)
        if self._settle is not None:
            self._settle()
            left += self._past_fences(path, port)
        return left

    def _past_fences(self, path: _Path, port: int) -> list[tuple[int, bytes]]:
        """Send fences by a port. Return the packets that left before all fences were back."""
        left: list[tuple[int, bytes]] = []
        start, sent = time.monotonic(), float("-inf")
        waiting: dict[bytes, int] = {}
        back: set[int] = set()
        while len(back) < len(PORTS):
            if time.monotonic() - start > self._timeout:
                raise DeviceError(
                    f"no packet came from port {port} to port {min(set(PORTS) - back)} of {self.address} within "
                    f"{self._timeout:g} s",
                    hint="check that it forwards, and that each interface is linked to its port",
                )
            if time.monotonic() - sent > AGAIN:
                sent = time.monotonic()
                for frame, way_out, leaves in self._fences(port):
                    waiting[leaves] = way_out
                    path.send(port, frame)
            for way_out, frame in path.receive(0.05):
                if waiting.get(frame) == way_out:
                    back.add(way_out)
                elif frame[34:38] != _PORTS and _of_ours(frame):
                    left.append((way_out, frame))
        return left

    def _fences(self, port: int) -> Iterator[tuple[bytes, int, bytes]]:
        """Yield, for each port, a frame to send, the port that it leaves by, and its contents then."""
        for to in PORTS:
            payload = next(self._numbers).to_bytes(8, "big")
            frame = Frame(mac(port), ROUTER_MAC, address(port), address(to), 10, DISCARD, DISCARD, payload)
            ((way_out, leaves),) = leaving(Verdict.FORWARD, port, frame)
            yield bytes(frame), way_out, leaves


_PORTS = 2 * DISCARD.to_bytes(2, "big")
"""The UDP ports of a fence, which identify late fences."""


def _of_ours(frame: bytes) -> bool:
    """Return whether a frame comes from one of the hosts, rather than from the system's own network stack."""
    return frame[6:11] == mac(0).to_bytes(6, "big")[:5]


class _Tap:
    """Access to a switch's ports through the controller's port: see `tap`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def send(self, port: int, frame: bytes) -> None:
        self._session.packet_out(frame, egress_port=FROM_PORT | port)

    def receive(self, timeout: float) -> list[tuple[int, bytes]]:
        return [(int(each.metadata["ingress_port"]), each.payload) for each in self._session.packets_in(timeout)]
