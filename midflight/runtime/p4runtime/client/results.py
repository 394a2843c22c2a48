"""The values that a session's methods return: table entries, counts, packet-ins and digest messages."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from midflight.runtime.p4runtime.client.matches import MatchValue
from midflight.runtime.p4runtime.client.profiles import Choice

__all__ = ["Count", "Counts", "DigestMessage", "PacketIn", "TableEntry"]


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A table entry read from a device. `match` and `params` are valid arguments of `Session.insert`.

    An exception are values of types that are translated to strings: they are read as the number of the string's bytes.
    In a table with an action profile or selector, `choice` is the member, group or set of actions that the entry refers
    to, and `action` is empty; in other tables, it is None.
    """

    table: str
    match: dict[str, MatchValue]
    action: str
    params: dict[str, int]
    priority: int = 0
    metadata: bytes = b""
    const: bool = False
    choice: Choice | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """A counter's cell: packets and bytes, 0 for a unit that the counter does not count."""

    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Counts:
    """A counter's cells: packets and bytes as int64 arrays, 0 for a unit that the counter does not count."""

    packets: npt.NDArray[np.int64]
    bytes: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PacketIn:
    """A packet that the switch sent to the controller, with the fields of its packet-in header by name."""

    payload: bytes
    metadata: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DigestMessage:
    """One message of a digest, by the struct's field names. The names of nested members are joined with dots."""

    name: str
    values: dict[str, int]
