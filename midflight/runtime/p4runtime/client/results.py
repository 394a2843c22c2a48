"""What a session hands back."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from midflight.runtime.p4runtime.client.matches import MatchValue

__all__ = ["Count", "Counts", "DigestMessage", "PacketIn", "TableEntry"]


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A table entry as read back. `match` and `params` can be given to `insert` as they are."""

    table: str
    match: dict[str, MatchValue]
    action: str
    params: dict[str, int]
    priority: int = 0
    metadata: bytes = b""
    const: bool = False


@dataclass(frozen=True, slots=True)
class Count:
    """A counter's cell; what the counter does not count is 0."""

    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Counts:
    """A counter's cells, int64; what the counter does not count is 0."""

    packets: npt.NDArray[np.int64]
    bytes: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PacketIn:
    """A packet that the switch sent to the controller, and its packet-in header by field name."""

    payload: bytes
    metadata: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DigestMessage:
    """One message of a digest, by the struct's field names; nested members are joined with dots."""

    name: str
    values: dict[str, int]
