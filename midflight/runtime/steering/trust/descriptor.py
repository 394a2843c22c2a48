"""Descriptors: an authority's signed statement which instance a key belongs to, and what the instance can do at most.

A path selector knows the public key of the authority of each trust domain. It ignores the metrics of an instance until
it has verified the instance's descriptor. Descriptors are JSON, and signed as the octets that travel.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from midflight.errors import MidflightError
from midflight.runtime.steering.metrics.binary import canonical
from midflight.runtime.steering.trust.identity import SpiffeId
from midflight.runtime.steering.trust.keys import PUBLIC_KEY, SigningKey

__all__ = ["Descriptor", "issue", "parse"]

_CONTEXT = b"midflight descriptor 1\0"  # so that the signature of a descriptor is valid for nothing else
_LARGEST = 8192
_NUMBERS, _TEXTS = ("not_before", "not_after"), ("cs_id", "csci_id")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """The instance `csci_id` of the service `cs_id` has the identity `id` and signs with the key to `public_key`.

    Valid from `not_before` to `not_after`, in nanoseconds since 1970. `best` limits what it may claim: the highest
    score by metric type; types without a limit may be claimed up to 10.
    """

    id: SpiffeId
    cs_id: str
    csci_id: str
    public_key: bytes
    not_before: int
    not_after: int
    best: tuple[tuple[str, int], ...] = ()


def issue(descriptor: Descriptor, authority: SigningKey) -> bytes:
    """Return a descriptor signed by an authority, to be given to the instance and to path selectors.

    MidflightError if an id is not an IP address, the public key has not 32 octets, or the descriptor is never valid;
    UnsupportedError if the extra `trust` is not installed.
    """
    if len(descriptor.public_key) != PUBLIC_KEY or not descriptor.not_before < descriptor.not_after:
        raise MidflightError(f"descriptor of {descriptor.id}: its key or its times of validity are wrong")
    statement = json.dumps(
        {
            "id": str(descriptor.id),
            "cs_id": canonical("CS-ID", descriptor.cs_id),
            "csci_id": canonical("CSCI-ID", descriptor.csci_id),
            "public_key": descriptor.public_key.hex(),
            "not_before": descriptor.not_before,
            "not_after": descriptor.not_after,
            "best": dict(descriptor.best),
        },
        sort_keys=True,
    )
    signature = authority.sign(signed_octets(statement))
    return json.dumps({"statement": statement, "signature": signature.hex()}).encode()


def parse(data: bytes) -> tuple[Descriptor, str, bytes]:
    """Return a descriptor, the statement that was signed, and the signature, which has not been verified.

    MidflightError if the data is malformed.
    """
    if len(data) > _LARGEST:
        raise MidflightError(f"a descriptor has at most {_LARGEST} octets, not {len(data)}")
    try:
        outer = json.loads(data)
        statement, signature = str(outer["statement"]), bytes.fromhex(outer["signature"])
        read: dict[str, Any] = json.loads(statement)
        wrong = [each for each in _NUMBERS if type(read[each]) is not int]
        wrong += [each for each in _TEXTS if type(read[each]) is not str]
        best = tuple((str(kind), int(value)) for kind, value in read["best"].items())
        found = Descriptor(
            SpiffeId.parse(read["id"]),
            read["cs_id"],
            read["csci_id"],
            bytes.fromhex(read["public_key"]),
            read["not_before"],
            read["not_after"],
            best,
        )
    except UnicodeDecodeError:
        raise MidflightError("malformed descriptor: it is not text") from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise MidflightError(f"malformed descriptor: {error!r}") from None
    if wrong or len(found.public_key) != PUBLIC_KEY:
        raise MidflightError(f"malformed descriptor: wrong {', '.join(wrong) or 'public key'}")
    return found, statement, signature


def signed_octets(statement: str) -> bytes:
    """Return the octets that the signature of a statement signs."""
    return _CONTEXT + statement.encode()
