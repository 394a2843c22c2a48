"""Quantities with units, such as "5us", "10Gbit" and "64KiB"."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["LARGEST", "RATES", "SIZES", "TIMES", "measured"]

TIMES: Mapping[str, int] = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
"""Units of time, in nanoseconds."""
RATES: Mapping[str, int] = {"bit": 1, "kbit": 10**3, "Mbit": 10**6, "Gbit": 10**9, "Tbit": 10**12}
"""Units of rates, in bits per second."""
SIZES: Mapping[str, int] = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
"""Units of sizes, in bytes."""
LARGEST = 1e18
"""The largest number and quantity, such as 30 years in nanoseconds."""
_NUMBER = re.compile(r"\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[A-Za-zµ%]*?)(?:/s)?\s*")


def measured(text: object) -> tuple[float, str] | None:
    """Return the number and the unit of a text such as "5us" or "100kbit/s"; None for other objects and beyond LARGEST.

    The unit is any letters, µ or %, and may be empty; a trailing "/s" is left out. It is not checked against the units
    above.
    """
    found = _NUMBER.fullmatch(text) if isinstance(text, str) else None
    number = float(found["number"]) if found else 0.0
    return (number, found["unit"]) if found and number <= LARGEST else None
