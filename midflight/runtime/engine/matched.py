"""The entry of a table that given keys match, and values as text, for traces."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from midflight.p4 import ir
from midflight.p4.types import Bits
from midflight.runtime.engine.entries import Entry

__all__ = ["matching", "shown"]

_MOST = 4096
"""The largest number of entries that are searched for a trace."""

_ADDRESS = ("addr", "src", "dst", "ip")


def matching(table: ir.Table, entries: Sequence[Entry], values: Sequence[int | None]) -> str | None:
    """Return the keys of the entry that wins for values of the table's keys, as text.

    `values` are in the order of the table's keys, with None for one that is not known. The entry with the highest
    priority wins, then the one with the longest prefix. None if no entry matches, if a value is not known, or if there
    are more than 4096 entries.
    """
    if len(entries) > _MOST or None in values:
        return None
    best: tuple[tuple[int, int], Entry] | None = None
    for entry in entries:
        if all(_fits(key, value) for key, value in zip(entry.keys, values, strict=True)):
            prefix = sum(
                each.mask.bit_count() if each.mask is not None else 0
                for each, key in zip(entry.keys, table.keys, strict=True)
                if key.kind == "lpm"
            )
            rank = (entry.priority, prefix)
            if best is None or rank > best[0]:
                best = rank, entry
    if best is None:
        return None
    pairs = zip(table.keys, best[1].keys, strict=True)
    text = ", ".join(f"{key.name} {_key(key, each)}" for key, each in pairs)
    return f"{text}, priority {best[1].priority}" if best[1].priority else text


def shown(name: str, value: int, width: int) -> str:
    """Return a value of `width` bits as text: addresses in their usual form, numbers in decimal and hexadecimal.

    A value of 48 bits is a MAC address. One of 32 or 128 bits is an IP address if the last part of `name` contains
    "addr", "src", "dst" or "ip".
    """
    last = name.rpartition(".")[2].lower()
    if width == 48 and value >= 0:
        return value.to_bytes(6, "big").hex(":")
    if width in (32, 128) and value >= 0 and any(each in last for each in _ADDRESS):
        return str(ipaddress.IPv4Address(value) if width == 32 else ipaddress.IPv6Address(value))
    return str(value) if -10 < value < 10 else f"{value} ({value:#x})"


def _fits(key: ir.EntryKey, value: int | None) -> bool:
    if key.value is None or value is None:
        return True
    if key.high is not None:
        return key.value <= value <= key.high
    mask = -1 if key.mask is None else key.mask
    return value & mask == key.value & mask


def _key(of: ir.Key, key: ir.EntryKey) -> str:
    width = of.expression.type.width if isinstance(of.expression.type, Bits) else 0
    if key.value is None:
        return "*"
    text = shown(of.name, key.value, width)
    if key.high is not None:
        return f"{text} .. {shown(of.name, key.high, width)}"
    if key.mask is None:
        return f"= {text}"
    return f"= {text}/{key.mask.bit_count()}" if of.kind == "lpm" else f"= {text} &&& {key.mask:#x}"
