"""The little network that every case plays in, and what its frames look like: written down apart from the P4.

Hosts 1 to 4 sit on ports 1 to 4 of one switch. 1 to 3 are the members of every application, 4 is the server that
requests are addressed to. What applications mirror leaves by port 5. A host has an IPv4 address, and an IPv6 address
with the other at its end; cases tell which of them it goes by.
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
SERVER = 4
MIRROR = 5
EPOCH = 5
ROUTER_MAC = 0x02_00_00_00_00_63
REQUEST_PORT = 5000
_IPV6 = IPv6Address("64:ff9b:1::")


def mac(host: int) -> int:
    """Return a host's MAC address."""
    return 0x02_00_00_00_00_00 + host


@cache
def address(host: int, *, ipv6: bool = False) -> IPAddress:
    """Return a host's address."""
    return in_family(IPv4Address("10.0.0.0") + host, ipv6=ipv6)


def in_family(address: IPAddress, *, ipv6: bool) -> IPAddress:
    """Return an IPv4 address, or the one at the end of an IPv6 address, as an address of one of the families."""
    if ipv6:
        return address if isinstance(address, IPv6Address) else _IPV6 + int(address)
    return IPv4Address(int(address) & 0xFFFF_FFFF)


def result_port(host: int) -> int:
    """Return the UDP port behind which a member listens to results."""
    return 7000 + host


def ipv4_header(length: int, ttl: int, source: IPAddress, destination: IPAddress, *, atomic: bool = False) -> bytes:
    """Return a header without options (RFC 791) for a UDP payload of `length` bytes, its checksum right."""
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
    """An Ethernet frame with UDP over IPv4 or IPv6, as its addresses are.

    A UDP checksum of 0 claims none, as RFC 768 allows over IPv4. Over IPv6, where RFC 8200 wants one, it is the right
    one. Over IPv4, `atomic` tells that routers must not fragment it.
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
        """Return the frame in which a host asks for something to be computed on.

        Over IPv4 its UDP checksum is any number but 0: a switch that changes the payload must take it away, others
        keep it.
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
