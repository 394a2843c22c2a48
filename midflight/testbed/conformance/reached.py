"""A remote device that is given packets: through interfaces joined to its ports, or through its controller's port.

A switch does not tell when it is done with a packet. So after each go fences: packets from the same port, one to every
port, that every program forwards. Packets do not overtake each other between two ports: once the fences are back,
everything that came of the packet before is.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol

import numpy as np

from midflight.errors import DeviceError
from midflight.primitives import Verdict
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.base import PipelineConfig
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.devices.remote import RemoteDevice
from midflight.runtime.devices.wires import Wires
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.session import Session
from midflight.testbed.conformance.model import leaving
from midflight.testbed.conformance.network import MEMBERS, ROUTER_MAC, SERVER, Frame, address, mac
from midflight.testbed.conformance.tap import FROM_PORT, SESSION, tapped

__all__ = ["ReachedDevice"]

PORTS = (*MEMBERS, SERVER)
# Seconds that a packet has to come back, and after which a fence is sent again: it may have come before the switch
# was ready.
PATIENCE = 10.0
AGAIN = 0.5
DISCARD = 9  # RFC 863


class _Path(Protocol):
    def send(self, port: int, frame: bytes) -> None: ...

    def receive(self, timeout: float) -> list[tuple[int, bytes]]: ...


class ReachedDevice:
    """A `PacketDevice` over a remote one, for the programs and the network of conformance.

    `interfaces` are our ends of what is plugged into its ports 1 to 4; without any, programs get a tap. `timeout` is
    how many seconds it has for a packet. DeviceError where it does not forward in that time.
    """

    def __init__(
        self, device: RemoteDevice, interfaces: Mapping[int, str] | None = None, timeout: float = PATIENCE
    ) -> None:
        if interfaces and set(interfaces) != set(PORTS):
            raise DeviceError(
                f"conformance needs an interface for each of ports {PORTS[0]} to {PORTS[-1]}, and for no other",
                hint="-i PORT@INTERFACE: the far end of what the switch has for that port",
            )
        self._device = device
        self._timeout = timeout
        self._numbers = itertools.count(1)
        self._session: Session | None = None
        self._wires = Wires(interfaces) if interfaces else None

    @property
    def capabilities(self) -> Capabilities:
        """What it can do, as far as it tells."""
        return self._device.capabilities

    @property
    def address(self) -> str:
        """Its P4Runtime endpoint."""
        return self._device.address

    @property
    def device_id(self) -> int:
        """Its P4Runtime device id."""
        return self._device.device_id

    @property
    def server(self) -> str:
        """What its P4Runtime server says about itself."""
        return self._device.server

    @property
    def reservations(self) -> tuple[str, ...]:
        """What is not asked of it, and why."""
        if self._wires is not None:
            return ()
        return ("packets at its ports: no interfaces are given, so a tap in the programs takes them to the controller",)

    def session(self, *, role: str = "", election_id: int | None = None) -> Session:
        """Open a controller's session; without interfaces, packets go by the one that was opened last."""
        self._session = self._device.session(role=role, election_id=election_id)
        return self._session

    def compile(self, program: CheckedProgram) -> PipelineConfig:
        """Compile a program as the device needs it, with a tap where there are no interfaces."""
        if self._wires is None:
            program = CheckedProgram(tapped(program.text), program.file)
        return self._device.compile(program)

    def load(self, source: str, file: str = "<string>") -> None:
        """Put a program in place."""
        pipeline = self.compile(CheckedProgram(source, file))
        with self.session() as session:
            session.load(pipeline.p4info, pipeline.config)

    def process(self, packets: Packets, now: int = 0) -> Packets:  # noqa: ARG002
        """Give it packets, one at a time; return what leaves by its ports. It has a clock of its own."""
        left: list[tuple[int, int, bytes]] = []
        with self._path() as path:
            if len(packets):
                self._past_fences(path, packets[0][0])  # and what was under way before
            for number, (port, frame) in enumerate(packets):
                path.send(port, frame)
                left += [(number, *each) for each in self._past_fences(path, port)]
        left.sort(key=lambda each: each[:2])
        result = Packets.from_list([(port, data) for _, port, data in left])
        result.sources[:] = np.array([number for number, _, _ in left], dtype=result.sources.dtype)
        return result

    def transmitted(self) -> Packets:
        """Return, once, what has left and comes from no packet given here."""
        with self._path() as path:
            return Packets.from_list(self._past_fences(path, PORTS[0]))

    def close(self) -> None:
        """Give the interfaces back; the device stays as it is. May be called more than once."""
        if self._wires is not None:
            self._wires.close()
        self._device.close()

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
            raise DeviceError("packets go by a controller's session, and none is open")
        self._session.clone_session(SESSION, [SESSION])
        yield _Tap(self._session)
        # A device may keep its clone sessions when it takes a new pipeline.
        self._session.clone_session(SESSION, [])

    def _past_fences(self, path: _Path, port: int) -> list[tuple[int, bytes]]:
        """Send fences by a port; return what has left before they were back."""
        left: list[tuple[int, bytes]] = []
        start, sent = time.monotonic(), float("-inf")
        waiting: dict[bytes, int] = {}
        back: set[int] = set()
        while len(back) < len(PORTS):
            if time.monotonic() - start > self._timeout:
                raise DeviceError(
                    f"nothing comes from port {port} to port {min(set(PORTS) - back)} of {self.address} within "
                    f"{self._timeout:g} s",
                    hint="is it forwarding, and is each interface the far end of that port's?",
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
        """Yield, for each port, a frame to send in, the port that it leaves by and how it looks then."""
        for to in PORTS:
            payload = next(self._numbers).to_bytes(8, "big")
            frame = Frame(mac(port), ROUTER_MAC, address(port), address(to), 10, DISCARD, DISCARD, payload)
            ((way_out, leaves),) = leaving(Verdict.FORWARD, port, frame)
            yield bytes(frame), way_out, leaves


_PORTS = 2 * DISCARD.to_bytes(2, "big")
"""The UDP ports in a fence: one that comes late is not what a packet became."""


def _of_ours(frame: bytes) -> bool:
    """Tell the hosts' frames from what a system's network stack says by itself at an interface."""
    return frame[6:11] == mac(0).to_bytes(6, "big")[:5]


class _Tap:
    """The way to a switch's ports by its controller's: see `tap`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def send(self, port: int, frame: bytes) -> None:
        self._session.packet_out(frame, egress_port=FROM_PORT | port)

    def receive(self, timeout: float) -> list[tuple[int, bytes]]:
        return [(int(each.metadata["ingress_port"]), each.payload) for each in self._session.packets_in(timeout)]
