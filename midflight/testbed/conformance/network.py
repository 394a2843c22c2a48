"""The network of every case and the format of its frames, implemented independently of the P4.

Hosts 1 to 4 are on ports 1 to 4 of one switch. 1 to 3 are the members of every application, and 4 is the server that
requests are addressed to. Mirrored packets leave by port 5. A host has an IPv4 address, and an IPv6 address that embeds
it; a case defines which of them it uses.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address

from midflight.primitives.wire import UDP_PORT
from midflight.runtime.steering.graph import IPAddress

__all__ = [
    "EPOCH",
    "MEMBERS",
    "MIRROR",
    "ROUTER_MAC",
    "SERVER",
    "Frame",
    "address",
    "in_family",
    "ipv4_header",
    "mac",
    "result_port",
]

MEMBERS = (1, 2, 3)
"""The numbers of the hosts that are members of every application, which are also their switch ports."""

SERVER = 4
"""The number of the host that requests are addressed to, which is also its switch port."""

MIRROR = 5
"""The switch port by which mirrored packets leave."""

EPOCH = 5
"""The epoch of the switch: the 16-bit serial number that results carry, which the admission sets."""

ROUTER_MAC = 0x02_00_00_00_00_63
"""The MAC address of the switch, to which hosts send all frames."""

REQUEST_PORT = 5000
_IPV6 = IPv6Address("64:ff9b:1::")


def mac(host: int) -> int:
    """Return the MAC address of the host with this number, as a 48-bit integer."""
    return 0x02_00_00_00_00_00 + host


@cache
def address(host: int, *, ipv6: bool = False) -> IPAddress:
    """Return the IPv4 or IPv6 address of the host with this number: 10.0.0.n, or the IPv6 address that embeds it."""
    return in_family(IPv4Address("10.0.0.0") + host, ipv6=ipv6)


def in_family(address: IPAddress, *, ipv6: bool) -> IPAddress:
    """Return an address as IPv6 (by embedding) if `ipv6`, otherwise as IPv4 (its last 32 bits)."""
    if ipv6:
        return address if isinstance(address, IPv6Address) else _IPV6 + int(address)
    return IPv4Address(int(address) & 0xFFFF_FFFF)


def result_port(host: int) -> int:
    """Return the UDP port at which the host with this number receives results: 7000 + host."""
    return 7000 + host


def ipv4_header(length: int, ttl: int, source: IPAddress, destination: IPAddress, *, atomic: bool = False) -> bytes:
    """Return an IPv4 header without options (RFC 791), with a correct checksum, for a UDP payload of `length` bytes.

    `atomic` sets the don't-fragment flag.
    """
    flags = 0x4000 if atomic else 0
    header = struct.pack("!BBHHHBBHII", 0x45, 0, 28 + length, 0, flags, ttl, 17, 0, int(source), int(destination))
    return header[:10] + struct.pack("!H", _checksum(header)) + header[12:]


def _checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


@dataclass(frozen=True, slots=True)
class Frame:
    """An Ethernet frame with UDP over IPv4 or IPv6, according to its addresses. `bytes(frame)` encodes it.

    MAC addresses are 48-bit integers; `source_port` and `destination_port` are UDP ports. Over IPv4 a UDP checksum of 0
    means that there is none (RFC 768). Over IPv6 a checksum is required (RFC 8200), so 0 is replaced by the correct
    one. `atomic` sets the don't-fragment flag over IPv4.
    """

    source_mac: int
    destination_mac: int
    source: IPAddress
    destination: IPAddress
    ttl: int
    source_port: int
    destination_port: int
    payload: bytes
    checksum: int = 0
    atomic: bool = False

    @classmethod
    def request(cls, host: int, payload: bytes, *, to: int = SERVER, ttl: int = 10, ipv6: bool = False) -> Frame:
        """Return the frame of a request that host number `host` sends to host number `to`, by default the server.

        Over IPv4 its UDP checksum is arbitrary but not 0: a switch that changes the payload has to remove it, and
        others keep it.
        """
        addresses = address(host, ipv6=ipv6), address(to, ipv6=ipv6)
        return cls(mac(host), ROUTER_MAC, *addresses, ttl, REQUEST_PORT, UDP_PORT, payload, 0 if ipv6 else 0xBEEF)

    def __bytes__(self) -> bytes:
        length, checksum = len(self.payload), self.checksum
        ports = struct.pack("!HHH", self.source_port, self.destination_port, 8 + length)
        if isinstance(self.source, IPv6Address):
            addresses = self.source.packed + self.destination.packed
            header = b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, 8 + length, 17, self.ttl) + addresses
            pseudo = addresses + struct.pack("!II", 8 + length, 17)
            checksum = checksum or _checksum(pseudo + ports + bytes(2) + self.payload) or 0xFFFF
        else:
            header = b"\x08\x00" + ipv4_header(length, self.ttl, self.source, self.destination, atomic=self.atomic)
        macs = self.destination_mac.to_bytes(6, "big") + self.source_mac.to_bytes(6, "big")
        return macs + header + ports + struct.pack("!H", checksum) + self.payload
