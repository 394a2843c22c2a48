"""The check of signed records before they count: who sent them, when, whether again, and whether they can be true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from midflight.errors import MidflightError, WireError
from midflight.runtime.steering.metrics.binary import decode
from midflight.runtime.steering.metrics.update import Update
from midflight.runtime.steering.trust.descriptor import Descriptor, parse, signed_octets
from midflight.runtime.steering.trust.keys import key_id, verifies
from midflight.runtime.steering.trust.records import unseal

__all__ = ["Journal", "Reason", "Verifier"]


class Reason(StrEnum):
    """Why a descriptor or record is refused.

    UNKNOWN: there is no key to verify it with, or no room for another instance. FORGED: its signature is wrong, or its
    sender is another instance. EXPIRED, EARLY: it is not valid any more or not yet. REPLAYED: it is not newer than the
    last one. IMPLAUSIBLE: it claims more than its descriptor allows or was measured.
    """

    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    FORGED = "forged"
    EXPIRED = "expired"
    EARLY = "early"
    REPLAYED = "replayed"
    IMPLAUSIBLE = "implausible"


class Journal(Protocol):
    """Where refusals are written, such as a `ChainedLog`."""

    def append(self, event: str, **details: Any) -> None:
        """Append an entry: the kind of event, and details about it by name, such as the instance's id, as text."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A reason with what is known of the sender."""

    reason: Reason
    details: Mapping[str, str]


@dataclass(slots=True)
class _Instance:
    """A verified instance: its descriptor, and the time of the readings of its last accepted record."""

    descriptor: Descriptor
    last: int = -1


