"""Headers of lab packets: packing, unpacking, checksums, and text that shows the fields of a packet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

__all__ = [
    "ETHERNET", "IPV4", "IP_LAYOUT", "TCP", "UDP", "Header", "Layout", "Parts", "address", "checksum", "header", "join",
    "mac", "sealed", "udp_packet",
]  # fmt: skip

Values = dict[str, int]
Parts = list[tuple["Header", Values]]


@dataclass(frozen=True)
class Header:
    """A header: its name, and the names and widths in bits of its fields, which fill whole bytes.

    `brief` names the fields that a short description of a packet shows.
    """

    name: str
    fields: tuple[tuple[str, int], ...]
    brief: tuple[str, ...] = ()

    @cached_property
    def size(self) -> int:
        """The length in bytes."""
        return sum(width for _, width in self.fields) // 8

    def pack(self, values: Mapping[str, int]) -> bytes:
        """Return the bytes of a header with these values by field name, modulo the widths of the fields.

        Absent fields are 0; other names are ignored.
        """
        whole = 0
        for name, width in self.fields:
            whole = whole << width | values.get(name, 0) & (1 << width) - 1
        return whole.to_bytes(self.size, "big")

    def unpack(self, data: bytes) -> Values:
        """Return the value of each field by name, from the beginning of `data`, which has at least `size` bytes; the
        rest is ignored.
        """
        whole, left, values = int.from_bytes(data[: self.size], "big"), self.size * 8, {}
        for name, width in self.fields:
            left -= width
            values[name] = whole >> left & (1 << width) - 1
        return values

    def shown(self, name: str, value: int) -> str:
        """Return the value of a field as text: MAC and IPv4 addresses in their usual form, types and checksums in
        hexadecimal, and others in decimal.

        `name` is the name of the field; KeyError if the header has no such field.
        """
        width = dict(self.fields)[name]
        if width == 48:
            return value.to_bytes(6, "big").hex(":")
        if width == 32 and name in ("src", "dst"):
            return ".".join(str(each) for each in value.to_bytes(4, "big"))
        return f"{value:#x}" if name in ("type", "checksum") else str(value)


def header(name: str, fields: str, brief: str = "") -> Header:
    """Return a header of this name, with fields and their bits from text such as `"dst:48 src:48 type:16"`.

    `brief` has the names of those fields that short descriptions show, such as `"src dst"`. AssertionError unless the
    fields fill whole bytes.
    """
    pairs = [each.split(":") for each in fields.split()]
    made = Header(name, tuple((field, int(width)) for field, width in pairs), tuple(brief.split()))
    assert sum(width for _, width in made.fields) % 8 == 0, f"{name} does not fill whole bytes"
    return made


ETHERNET = header("ethernet", "dst:48 src:48 type:16", "dst src type")
IPV4 = header(
    "ipv4",
    "version:4 ihl:4 dscp:6 ecn:2 length:16 id:16 flags:3 fragment:13 ttl:8 protocol:8 checksum:16 src:32 dst:32",
    "src dst ttl",
)
UDP = header("udp", "sport:16 dport:16 length:16 checksum:16", "sport dport")
TCP = header(
    "tcp",
    "sport:16 dport:16 seq:32 ack:32 offset:4 reserved:4 flags:8 window:16 checksum:16 urgent:16",
    "sport dport flags",
)


@dataclass(frozen=True)
class Layout:
    """How the headers of a packet follow each other.

    `first` is the first header. `after` maps a header to a field of it, and to the next header for each value of the
    field; -1 stands for all other values. The packet's payload follows a header that is not in it. If `choose` is
    given, it returns the next header from all before it, or None.
    """

    first: Header
    after: Mapping[Header, tuple[str, Mapping[int, Header]]]
    choose: Callable[[Parts], Header | None] | None = None

    def parse(self, data: bytes) -> tuple[Parts, bytes]:
        """Return the headers of a packet with their values, and the payload. A header that is cut off is payload."""
        parts: Parts = []
        at: Header | None = self.first
        while at is not None and len(data) >= at.size:
            values = at.unpack(data)
            parts.append((at, values))
            data = data[at.size :]
            if self.choose is not None:
                at = self.choose(parts)
                continue
            field, following = self.after.get(at, ("", {}))
            at = following.get(values[field], following.get(-1)) if field else None
        return parts, data

    def brief(self, data: bytes) -> str:
        """Return the addresses and other main fields of a packet as text."""
        parts, _ = self.parse(data)
        found = []
        for each, values in parts:
            listed = ", ".join(f"{name} {each.shown(name, values[name])}" for name in each.brief)
            found.append(f"{each.name} {listed}" if listed else each.name)
        return "; ".join(found) or f"{len(data)} bytes"

    def differences(self, wanted: bytes, got: bytes) -> list[str]:
        """Return the differences of two packets as texts, one for each field, or for the lengths or payloads."""
        if wanted == got:
            return []
        (want, want_rest), (have, have_rest) = self.parse(wanted), self.parse(got)
        names, found = [each.name for each, _ in want], [each.name for each, _ in have]
        said = []
        if len(wanted) != len(got):
            said.append(f"the packet has {len(got)} bytes, must have {len(wanted)}")
        for number, ((one, expected), (other, actual)) in enumerate(zip(want, have, strict=False)):
            if one != other:
                break
            place = f"[{names[:number].count(one.name)}]" if names.count(one.name) > 1 else ""
            said += [
                f"{one.name}{place}.{field} is {one.shown(field, actual[field])}, must be "
                f"{one.shown(field, expected[field])}"
                for field, _ in one.fields
                if actual[field] != expected[field]
            ]
        if names != found:
            said.append(f"the headers are {', '.join(found) or 'none'}; must be {', '.join(names) or 'none'}")
        elif len(wanted) == len(got) and want_rest != have_rest:
            at = next(at for at, (one, two) in enumerate(zip(want_rest, have_rest, strict=True)) if one != two)
            said.append(f"byte {at} of the payload is {have_rest[at]:#04x}, must be {want_rest[at]:#04x}")
        return said


IP_LAYOUT = Layout(ETHERNET, {ETHERNET: ("type", {0x800: IPV4}), IPV4: ("protocol", {6: TCP, 17: UDP})})


def join(parts: Parts, payload: bytes = b"") -> bytes:
    """Return the bytes of a packet: headers with their values, in order, and the payload. Nothing is computed, not even
    checksums.
    """
    return b"".join(each.pack(values) for each, values in parts) + payload


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of bytes, as a number of 16 bits. An odd last byte is padded with 0."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(padded[at : at + 2], "big") for at in range(0, len(padded), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def sealed(ip: Mapping[str, int]) -> Values:
    """Return the values of an IPv4 header without options, given by field name, with the checksum that fits them."""
    return {**ip, "checksum": checksum(IPV4.pack({**ip, "checksum": 0}))}


def address(text: str) -> int:
    """Return an IPv4 address such as "10.0.0.1" as a number."""
    return int.from_bytes(bytes(int(each) for each in text.split(".")), "big")


def mac(text: str) -> int:
    """Return a MAC address such as "02:00:00:00:00:01" as a number."""
    return int(text.replace(":", ""), 16)


def udp_packet(
    *, ethernet: Mapping[str, int], ip: Mapping[str, int], udp: Mapping[str, int], payload: bytes = b""
) -> bytes:
    """Return the bytes of a valid UDP packet over IPv4. The arguments are the fields of each header by name.

    Type, version, header length, lengths, protocol and checksum are filled in, and a TTL of 64; given fields win, but
    for the IPv4 checksum. The UDP checksum is 0 by default, which means none (RFC 768).
    """
    size = UDP.size + len(payload)
    values = {"version": 4, "ihl": 5, "ttl": 64, "protocol": 17, "length": IPV4.size + size, **ip}
    parts: Parts = [
        (ETHERNET, {"type": 0x800, **ethernet}),
        (IPV4, sealed(values)),
        (UDP, {"length": size, **udp}),
    ]
    return join(parts, payload)
