"""Packets that leave the switch of the conformance cases' network after a kernel's verdict."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from midflight.primitives import Verdict
from midflight.primitives.wire import RESULT, UDP_PORT
from midflight.testbed.conformance.network import MEMBERS, SERVER, Frame, address, in_family, mac, result_port

__all__ = ["HOSTS", "leaving"]

HOSTS = {address(host, ipv6=ipv6): host for host in (*MEMBERS, SERVER) for ipv6 in (False, True)}
"""The numbers of the hosts by address, of either family."""


def leaving(verdict: Verdict, port: int, frame: Frame, ipv6: Collection[int] = ()) -> tuple[tuple[int, bytes], ...]:
    """Return (port, packet) pairs for the packets that leave after a kernel's verdict, ordered by port.

    `frame` arrived by `port` and contains the kernel's answer. A forwarded packet leaves only if its destination is a
    host of the network and its TTL is at least 2. A multicast leaves to all members; `ipv6` are the numbers of those
    that receive results over IPv6. Nothing leaves for other verdicts.
    """
    match verdict:
        case Verdict.FORWARD | Verdict.FALLBACK:
            return _forward(frame)
        case Verdict.REPLY:
            return ((port, bytes(_reply(frame))),)
        case Verdict.MULTICAST:
            return tuple((member, bytes(_copy(frame, member, ipv6=member in ipv6))) for member in MEMBERS)
        case _:
            return ()


def _forward(frame: Frame) -> tuple[tuple[int, bytes], ...]:
    host = HOSTS.get(frame.destination)
    if host is None or frame.ttl <= 1:
        return ()
    routed = replace(frame, source_mac=frame.destination_mac, destination_mac=mac(host), ttl=frame.ttl - 1)
    return ((host, bytes(routed)),)


def _reply(frame: Frame) -> Frame:
    return replace(
        frame,
        source_mac=frame.destination_mac,
        destination_mac=frame.source_mac,
        source=frame.destination,
        destination=frame.source,
        ttl=64,
        source_port=frame.destination_port,
        destination_port=frame.source_port,
        payload=_result(frame.payload),
    )


def _copy(frame: Frame, member: int, *, ipv6: bool) -> Frame:
    source = in_family(frame.destination, ipv6=ipv6)
    return replace(
        frame,
        source_mac=frame.destination_mac,
        destination_mac=mac(member),
        source=source,
        destination=address(member, ipv6=ipv6),
        ttl=64,
        atomic=source != frame.destination,
        source_port=UDP_PORT,
        destination_port=result_port(member),
        payload=_result(frame.payload),
    )


def _result(payload: bytes) -> bytes:
    return payload[:1] + bytes([RESULT]) + payload[2:]
