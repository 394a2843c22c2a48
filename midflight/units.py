"""Quantities with units as people write them, such as "5us", "10Gbit" and "64KiB"."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["LARGEST", "RATES", "SIZES", "TIMES", "measured"]

TIMES: Mapping[str, int] = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
"""Units of time, as multiples of a nanosecond."""
RATES: Mapping[str, int] = {"bit": 1, "kbit": 10**3, "Mbit": 10**6, "Gbit": 10**9, "Tbit": 10**12}
"""Units of rates, as multiples of one bit per second."""
SIZES: Mapping[str, int] = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
"""Units of sizes, as multiples of a byte."""
LARGEST = 1e18
"""The largest number that `measured` accepts, and the largest quantity: 30 years in nanoseconds, for example."""
_NUMBER = re.compile(r"\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[A-Za-zµ%]*?)(?:/s)?\s*")


def measured(text: object) -> tuple[float, str] | None:
    """Split a text such as "5us" or "100kbit/s" into its number and its unit, without converting anything.

    The unit is any letters, µ or %, and may be empty; a trailing "/s" is left out. Whether the unit exists is not
    checked: look it up in `TIMES`, `RATES` or `SIZES`. Returns None for objects that are not such a text, and for
    numbers beyond `LARGEST` (1e18). Never raises.
    """
    found = _NUMBER.fullmatch(text) if isinstance(text, str) else None
    number = float(found["number"]) if found else 0.0
    return (number, found["unit"]) if found and number <= LARGEST else None