class Verifier:
    """Verifies descriptors and records, counts refusals by reason in `refused`, and writes them to a journal.

    * authorities: the public key (32 octets) of the authority of each trust domain.
    * journal: receives every refusal, admission and revocation; None for none.
    * skew: the largest difference of the sender's clock from this one, in nanoseconds.
    * tolerance: by how many points a claimed score may exceed a measured one.
    * limit: the largest number of instances; descriptors of further ones are refused as unknown.

    Nothing that a peer sends raises an error by itself. `admit` and `check` raise UnsupportedError if the extra `trust`
    is not installed, and what the journal raises, such as MidflightError if its file cannot be written.
    """

    def __init__(
        self,
        authorities: Mapping[str, bytes],
        journal: Journal | None = None,
        *,
        skew: int = 2_000_000_000,
        tolerance: int = 3,
        limit: int = 100_000,
    ) -> None:
        self._authorities = dict(authorities)
        self._journal = journal
        self._skew, self._tolerance, self._limit = skew, tolerance, limit
        self._instances: dict[bytes, _Instance] = {}
        self.refused: Counter[Reason] = Counter()
        """How many descriptors and records were refused, by reason."""

    def admit(self, data: bytes, now: int) -> Descriptor | None:
        """Verify a descriptor and admit its instance. Return the descriptor, or None if it is refused.

        A descriptor with the same key that is valid from the same time or later replaces the instance's last one. `now`
        is in nanoseconds since 1970. A refusal is counted in `refused` and written to the journal, whose errors
        propagate. UnsupportedError if the extra `trust` is not installed.
        """
        found = self._examined(data, now)
        if isinstance(found, _Refusal):
            self._refuse(found)
            return None
        return found

    def check(
        self, data: bytes, now: int, measured: Callable[[str], Mapping[str, float]] | None = None
    ) -> Update | None:
        """Verify a record and return its update, or None if it is refused.

        `measured` takes a CSCI-ID and returns the scores, by metric type, that the receiver measured itself, such as
        `PathSelector.measured`; None measures nothing. A claim that exceeds one by more than the tolerance is
        implausible, as is one above the descriptor's limits. `now` is in nanoseconds since 1970. A refusal is counted
        in `refused` and written to the journal, whose errors propagate. UnsupportedError if the extra `trust` is not
        installed.
        """
        found = self._checked(data, now, measured or (lambda _: {}))
        if isinstance(found, _Refusal):
            self._refuse(found)
            return None
        return found

    def revoke(self, descriptor: Descriptor) -> None:
        """Forget an instance: its records are unknown from now on. Idempotent. Errors of the journal propagate."""
        if self._instances.pop(key_id(descriptor.public_key), None) and self._journal:
            self._journal.append("revoked", id=str(descriptor.id), csci_id=descriptor.csci_id)

    def _examined(self, data: bytes, now: int) -> Descriptor | _Refusal:
        try:
            descriptor, statement, signature = parse(data)
        except MidflightError as error:
            return _Refusal(Reason.MALFORMED, {"error": error.message})
        name = key_id(descriptor.public_key)
        details = {"id": str(descriptor.id), "csci_id": descriptor.csci_id}
        authority = self._authorities.get(descriptor.id.trust_domain)
        if authority is None or (name not in self._instances and len(self._instances) >= self._limit):
            return _Refusal(Reason.UNKNOWN, details)
        if not verifies(authority, signature, signed_octets(statement)):
            return _Refusal(Reason.FORGED, details)
        if reason := self._outside(descriptor.not_before, descriptor.not_after, now):
            return _Refusal(reason, details)
        known = self._instances.get(name)
        if known is not None and known.descriptor.not_before > descriptor.not_before:
            return _Refusal(Reason.REPLAYED, details)
        self._instances[name] = _Instance(descriptor, known.last if known else -1)
        if self._journal:
            self._journal.append("admitted", **details, key=name.hex())
        return descriptor

    def _checked(self, data: bytes, now: int, measured: Callable[[str], Mapping[str, float]]) -> Update | _Refusal:
        try:
            record = unseal(data)
        except WireError as error:
            return _Refusal(Reason.MALFORMED, {"error": error.message})
        instance = self._instances.get(record.key_id)
        if instance is None:
            return _Refusal(Reason.UNKNOWN, {"key": record.key_id.hex()})
        descriptor = instance.descriptor
        details = {"id": str(descriptor.id), "csci_id": descriptor.csci_id}
        if not verifies(descriptor.public_key, record.signature, record.signed):
            return _Refusal(Reason.FORGED, details)
        try:
            update = decode(record.update)
        except WireError as error:
            return _Refusal(Reason.MALFORMED, {**details, "error": error.message})
        details["sequence"] = str(update.sequence)
        if (update.cs_id, update.csci_id) != (descriptor.cs_id, descriptor.csci_id):
            return _Refusal(Reason.FORGED, {**details, "claimed": update.csci_id})
        reason = self._outside(update.at, record.expires, now)
        reason = reason or self._outside(descriptor.not_before, descriptor.not_after, now)
        if reason:
            return _Refusal(reason, details)
        if update.at <= instance.last:
            return _Refusal(Reason.REPLAYED, details)
        if claim := self._contradiction(update, dict(descriptor.best), measured(update.csci_id)):
            return _Refusal(Reason.IMPLAUSIBLE, {**details, "claim": claim})
        instance.last = update.at
        return update

    def _contradiction(self, update: Update, limits: Mapping[str, int], measured: Mapping[str, float]) -> str:
        for each in update.scores:
            if each.value > limits.get(each.kind, each.value):
                return f"{each.kind} {each.value}, at most {limits[each.kind]} by the descriptor"
            if each.kind in measured and each.value > measured[each.kind] + self._tolerance:
                return f"{each.kind} {each.value}, measured {measured[each.kind]:.1f}"
        return ""

    def _outside(self, begin: int, end: int, now: int) -> Reason | None:
        if now + self._skew < begin:
            return Reason.EARLY
        return Reason.EXPIRED if now - self._skew > end else None

    def _refuse(self, refusal: _Refusal) -> None:
        self.refused[refusal.reason] += 1
        if self._journal:
            self._journal.append(f"refused: {refusal.reason}", **refusal.details)
