"""Differences between an expected packet and one that a switch sent, by the header fields of a program."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from midflight.runtime.engine.matched import shown
from midflight.testbed.stf.fields import FieldAt

__all__ = ["Pattern", "differences", "values"]

_SHOWN = 64  # bytes of a packet that a message shows


@dataclass(frozen=True, slots=True)
class Pattern:
    """An expected packet: its bytes, and a mask of the same length with ones for the bits that must be equal."""

    data: bytes
    mask: bytes

    def matches(self, packet: bytes) -> bool:
        """Return whether a packet has the same length, and equal bits wherever the mask has ones."""
        return len(packet) == len(self.data) and not any(
            (one ^ other) & bits for one, other, bits in zip(self.data, packet, self.mask, strict=True)
        )

    def ignoring(self, fields: Iterable[FieldAt]) -> Pattern:
        """Return the pattern in which the bits of these fields may be anything. Fields beyond its end are ignored."""
        size = len(self.mask) * 8
        mask = int.from_bytes(self.mask, "big")
        for each in fields:
            shift = size - each.start - each.width
            if shift >= 0:
                mask &= ~((1 << each.width) - 1 << shift)
        return Pattern(self.data, mask.to_bytes(len(self.mask), "big"))


def values(fields: Sequence[FieldAt], packet: bytes) -> dict[str, int]:
    """Return the values of fields in a packet by name. Fields beyond its end are left out."""
    whole, size = int.from_bytes(packet, "big"), len(packet) * 8
    return {
        each.name: whole >> size - each.start - each.width & (1 << each.width) - 1
        for each in fields
        if each.start + each.width <= size
    }


def differences(wanted: Pattern, packet: bytes, fields: Sequence[FieldAt]) -> list[str]:
    """Return how a packet differs from a pattern: a text for each header field that differs, one for the length, and
    one for the bytes after the headers.

    `fields` are those of the expected packet. Empty if the packet matches.
    """
    if wanted.matches(packet):
        return []
    said = []
    if len(packet) != len(wanted.data):
        said.append(f"the packet has {len(packet)} bytes, must have {len(wanted.data)}")
    must, has, bits = (values(fields, each) for each in (wanted.data, packet, wanted.mask))
    end = 0
    for each in fields:
        if each.name not in must or each.name not in has:
            break
        end = each.start + each.width
        if (must[each.name] ^ has[each.name]) & bits[each.name]:
            is_, must_be = (shown(each.name, of[each.name], each.width) for of in (has, must))
            said.append(f"{each.name} is {is_}, must be {must_be}")
    start = end // 8
    rest = [
        at
        for at, (one, other, mask) in enumerate(zip(wanted.data, packet, wanted.mask, strict=False))
        if at >= start and (one ^ other) & mask
    ]
    if rest:
        first, last = rest[0], min(rest[-1], rest[0] + _SHOWN) + 1
        where = f"byte {first}" if last == first + 1 else f"bytes {first} to {last - 1}"
        verb = "is" if last == first + 1 else "are"
        said.append(f"{where} {verb} {packet[first:last].hex(' ', -4)}, must be {wanted.data[first:last].hex(' ', -4)}")
    return said
