"""Steering: the part of a program that forwards requests to the instances of services, as CATS (RFC 10053) does."""

from __future__ import annotations

from dataclasses import dataclass, fields

from midflight.errors import KernelError

__all__ = ["FLOW_MULTIPLIER", "TUNNEL_PORT", "Steering", "bucket_of"]

TUNNEL_PORT = 19783
"""The UDP port of packets that one forwarder encapsulates for another. Packets of hosts to this port are dropped."""

FLOW_MULTIPLIER = 0x9E37_79B1
"""The multiplier of the hash of flows: a prime near 2**32 divided by the golden ratio (Knuth, TAOCP 3, section 6.4).

It spreads neighbouring addresses and ports evenly, and costs a packet a single multiplication.
"""


def bucket_of(source: int, source_port: int, destination_port: int, buckets: int) -> int:
    """Return the bucket, 0 to `buckets` - 1, of a flow, as every switch with `Steering` computes it.

    source: its IPv6 address as a number; an IPv4 address is mapped to 64:ff9b:1::/96. The ports are 0 for packets
    without ports. buckets: a power of two.
    """
    address = 0
    for shift in (96, 64, 32, 0):
        address ^= source >> shift & 0xFFFF_FFFF
    return (address ^ source_port << 16 ^ destination_port) * FLOW_MULTIPLIER % 2**32 * buckets >> 32


@dataclass(frozen=True, slots=True)
class Steering:
    """Compute-aware forwarding, as a part of a program: `Program(Aggregate(...), Steering())`.

    Parameters:
        services: how many services there may be, each an IPv4 or IPv6 address or prefix that all its instances share
            (CS-ID) (1 to 4096)
        rules: how many rules the traffic classifier (C-TC) has for all services (1 to 4096)
        pools: how many sets of instances share requests: one for each service, and one for each of its traffic classes
            (1 to 4096)
        buckets: how many buckets the flows of a pool are hashed to, a power of two (2 to 65536); it is the resolution
            of the weights
        instances: how many instances there may be (CSCI-ID) (1 to 65535)
        mtu: the largest IP packet between forwarders, in bytes (1328 to 65535). Requests that do not fit it when they
            are encapsulated are answered with ICMP's "fragmentation needed" or "packet too big"

    A program has at most one. `midflight.runtime.controller` writes its tables. Raises KernelError for a parameter
    outside these limits.
    """

    services: int = 64
    rules: int = 64
    pools: int = 64
    buckets: int = 256
    instances: int = 256
    mtu: int = 1500

    def __post_init__(self) -> None:
        most = {"buckets": 2**16, "instances": 2**16 - 1, "mtu": 2**16 - 1}
        for each in fields(self):
            value, low = getattr(self, each.name), {"buckets": 2, "mtu": 1328}.get(each.name, 1)
            high = most.get(each.name, 4096)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise KernelError(f"Steering: {each.name} must be {low} to {high}, not {value!r}")
        if self.buckets & (self.buckets - 1):
            raise KernelError(f"Steering: buckets must be a power of two, not {self.buckets}")
