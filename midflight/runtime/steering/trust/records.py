"""Signed metric records: an update in its binary form with the id of the key, an expiry and a signature.

In network byte order: version (8 bits), zero (8), length of the update (16), key id (64), expiry in nanoseconds since
1970 (64), the update (`metrics/binary.py`), and an Ed25519 signature (512) of everything before it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from midflight.errors import WireError
from midflight.runtime.steering.metrics.binary import encode
from midflight.runtime.steering.metrics.update import Update
from midflight.runtime.steering.trust.keys import SIGNATURE, SigningKey, key_id

__all__ = ["LIFETIME", "Record", "seal", "unseal"]

LIFETIME = 5_000_000_000
"""How long a record may travel, in nanoseconds: 5 seconds after its readings it has expired."""

_VERSION = 1
_CONTEXT = b"midflight record 1\0"
_HEAD = struct.Struct("!BBH8sQ")


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was received, not verified: key id, expiry, the update's octets, what was signed, and the
    signature.
    """

    key_id: bytes
    expires: int
    update: bytes
    signed: bytes
    signature: bytes


def seal(update: Update, key: SigningKey, lifetime: int = LIFETIME) -> bytes:
    """Return an update as a signed record, which expires `lifetime` nanoseconds after the time of its readings.

    WireError if the update has no binary form; UnsupportedError if the extra `trust` is not installed.
    """
    data = encode(update, with_raw=True)
    head = _HEAD.pack(_VERSION, 0, len(data), key_id(key.public), update.at + lifetime)
    return head + data + key.sign(_CONTEXT + head + data)


def unseal(data: bytes) -> Record:
    """Return the parts of a record, without verifying it. WireError if it is malformed."""
    if len(data) < _HEAD.size + SIGNATURE:
        raise WireError(f"a record has {_HEAD.size + SIGNATURE} octets or more, not {len(data)}")
    version, _, length, name, expires = _HEAD.unpack_from(data)
    if version != _VERSION:
        raise WireError(f"record of version {version}; this is version {_VERSION}")
    if len(data) != _HEAD.size + length + SIGNATURE:
        raise WireError(f"a record with an update of {length} octets has {len(data)} octets")
    end = _HEAD.size + length
    return Record(name, expires, data[_HEAD.size : end], _CONTEXT + data[:end], data[end:])
