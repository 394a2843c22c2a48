"""A UDP port of the switch: a socket that carries Ethernet frames between processes, one in each datagram.

It needs no privileges. The native loop receives into a ring whose frames have the form of a packet socket's, so
everything after that is the same for both kinds of ports.
"""

from __future__ import annotations

import os
import socket
import struct
from types import TracebackType
from typing import Self

import numpy as np
from llvmlite import ir as ll
from numpy.typing import NDArray

from midflight.errors import DeviceError
from midflight.runtime.engine.builder import POINTER
from midflight.runtime.engine.ports import linux
from midflight.runtime.engine.ports.interface import refuse
from midflight.runtime.engine.ports.native import NativeModule
from midflight.runtime.engine.ports.records import BATCH, Port
from midflight.runtime.engine.ports.spec import UdpPort

__all__ = ["DatagramPort", "build_fill"]

# Bytes of a frame in the ring, and those before the packet: the header of a packet socket's ring and of virtio.
FRAME, HEAD = 1 << 14, 64
BUFFER = 1 << 22


class DatagramPort:
    """The switch's side of a UDP port, with a socket bound to its address. A context manager that closes it.

    Each datagram is one Ethernet frame of at most 16,320 bytes; larger ones are dropped as "oversize". With a peer,
    only its datagrams are received. Without one, frames go to where the latest datagram came from, and nowhere before
    the first one. DeviceError if the address cannot be bound, or the peer is not reachable from it.
    """

    def __init__(self, spec: UdpPort) -> None:
        self.name = "udp:{}:{}".format(*spec.address)
        self.fault = f"nobody receives at the other end of {self.name}"
        self.frame, self.frames = FRAME, BATCH
        self.up = True
        self._lost = 0
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver = self.sender = made
        try:
            made.setblocking(False)
            for plain, forced in ((socket.SO_RCVBUF, linux.SO_RCVBUFFORCE), (socket.SO_SNDBUF, linux.SO_SNDBUFFORCE)):
                try:
                    made.setsockopt(socket.SOL_SOCKET, forced, BUFFER)
                except PermissionError:
                    made.setsockopt(socket.SOL_SOCKET, plain, BUFFER)
            made.bind(spec.address)
            if spec.peer is not None:
                made.connect(spec.peer)
        except OSError as error:
            made.close()
            raise DeviceError(f"port {self.name}: {os.strerror(error.errno or 0)}") from None
        self._lay_out(connected=spec.peer is not None)

    def _lay_out(self, *, connected: bool) -> None:
        """Create the ring, and the messages whose vectors refer to its frames."""
        self.ring: NDArray[np.uint8] = np.zeros(BATCH * FRAME, np.uint8)
        starts = self.ring.ctypes.data + FRAME * np.arange(BATCH, dtype=np.uint64)
        self.ring.reshape(BATCH, FRAME)[:, linux.MAC : linux.MAC + 2].view(np.uint16)[:] = HEAD
        self._addresses: NDArray[np.uint64] = np.zeros((2, linux.SOCKADDR // 8), np.uint64)
        self.source = self._addresses[0].ctypes.data
        self.peer = 0 if connected else self._addresses[1].ctypes.data
        self._vectors: NDArray[np.uint64] = np.stack([starts + HEAD, np.full(BATCH, FRAME - HEAD, np.uint64)], axis=1)
        self._messages: NDArray[np.uint64] = np.zeros((BATCH, linux.MMSGHDR // 8), np.uint64)
        vectors = self._vectors.ctypes.data + linux.IOVEC * np.arange(BATCH, dtype=np.uint64)
        self._messages[:, linux.MMSGHDR_NAME // 8] = self.source
        self._messages.view(np.uint32)[:, linux.MMSGHDR_NAMELEN // 4] = linux.SOCKADDR
        self._messages[:, linux.MMSGHDR_IOV // 8] = vectors
        self._messages[:, linux.MMSGHDR_IOVLEN // 8] = 1
        self.mail = self._messages.ctypes.data

    def refuse(self) -> None:
        """Stop receiving packets. Those that have arrived are still processed."""
        refuse(self.receiver)

    def send(self, packet: bytes) -> None:
        """Send a packet immediately. OSError if it cannot be sent, as before a peer is known."""
        if self.peer:
            family, port, address = struct.unpack("=H2s4s", self._addresses[1].tobytes()[:8])
            if family != socket.AF_INET:
                raise OSError("no datagram has arrived yet")
            where = socket.inet_ntoa(address), int.from_bytes(port, "big")
            self.sender.sendto(packet, linux.MSG_DONTWAIT, where)
        else:
            self.sender.send(packet, linux.MSG_DONTWAIT)

    def overrun(self) -> int:
        """Return the number of datagrams so far that were dropped because the socket's buffer was full."""
        if self.receiver.fileno() >= 0:
            found = self.receiver.getsockopt(socket.SOL_SOCKET, linux.SO_MEMINFO, 4 * linux.MEMINFO_WORDS)
            self._lost = struct.unpack(f"{linux.MEMINFO_WORDS}I", found)[linux.MEMINFO_DROPS]
        return self._lost

    def close(self) -> None:
        """Close the socket. May be called more than once."""
        self.overrun()
        self.up = False
        self.receiver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def build_fill(unit: NativeModule) -> ll.Function:
    """Build the function `fill(context, port)`, which receives the datagrams of a UDP port into its empty ring.

    It does nothing for a Linux interface. The ring must be empty, as it is after `release`.
    """
    code = unit.routine("fill", [POINTER])
    b = code.b
    port = code.function.args[1]
    with code.when(b.icmp_unsigned("==", code.field(port, Port.MAIL), code.i64(0))):
        b.ret_void()
    mail, socket = code.load_pointer(code.at(port, Port.MAIL)), code.resize(code.field(port, Port.SOCKET), 32)
    flags, none = code.i32(linux.MSG_DONTWAIT | linux.MSG_TRUNC), ll.Constant(POINTER, None)
    took = code.libc("recvmmsg", [socket, mail, code.i32(BATCH), flags, none])
    with code.when(b.icmp_signed("<=", took, code.i32(0))):
        b.ret_void()
    time = code.allocate(16)
    code.libc("clock_gettime", [code.i32(linux.CLOCK_REALTIME), time])
    base, size, room = code.load_pointer(code.at(port, Port.RING)), code.field(port, Port.FRAME), code.i32(FRAME - HEAD)
    with code.loop(took) as number:
        message, frame = code.index(mail, number, linux.MMSGHDR), code.index(base, number, size)
        length = code.load(code.at(message, linux.MMSGHDR_LENGTH), 32)
        captured = b.select(b.icmp_unsigned(">", length, room), room, length)
        for offset, value in (
            (linux.LENGTH, length),
            (linux.CAPTURED, captured),
            (linux.SECONDS, code.resize(code.field(time, 0), 32)),
            (linux.NANOSECONDS, code.resize(code.field(time, 8), 32)),
            (linux.STATUS, code.i32(linux.STATUS_USER)),
        ):
            code.store(value, code.at(frame, offset))
        code.store(code.i32(linux.SOCKADDR), code.at(message, linux.MMSGHDR_NAMELEN))
    code.set_field(port, Port.HEAD, code.i64(0))
    with code.when(b.icmp_unsigned("!=", code.field(port, Port.PEER), code.i64(0))):
        latest = code.load(code.load_pointer(code.at(port, Port.SOURCE)), 64)
        code.exchange(code.load_pointer(code.at(port, Port.PEER)), latest)
    b.ret_void()
    return code.function
