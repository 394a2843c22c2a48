"""Identities of instances in the form of SPIFFE IDs: `spiffe://factory.example/service/vision/edge-1`.

The rules are those of the SPIFFE ID and SVID specification, section 2. Midflight takes the form of the ids only; the
documents that prove them are descriptors (`descriptor.py`) and not SVIDs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from midflight.errors import MidflightError

__all__ = ["SpiffeId"]

_SCHEME = "spiffe://"
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[a-zA-Z0-9._-]+")
_LONGEST = 2048  # octets of a whole id


@dataclass(frozen=True, slots=True, order=True)
class SpiffeId:
    """The id of a workload: its trust domain and its path, which begins with a slash or is empty."""

    trust_domain: str
    path: str

    @classmethod
    def parse(cls, text: str) -> SpiffeId:
        """Return the SPIFFE ID that a text is.

        MidflightError, with the reason, if it breaks the rules of the specification.
        """
        domain, slash, path = text.removeprefix(_SCHEME).partition("/")
        segments = path.split("/") if slash else []
        reason = ""
        if not text.startswith(_SCHEME):
            reason = f"it does not begin with {_SCHEME}"
        elif len(text) > _LONGEST:
            reason = f"it is longer than {_LONGEST} octets"
        elif not _TRUST_DOMAIN.fullmatch(domain):
            reason = "a trust domain has 1 to 255 lower-case letters, digits, dots, dashes and underscores"
        elif any(not _SEGMENT.fullmatch(each) or each in (".", "..") for each in segments):
            reason = "the segments of a path have letters, digits, dots, dashes and underscores, and none is . or .."
        if reason:
            raise MidflightError(f"{text[:80]!r} is not a SPIFFE ID: {reason}")
        return cls(domain, f"/{path}" if slash else "")

    def __str__(self) -> str:
        return f"{_SCHEME}{self.trust_domain}{self.path}"
