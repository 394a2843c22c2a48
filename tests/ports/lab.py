"""A network namespace with veth pairs, hosts at their far ends, and frames for tests."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from midflight.runtime.engine.ports.namespace import Namespace

TAP = Path(__file__).with_name("programs") / "tap.p4"
PATIENCE = 20.0

Result = TypeVar("Result")


def ethernet(destination: int, payload: bytes = b"", *, source: int = 0x0200_0000_00AA, kind: int = 0x88B5) -> bytes:
    """Return a frame."""
    return destination.to_bytes(6, "big") + source.to_bytes(6, "big") + kind.to_bytes(2, "big") + payload


def station(number: int) -> int:
    """Return the MAC address that the bridge forwards to a port."""
    return 0x0200_0000_0000 + number


def numbered(destination: int, size: int = 60) -> bytes:
    """Return a frame into which the bridge writes a number and its time."""
    return ethernet(destination, bytes(size - 14), kind=0x1234)


def number_of(frame: bytes) -> int:
    """Return the number in a frame."""
    return int.from_bytes(frame[14:18], "big")


def time_of(frame: bytes) -> int:
    """Return the time in a frame, in microseconds."""
    return int.from_bytes(frame[18:24], "big")


class Lab:
    """Pairs s1-h1, s2-h2 and so on in one namespace, with one end for a switch and the other for a host."""

    def __init__(self, pairs: int = 2, *, mtu: int = 1500) -> None:
        self._open = ExitStack()
        self.namespace = self._open.enter_context(Namespace())
        self.netns = self.namespace.path
        lines = ["link set lo up"]
        for number in range(1, pairs + 1):
            lines.append(f"link add s{number} mtu {mtu} type veth peer name h{number} mtu {mtu}")
            lines += [f"link set {end}{number} up" for end in "sh"]

        def make() -> None:
            Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
            subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)

        try:
            self.namespace.run(make)
        except BaseException:
            self._open.close()
            raise

    def ip(self, *lines: str) -> None:
        """Run iproute2 commands in the namespace."""
        text = "\n".join(lines)
        self.inside(lambda: subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True))

    def inside(self, do: Callable[[], Result]) -> Result:
        """Run a function in the namespace."""
        return self.namespace.run(do)

    def host(self, number: int) -> Host:
        """Return the host behind a port."""
        return self._open.enter_context(self.inside(lambda: Host(f"h{number}")))

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


class Host:
    """Sends and receives complete frames at an interface, with VLAN tags that the kernel stores separately."""

    def __init__(self, interface: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(263, 8, 1)  # PACKET_AUXDATA
        self._socket.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)  # SO_RCVBUFFORCE
        self._socket.bind((interface, 3))
        self._socket.settimeout(PATIENCE)

    def send(self, frame: bytes) -> None:
        """Send a frame."""
        self._socket.send(frame)

    def receive(self) -> bytes:
        """Return the next frame. Raises TimeoutError if there is none."""
        frame, auxiliary, _, _ = self._socket.recvmsg(1 << 16, 64)
        for level, kind, data in auxiliary:
            if (level, kind) == (263, 8):
                status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", data)
                if status & 0x10:
                    frame = frame[:12] + struct.pack("!HH", tpid if status & 0x40 else 0x8100, tci) + frame[12:]
        return frame

    def waiting(self) -> list[bytes]:
        """Return the frames that have arrived."""
        self._socket.setblocking(False)
        found = []
        try:
            while True:
                found.append(self.receive())
        except BlockingIOError:
            return found
        finally:
            self._socket.settimeout(PATIENCE)

    def __enter__(self) -> Host:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
