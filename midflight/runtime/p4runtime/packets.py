"""Packet-in and packet-out headers: encoding of their fields (P4Runtime specification 1.5, section 6.4.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from finsy.proto import p4i, p4r

from midflight.runtime.p4runtime.status import Code, Refusal
from midflight.runtime.p4runtime.values import decode, encode

__all__ = ["Fields", "from_metadata", "header_bytes", "header_fields", "to_metadata"]

Fields = Sequence[p4i.ControllerPacketMetadata.Metadata]


def header_bytes(fields: Fields, values: Mapping[int, int], widths: Mapping[str, int]) -> bytes:
    """Return the header that precedes a packet's payload. `values` maps each metadata id to its value.

    `widths` are the widths of the header's fields in bits by name, which differ from those of the metadata where a type
    is translated. Raises Refusal with OUT_OF_RANGE for a value that does not fit its field.
    """
    total, whole = 0, 0
    for field in fields:
        width = widths[field.name]
        if values[field.id] >> width:
            raise Refusal(Code.OUT_OF_RANGE, f"packet metadata {field.name} does not fit {width} bits")
        total += width
        whole = whole << width | values[field.id]
    return whole.to_bytes(total // 8, "big")


def header_fields(fields: Fields, packet: bytes, widths: Mapping[str, int]) -> tuple[dict[int, int], bytes]:
    """Return the header's values by metadata id, and the bytes after the header. `widths` is as in `header_bytes`.

    Raises Refusal with INTERNAL if the packet is shorter than the header.
    """
    total = sum(widths[field.name] for field in fields)
    size = total // 8
    if len(packet) < size:
        raise Refusal(
            Code.INTERNAL, f"a packet of {len(packet)} bytes is too short for its {size}-byte controller header"
        )
    whole = int.from_bytes(packet[:size], "big")
    values = {}
    for field in fields:
        total -= widths[field.name]
        values[field.id] = whole >> total & (1 << widths[field.name]) - 1
    return values, packet[size:]


def from_metadata(fields: Fields, metadata: Sequence[p4r.PacketMetadata]) -> dict[int, int]:
    """Return the values of a packet's P4Runtime metadata, by metadata id.

    `fields` are those of the header. Refusal with INVALID_ARGUMENT unless each field occurs exactly once and its value
    fits.
    """
    known = {field.id: field for field in fields}
    values: dict[int, int] = {}
    for each in metadata:
        if each.metadata_id not in known:
            raise Refusal(Code.INVALID_ARGUMENT, f"unknown packet metadata id {each.metadata_id}")
        if each.metadata_id in values:
            raise Refusal(Code.INVALID_ARGUMENT, f"packet metadata id {each.metadata_id} occurs twice")
        field = known[each.metadata_id]
        try:
            values[field.id] = decode(each.value, field.bitwidth, f"packet metadata {field.name}")
        except Refusal as refusal:
            raise Refusal(Code.INVALID_ARGUMENT, refusal.message) from None
    if missing := [field.name for field in fields if field.id not in values]:
        raise Refusal(Code.INVALID_ARGUMENT, f"packet metadata {', '.join(missing)} is missing")
    return values


def to_metadata(fields: Fields, values: Mapping[int, int]) -> list[p4r.PacketMetadata]:
    """Return the P4Runtime metadata of a packet-in or packet-out, one message for each field.

    `values` has a value for each field, by metadata id. KeyError if one is missing.
    """
    return [p4r.PacketMetadata(metadata_id=field.id, value=encode(values[field.id])) for field in fields]
