"""Packets in tests: the forms in which they are given, and packets that left a switch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import SupportsBytes

from midflight.errors import MidflightError
from midflight.testbed.stf.fielddiff import Pattern

__all__ = ["Packet", "Received", "as_bytes", "as_pattern"]

Packet = bytes | bytearray | str | SupportsBytes
"""A packet: bytes, hexadecimal digits with or without spaces, or what `bytes()` takes, such as a packet of scapy."""


@dataclass(frozen=True, slots=True)
class Received:
    """A packet that left a switch by `port`.

    `fields` has the values of its header fields by name, such as "ipv4.ttl": those that the program's parser extracts
    when the packet arrives by the same port. `received["ipv4.ttl"]` is short for `received.fields["ipv4.ttl"]`. Two
    are equal if port and bytes are.
    """

    port: int
    data: bytes
    fields: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    def __bytes__(self) -> bytes:
        return self.data

    def __getitem__(self, name: str) -> int:
        """Return the value of a field. MidflightError, with the fields that there are, if the packet has none of this
        name.
        """
        if name not in self.fields:
            known = ", ".join(self.fields) or "(none)"
            raise MidflightError(f"the packet has no field {name!r}", hint=f"its fields are {known}")
        return self.fields[name]


def as_bytes(packet: Packet) -> bytes:
    """Return the bytes of a packet in any form. MidflightError for a text that is not pairs of hexadecimal digits."""
    if isinstance(packet, str):
        try:
            return bytes.fromhex(packet)
        except ValueError:
            raise MidflightError(f"{packet[:40]!r} is not a packet", hint="give bytes or pairs of hex digits") from None
    return bytes(packet)


def as_pattern(packet: Packet) -> Pattern:
    """Return the pattern for a packet in any form. In a text, `*` stands for any hexadecimal digit.

    MidflightError for a text that is not pairs of such digits.
    """
    if not isinstance(packet, str) or "*" not in packet:
        data = as_bytes(packet)
        return Pattern(data, b"\xff" * len(data))
    digits = "".join(packet.split())
    data = as_bytes(digits.replace("*", "0"))
    return Pattern(data, bytes.fromhex("".join("0" if each == "*" else "f" for each in digits)))
