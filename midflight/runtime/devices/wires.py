"""Raw sockets on Linux interfaces that lead to a switch's ports, to send frames to the switch and receive
its frames.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType

from midflight.errors import DeviceError
from midflight.runtime.engine.ports import linux

__all__ = ["Wires"]

_RIGHTS = "run it with sudo, or give it the capability CAP_NET_RAW"
_AUXDATA = 8
_BUFFER = 1 << 24


class Wires:
    """Sends frames to a switch's ports and receives its frames, by a raw socket on an interface for each. A context
    manager.

    `interfaces` maps a port of the switch to the interface at the other end of its link. Frames are complete Ethernet
    frames, with VLAN tags. DeviceError if an interface does not exist or cannot be opened, for example without root.
    """

    def __init__(self, interfaces: Mapping[int, str]) -> None:
        self._open = ExitStack()
        self._sockets: dict[int, socket.socket] = {}
        try:
            for port, name in interfaces.items():
                self._sockets[port] = self._open.enter_context(_socket(name))
        except BaseException:
            self._open.close()
            raise
        self._names = dict(interfaces)
        self._ports = {each.fileno(): port for port, each in self._sockets.items()}

    def send(self, port: int, frame: bytes) -> None:
        """Send an Ethernet frame to a port of the switch. DeviceError if the interface rejects it; KeyError for
        another port.
        """
        try:
            self._sockets[port].send(frame)
        except OSError as error:
            raise DeviceError(
                f"interface {self._names[port]} of port {port} rejects a frame: {error.strerror}",
                hint="both ends must be up: ip link set NAME up",
            ) from None

    def receive(self, timeout: float) -> list[tuple[int, bytes]]:
        """Return the frames that the switch has sent, as (port, frame), for each port in the order of arrival.

        Waits up to `timeout` seconds for the first; empty if none arrives. DeviceError if an interface has gone down or
        was removed since the last call; frames that were received in the same call are lost. Later calls receive
        nothing from it while it is down.
        """
        ready, _, _ = select.select(list(self._ports), [], [], max(0.0, timeout))
        found = []
        for file in ready:
            port = self._ports[file]
            try:
                while True:
                    found.append((port, _receive(self._sockets[port])))
            except BlockingIOError:
                pass
            except OSError as error:
                raise DeviceError(f"interface {self._names[port]} of port {port}: {error.strerror}") from None
        return found

    def drain(self, quiet: float = 0.0) -> None:
        """Receive and discard frames until none arrives for `quiet` seconds, or for at most 100 times `quiet` (at least
        1 s).

        DeviceError as in `receive`.
        """
        deadline = time.monotonic() + 100 * max(quiet, 0.01)
        while self.receive(quiet) and time.monotonic() < deadline:
            pass

    def close(self) -> None:
        """Close the sockets; the interfaces stay. Idempotent."""
        self._open.close()

    def __enter__(self) -> Wires:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _socket(name: str) -> socket.socket:
    try:
        index = socket.if_nametoindex(name)
    except OSError:
        known = ", ".join(each for _, each in socket.if_nameindex())
        raise DeviceError(f"there is no interface {name}", hint=f"the interfaces are {known}") from None
    try:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError:
        raise DeviceError(f"no permission to capture packets on {name}", hint=_RIGHTS) from None
    try:
        for option in (_AUXDATA, linux.PACKET_IGNORE_OUTGOING):
            made.setsockopt(linux.SOL_PACKET, option, 1)
        made.setsockopt(
            linux.SOL_PACKET, linux.PACKET_ADD_MEMBERSHIP, struct.pack("iHH8s", index, linux.PACKET_MR_PROMISC, 0, b"")
        )
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        made.setblocking(False)
        made.bind((name, linux.ETH_P_ALL))
    except OSError as error:
        made.close()
        raise DeviceError(f"interface {name}: {error.strerror}") from None
    return made


def _receive(where: socket.socket) -> bytes:
    frame, auxiliary, _, _ = where.recvmsg(1 << 16, 64)
    for level, kind, data in auxiliary:
        if (level, kind) == (linux.SOL_PACKET, _AUXDATA):
            # struct tpacket_auxdata: the kernel has removed the outer VLAN tag from the frame.
            status, _, _, _, _, tag, protocol = struct.unpack("IIIHHHH", data)
            if status & linux.STATUS_VLAN_VALID:
                kind = protocol if status & linux.STATUS_VLAN_TPID_VALID else 0x8100
                frame = frame[:12] + struct.pack("!HH", kind, tag) + frame[12:]
    return bytes(frame)
