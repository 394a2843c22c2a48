"""Differences between the packets that a case expects and those that a switch sent, in words: field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address

import numpy as np

from midflight.errors import WireError
from midflight.primitives.wire import COMMON, COMMON_FIELDS, Schema

__all__ = ["described", "field_differences", "packet_differences"]

_SHOWN = 4
"""How many packets, and how many elements of an array, a text names."""

# Fields of frames by name: the first byte and that after the last one.
_ETHERNET = {"ethernet destination": (0, 6), "ethernet source": (6, 12), "ethernet type": (12, 14)}
_IPV4 = {
    "IP version and header length": (14, 15), "IP type of service": (15, 16), "IP length": (16, 18),
    "IP identification": (18, 20), "IP flags and fragment": (20, 22), "TTL": (22, 23), "IP protocol": (23, 24),
    "IP checksum": (24, 26), "IP source": (26, 30), "IP destination": (30, 34),
}  # fmt: skip
_IPV6 = {
    "IP version, class and flow": (14, 18), "IP length": (18, 20), "IP next header": (20, 21), "hop limit": (21, 22),
    "IP source": (22, 38), "IP destination": (38, 54),
}  # fmt: skip
_UDP = ("UDP source port", "UDP destination port", "UDP length", "UDP checksum")


def described(
    schema: Schema, came: Sequence[tuple[int, bytes]], expected: Sequence[tuple[int, bytes]], first: int = 0
) -> list[str]:
    """Return how the packets that came, as (port, packet) pairs, differ from the expected ones; [] if they do not.

    `schema` decodes the headers of applications. `first` is the byte at which the compared part of all packets begins.
    A packet is compared with the one that is expected by the same port; of several by one port, in the order of their
    bytes.
    """
    if sorted(came) == sorted(expected):
        return []
    if not came:
        return [f"the packet is dropped, must leave by {_ports(expected)}"]
    if not expected:
        return [f"the packet leaves by {_ports(came)}, must be dropped"]
    if sorted(port for port, _ in came) != sorted(port for port, _ in expected):
        return [f"leaves by {_ports(came)}, must leave by {_ports(expected)}"]
    said = []
    for (port, has), (_, must) in zip(sorted(came), sorted(expected), strict=True):
        where = f"by port {port}, " if len(expected) > 1 else ""
        said += [f"{where}{each}" for each in packet_differences(schema, has[first:], must[first:])]
    return said


def packet_differences(schema: Schema, has: bytes, must: bytes) -> list[str]:
    """Return the differences of a frame from the expected one, as texts such as "values[0] is 13, must be 12".

    [] if they are equal.
    """
    if has == must:
        return []
    said = [] if len(has) == len(must) else [f"the packet has {len(has)} bytes, must have {len(must)}"]
    fields, end = _frame(must)
    for name, (first, last) in fields.items():
        if has[first:last] != must[first:last] and len(has) >= last:
            said.append(f"{name} is {_shown(name, has[first:last])}, must be {_shown(name, must[first:last])}")
    return said + _payload(schema, has[end:], must[end:], end)


def field_differences(has: Mapping[str, object], must: Mapping[str, object]) -> list[str]:
    """Return the differences of an application's fields from the expected ones; those of arrays by element.

    Values are ints, or sequences or arrays of ints.
    """
    said: list[str] = []
    for name, expected in must.items():
        if name not in has:
            said.append(f"{name} is missing, must be {expected}")
            continue
        one, other = (np.asarray(each, dtype=object) for each in (has[name], expected))
        if one.shape != other.shape:
            said.append(f"{name} has {one.size} elements, must have {other.size}")
        elif not one.shape:
            said += [f"{name} is {one}, must be {other}"] if int(one) != int(other) else []
        else:
            wrong = [at for at in range(one.size) if int(one[at]) != int(other[at])]
            said += [f"{name}[{at}] is {one[at]}, must be {other[at]}" for at in wrong[:_SHOWN]]
            if len(wrong) > _SHOWN:
                said.append(f"and {len(wrong) - _SHOWN} other elements of {name}")
    return said + [f"{name} is {value}, must be absent" for name, value in has.items() if name not in must]


def _frame(packet: bytes) -> tuple[dict[str, tuple[int, int]], int]:
    """Return the places of a frame's fields, and the end of its headers."""
    if packet[12:14] == b"\x08\x00" and len(packet) >= 42:
        network, end = _IPV4, 34
    elif packet[12:14] == b"\x86\xdd" and len(packet) >= 62:
        network, end = _IPV6, 54
    else:
        return (_ETHERNET, 14) if len(packet) >= 14 else ({}, 0)
    ports = {name: (end + 2 * number, end + 2 * number + 2) for number, name in enumerate(_UDP)}
    return {**_ETHERNET, **network, **ports}, end + 8


def _payload(schema: Schema, has: bytes, must: bytes, start: int) -> list[str]:
    if has == must:
        return []
    said, at = [], 0
    for name, bits in COMMON_FIELDS:
        one, other = (int.from_bytes(each[at : at + bits // 8], "big") for each in (has, must))
        at += bits // 8
        if one != other and min(len(has), len(must)) >= COMMON:
            said.append(f"{name} is {one}, must be {other}")
    try:
        one_, other_ = schema.decode(has), schema.decode(must)
    except WireError:
        return said or list(_bytes(has, must, start))
    found = said + field_differences(one_.fields, other_.fields)
    if one_.payload != other_.payload:
        found += _bytes(one_.payload, other_.payload, start + len(must) - len(other_.payload))
    return found


def _bytes(has: bytes, must: bytes, start: int) -> Iterator[str]:
    wrong = [at for at, (one, other) in enumerate(zip(has, must, strict=False)) if one != other]
    if wrong:
        at = wrong[0]
        yield f"byte {start + at} is {has[at]:#04x}, must be {must[at]:#04x}"


def _shown(name: str, data: bytes) -> str:
    if len(data) == 6:
        return data.hex(":")
    if name in ("IP source", "IP destination"):
        return str(ip_address(data))
    return str(int.from_bytes(data, "big"))


def _ports(packets: Sequence[tuple[int, bytes]]) -> str:
    numbers = sorted(port for port, _ in packets)
    shown = ", ".join(map(str, numbers[:_SHOWN])) + (", ..." if len(numbers) > _SHOWN else "")
    return f"port {shown}" if len(numbers) == 1 else f"ports {shown}"
