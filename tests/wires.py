"""Interfaces in a network namespace of a test, with a raw socket at the far end of each. Requires root."""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import subprocess
import threading
from pathlib import Path
from types import TracebackType

__all__ = ["Wires"]

PATIENCE = 20.0
_CLONE_NEWNET = 0x40000000
_ETH_P_ALL = 3
_numbers = itertools.count(1)


class Wires:
    """A namespace `netns` with interfaces "p1", "p2", ... for a switch; `send` and `receive` are at their far ends."""

    def __init__(self, count: int) -> None:
        self.netns = f"midflight-test-{os.getpid()}-{next(_numbers)}"
        self.interfaces = {number: f"p{number}" for number in range(1, count + 1)}
        self._sockets: dict[int, socket.socket] = {}
        _ip("netns", "add", self.netns)
        try:
            for number, name in self.interfaces.items():
                _ip("-n", self.netns, "link", "add", name, "type", "veth", "peer", "name", f"h{number}")
            # A thread that enters the namespace cannot leave it, so this needs another thread.
            thread = threading.Thread(target=self._enter)
            thread.start()
            thread.join()
            assert len(self._sockets) == count, "the namespace could not be entered"
        except BaseException:
            self.close()
            raise

    def _enter(self) -> None:
        place = os.open(f"/run/netns/{self.netns}", os.O_RDONLY)
        try:
            assert ctypes.CDLL(None).setns(place, _CLONE_NEWNET) == 0
        finally:
            os.close(place)
        for kind in ("all", "default"):
            Path(f"/proc/sys/net/ipv6/conf/{kind}/disable_ipv6").write_text("1")  # the kernel sends nothing itself
        for number, name in self.interfaces.items():
            for each in (name, f"h{number}"):
                _ip("link", "set", each, "up")
            end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            end.bind((f"h{number}", 0))
            end.settimeout(PATIENCE)
            self._sockets[number] = end

    def send(self, port: int, packet: bytes) -> None:
        """Send a packet to a port of the switch."""
        self._sockets[port].send(packet)

    def receive(self, port: int) -> bytes:
        """Return the next packet that the switch sent through a port. Raises TimeoutError if there is none."""
        while True:
            packet, (_, _, kind, *_) = self._sockets[port].recvfrom(65536)
            if kind != socket.PACKET_OUTGOING:
                return packet

    def close(self) -> None:
        """Remove the namespace and all that is in it."""
        for each in self._sockets.values():
            each.close()
        subprocess.run(["ip", "netns", "del", self.netns], check=False)

    def __enter__(self) -> Wires:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
