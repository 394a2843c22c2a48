"""The messages of a session between two path selectors, over TCP: one announces records, the other listens.

A message is its length in octets (16 bits, this header included), its type (8 bits), and a body:

    OPEN       version, 8 bits; hold time in units of 10 ms, 16 bits; id of the speaker, 64 bits
    ANNOUNCE   sequence number, 32 bits; count of the path, 8 bits; the path, ids of 64 bits; a record
    WITHDRAW   sequence number, 32 bits; CS-ID and CSCI-ID, IPv6 addresses of 128 bits, IPv4 ones mapped
    KEEPALIVE  empty
    NOTICE     why the session ends, as UTF-8

Records are passed on as agents sent them, with their signatures.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from midflight.errors import WireError

__all__ = [
    "HEADER",
    "Announce",
    "Keepalive",
    "Message",
    "Notice",
    "Open",
    "Withdraw",
    "decode_message",
    "encode_message",
]

HEADER = struct.Struct("!HB")
"""Length and type of a message."""

_VERSION = 1
_OPEN, _SEQUENCE = struct.Struct("!BHQ"), struct.Struct("!I")
_TICK = 0.01  # seconds
_MOST = 0xFFFF
_MAPPED = 0xFFFF << 32  # ::ffff:0:0/96


@dataclass(frozen=True, slots=True)
class Open:
    """The first message of both sides: the id of the speaker, of 64 bits, and its hold time in seconds.

    Both sides give up after as many seconds of silence as the smaller hold time has. A hold time is sent in steps of
    10 ms, as at most 655.35 s; one of less than a step is malformed.
    """

    speaker: int
    hold: float


@dataclass(frozen=True, slots=True)
class Announce:
    """A record, and the ids of the path selectors that passed it on, in order, each at most once."""

    record: bytes
    path: tuple[int, ...]
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Nothing is known any longer of an instance (CSCI-ID) of a service (CS-ID)."""

    cs_id: str
    csci_id: str
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Keepalive:
    """The sender is there."""


@dataclass(frozen=True, slots=True)
class Notice:
    """The last message of a session, with the reason for its end; at most 1000 octets of it are sent."""

    reason: str


Message = Open | Announce | Withdraw | Keepalive | Notice


def encode_message(message: Message) -> bytes:
    """Return the octets of a message.

    WireError if it is longer than 65,535 octets, if a number is out of range, or if a CS-ID or CSCI-ID is not an IP
    address.
    """
    try:
        match message:
            case Open(speaker=speaker, hold=hold):
                kind, body = 1, _OPEN.pack(_VERSION, min(round(hold / _TICK), _MOST), speaker)
            case Announce(record=record, path=path, sequence=sequence):
                ids = b"".join(each.to_bytes(8) for each in path)
                kind, body = 2, _SEQUENCE.pack(sequence) + bytes([len(path)]) + ids + record
            case Withdraw(cs_id=cs_id, csci_id=csci_id, sequence=sequence):
                kind, body = 3, _SEQUENCE.pack(sequence) + _packed(cs_id) + _packed(csci_id)
            case Keepalive():
                kind, body = 4, b""
            case Notice(reason=reason):
                kind, body = 5, reason.encode()[:1000]
        return HEADER.pack(HEADER.size + len(body), kind) + body
    except (struct.error, OverflowError, ValueError) as error:
        raise WireError(f"a message cannot be encoded: {error}") from None


def decode_message(kind: int, body: bytes) -> Message:
    """Return the message of a type and a body. WireError if it is malformed, or of another version."""
    try:
        match kind:
            case 1:
                version, hold, speaker = _OPEN.unpack(body)
                if version != _VERSION:
                    raise WireError(f"the session has version {version}, not {_VERSION}")
                if not hold:
                    raise WireError("the session has no hold time")
                return Open(speaker, hold * _TICK)
            case 2:
                count = body[4]
                end = 5 + 8 * count
                if len(body) <= end:
                    raise WireError("the announcement has no record")
                path = tuple(int.from_bytes(body[at : at + 8]) for at in range(5, end, 8))
                return Announce(body[end:], path, *_SEQUENCE.unpack_from(body))
            case 3 if len(body) == 36:
                return Withdraw(_text(body[4:20]), _text(body[20:]), *_SEQUENCE.unpack_from(body))
            case 4 if not body:
                return Keepalive()
            case 5:
                return Notice(body.decode(errors="replace"))
    except (struct.error, IndexError) as error:
        raise WireError(f"a malformed message of type {kind}: {error}") from None
    raise WireError(f"a malformed message of type {kind}")


def _packed(address: str) -> bytes:
    found = ip_address(address)
    return (int(found) if found.version == 6 else _MAPPED | int(found)).to_bytes(16)


def _text(packed: bytes) -> str:
    number = int.from_bytes(packed)
    return str(IPv4Address(number & 0xFFFF_FFFF) if number >> 32 == _MAPPED >> 32 else IPv6Address(number))
