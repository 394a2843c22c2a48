"""Constants of Linux's packet sockets: options, flags, and field offsets of the kernel's structures.

From the kernel's uapi headers if_packet.h, virtio_net.h, poll.h, and for 64-bit systems socket.h.
"""

from __future__ import annotations

import platform

__all__: list[str] = []  # used with the module's name: linux.TPACKET_V2

# setsockopt(SOL_PACKET, ...)
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_RX_RING = 5
PACKET_STATISTICS = 6
PACKET_VERSION = 10
PACKET_VNET_HDR = 15
PACKET_QDISC_BYPASS = 20
PACKET_IGNORE_OUTGOING = 23
PACKET_MR_PROMISC = 1
TPACKET_V2 = 1
ETH_P_ALL = 3

SO_ATTACH_FILTER, SO_MEMINFO = 26, 55
MEMINFO_WORDS, MEMINFO_DROPS = 9, 8
SO_RCVBUFFORCE, SO_SNDBUFFORCE = 33, 32

# ioctl
SIOCGIFFLAGS, SIOCGIFMTU = 0x8913, 0x8921
IFF_RUNNING = 0x40

# struct tpacket2_hdr
STATUS, LENGTH, CAPTURED, MAC, SECONDS, NANOSECONDS, VLAN_TCI, VLAN_TPID = 0, 4, 8, 12, 16, 20, 24, 26
STATUS_USER, STATUS_VLAN_VALID, STATUS_VLAN_TPID_VALID = 1, 1 << 4, 1 << 6

# struct virtio_net_hdr, directly before the packet
VNET_SIZE = 10
VNET_FLAGS, VNET_GSO_TYPE, VNET_CSUM_START, VNET_CSUM_OFFSET = 0, 1, 6, 8
VNET_NEEDS_CSUM = 1

# struct pollfd
POLLFD, POLLFD_RETURNED = 8, 6
POLLIN, POLLERR, POLLHUP, POLLNVAL = 1, 8, 16, 32

# struct iovec and struct mmsghdr
IOVEC, MMSGHDR = 16, 64
MMSGHDR_NAME, MMSGHDR_NAMELEN, MMSGHDR_IOV, MMSGHDR_IOVLEN, MMSGHDR_LENGTH = 0, 8, 16, 24, 56

# struct sockaddr_in: the family, port and address are its first eight bytes
SOCKADDR = 16

# struct timespec
CLOCK_REALTIME, CLOCK_MONOTONIC = 0, 1

SOL_SOCKET, SO_ERROR = 1, 4
MSG_TRUNC, MSG_DONTWAIT = 0x20, 0x40
EINTR, ENXIO, EAGAIN, ENODEV, ENETDOWN = 4, 6, 11, 19, 100

FUTEX_WAIT_PRIVATE, FUTEX_WAKE_PRIVATE = 128, 129


def futex_number() -> int:
    """Return the number of the futex system call on this machine's architecture."""
    return {"x86_64": 202, "ppc64le": 221, "s390x": 238}.get(platform.machine(), 98)
