"""A Linux network interface as a port: its packet sockets, and the ring that receives its packets."""

from __future__ import annotations

import fcntl
import mmap
import socket
import struct
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from midflight.errors import DeviceError
from midflight.runtime.engine.ports import linux

__all__ = ["Interface", "is_up", "refuse"]

RING_BYTES = 1 << 23
BLOCK = 1 << 16
# Bytes of a frame besides the packet: the kernel's header, its alignment, and a VLAN tag.
OVERHEAD = 160
SEND_BUFFER = 1 << 24
RIGHTS = "run it with sudo or grant it CAP_NET_RAW; ports of pcap files need no privileges"


class Interface:
    """Two packet sockets bound to one network interface: one receives into a ring shared with the kernel, one sends.

    Packets are whole Ethernet frames, to any destination, except those that this process sent. The frame size follows
    from the interface's MTU at the time of creation. DeviceError if the interface does not exist or may not be used. A
    context manager that closes it.
    """

    mail = source = peer = 0  # only a UDP port has these addresses

    def __init__(self, name: str) -> None:
        self.name = name
        self.fault = f"interface {name} has gone down"
        self.lost = 0
        self._open: list[socket.socket] = []
        try:
            index = socket.if_nametoindex(name)
        except OSError:
            raise DeviceError(f"there is no interface {name}", hint=f"the interfaces are {_names()}") from None
        try:
            self.receiver, self.sender = (self._socket() for _ in range(2))
            self._prepare(index)
        except PermissionError:
            self.close()
            raise DeviceError(f"no permission to capture packets of {name}", hint=RIGHTS) from None
        except OSError as error:
            self.close()
            raise DeviceError(f"interface {name}: {error.strerror}") from None

    def _socket(self) -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._open.append(made)
        return made

    def _prepare(self, index: int) -> None:
        receiver, sender, name = self.receiver, self.sender, self.name
        mtu = _mtu(receiver, name)
        self.frame = 1 << (mtu + OVERHEAD - 1).bit_length()
        block = max(BLOCK, self.frame)
        blocks = max(RING_BYTES // block, 8)
        self.frames = blocks * (block // self.frame)
        for option, value in (
            (linux.PACKET_VERSION, linux.TPACKET_V2),
            (linux.PACKET_VNET_HDR, 1),
            (linux.PACKET_IGNORE_OUTGOING, 1),
        ):
            receiver.setsockopt(linux.SOL_PACKET, option, value)
        ring = struct.pack("IIII", block, blocks, self.frame, self.frames)
        receiver.setsockopt(linux.SOL_PACKET, linux.PACKET_RX_RING, ring)
        self._memory = mmap.mmap(receiver.fileno(), block * blocks)
        self.ring: NDArray[np.uint8] = np.frombuffer(self._memory, np.uint8)
        everything = struct.pack("iHH8s", index, linux.PACKET_MR_PROMISC, 0, b"")
        receiver.setsockopt(linux.SOL_PACKET, linux.PACKET_ADD_MEMBERSHIP, everything)
        receiver.bind((name, linux.ETH_P_ALL))
        sender.setsockopt(linux.SOL_PACKET, linux.PACKET_QDISC_BYPASS, 1)
        try:
            sender.setsockopt(socket.SOL_SOCKET, linux.SO_SNDBUFFORCE, SEND_BUFFER)
        except PermissionError:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        sender.bind((name, 0))

    @property
    def up(self) -> bool:
        """Whether the interface is up and has a link; False if it no longer exists or was closed."""
        return is_up(self.sender, self.name)

    def refuse(self) -> None:
        """Stop receiving packets. Those in the ring stay there."""
        refuse(self.receiver)

    def send(self, packet: bytes) -> None:
        """Send a packet immediately. OSError if the interface rejects it."""
        self.sender.send(packet, linux.MSG_DONTWAIT)

    def overrun(self) -> int:
        """Return the number of packets so far that were dropped because the ring was full."""
        if self.receiver.fileno() >= 0:
            found = self.receiver.getsockopt(linux.SOL_PACKET, linux.PACKET_STATISTICS, 8)
            self.lost += struct.unpack("II", found)[1]
        return self.lost

    def close(self) -> None:
        """Close the sockets and unmap the ring, which must not be used afterwards. May be called more than once."""
        if self._open and hasattr(self, "ring"):
            self.overrun()
            del self.ring
            self._memory.close()
        for each in self._open:
            each.close()
        self._open.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _mtu(any_socket: socket.socket, name: str) -> int:
    request = struct.pack("16sI12x", name.encode(), 0)
    found: int = struct.unpack("16sI12x", fcntl.ioctl(any_socket, linux.SIOCGIFMTU, request))[1]
    return found


def _names() -> str:
    return ", ".join(name for _, name in socket.if_nameindex())


def refuse(sock: socket.socket) -> None:
    """Make a socket drop all packets that arrive from now on."""
    nothing = np.frombuffer(struct.pack("HBBI", 0x06, 0, 0, 0), np.uint8)  # BPF: return 0
    program = struct.pack("HxxxxxxP", 1, nothing.ctypes.data)
    sock.setsockopt(socket.SOL_SOCKET, linux.SO_ATTACH_FILTER, program)


def is_up(sock: socket.socket, name: str) -> bool:
    """Return whether the interface `name`, in the namespace of a socket, is up and has a link."""
    try:
        found = fcntl.ioctl(sock.fileno(), linux.SIOCGIFFLAGS, struct.pack("16s16x", name.encode()))
    except (OSError, ValueError):
        return False
    flags: int = struct.unpack_from("H", found, 16)[0]
    return bool(flags & linux.IFF_RUNNING)
