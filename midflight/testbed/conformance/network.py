"""The little network that every case plays in, and what its frames look like: written down apart from the P4.

Hosts 1 to 4 sit on ports 1 to 4 of one switch. 1 to 3 are the members of every application, 4 is the server that
requests are addressed to. What applications mirror leaves by port 5.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address

from midflight.primitives.wire import UDP_PORT

__all__ = [
    "EPOCH",
    "MEMBERS",
    "MIRROR",
    "ROUTER_MAC",
    "SERVER",
    "Frame",
    "address",
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


def mac(host: int) -> int:
    """Return a host's MAC address."""
    return 0x02_00_00_00_00_00 + host


@cache
def address(host: int) -> IPv4Address:
    """Return a host's IPv4 address."""
    return IPv4Address("10.0.0.0") + host


def result_port(host: int) -> int:
    """Return the UDP port behind which a member listens to results."""
    return 7000 + host


def ipv4_header(length: int, ttl: int, source: IPv4Address, destination: IPv4Address) -> bytes:
    """Return a header without options (RFC 791) for a UDP payload of `length` bytes, its checksum right."""
    header = struct.pack("!BBHHHBBHII", 0x45, 0, 28 + length, 0, 0, ttl, 17, 0, int(source), int(destination))
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return header[:10] + struct.pack("!H", total ^ 0xFFFF) + header[12:]


@dataclass(frozen=True, slots=True)
class Frame:
    """An Ethernet frame with UDP over IPv4. A UDP checksum of 0 claims none, as RFC 768 allows over IPv4."""

    source_mac: int
    destination_mac: int
    source: IPv4Address
    destination: IPv4Address
    ttl: int
    source_port: int
    destination_port: int
    payload: bytes
    checksum: int = 0

    @classmethod
    def request(cls, host: int, payload: bytes, *, to: int = SERVER, ttl: int = 10) -> Frame:
        """Return the frame in which a host asks for something to be computed on.

        Its UDP checksum is any number but 0: a switch that changes the payload must take it away, others keep it.
        """
        return cls(mac(host), ROUTER_MAC, address(host), address(to), ttl, REQUEST_PORT, UDP_PORT, payload, 0xBEEF)

    def __bytes__(self) -> bytes:
        length = len(self.payload)
        return (
            self.destination_mac.to_bytes(6, "big")
            + self.source_mac.to_bytes(6, "big")
            + b"\x08\x00"
            + ipv4_header(length, self.ttl, self.source, self.destination)
            + struct.pack("!HHHH", self.source_port, self.destination_port, 8 + length, self.checksum)
            + self.payload
        )
