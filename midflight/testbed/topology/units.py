"""Quantities of links as people write them: "5us", "10Gbit", "1%"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace

from midflight.errors import MidflightError
from midflight.testbed.topology.quality import LinkQuality

__all__ = ["QUALITIES", "quality_of", "quantity"]

QUALITIES = tuple(each.name for each in fields(LinkQuality))
"""The names of what a link's quality is made of."""

_TIMES = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_RATES = {"bit": 1, "kbit": 10**3, "Mbit": 10**6, "Gbit": 10**9, "Tbit": 10**12}
_SIZES = {"B": 1, "kB": 10**3, "MB": 10**6, "KiB": 2**10, "MiB": 2**20}
_UNITS = {"delay": _TIMES, "jitter": _TIMES, "rate": _RATES, "queue": _SIZES, "mtu": _SIZES}
_NUMBER = re.compile(r"\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[A-Za-zµ%]*?)(?:/s)?\s*")


def quality_of(values: Mapping[str, object], base: LinkQuality | None = None) -> LinkQuality:
    """Return `base`, or the default, with these values; MidflightError for what is unknown or makes no sense."""
    changes = {name: quantity(name, value) for name, value in values.items()}
    return replace(base or LinkQuality(), **changes)  # type: ignore[arg-type]


def quantity(name: str, value: object) -> int | float | None:
    """Return the value of a part of a link's quality.

    A number is in the part's own unit: ns, bits a second, bytes, or a probability. A text has a unit: "5us", "2ms",
    "10Gbit", "100kbit/s", "64KiB", "1%". "none" stands for no limit of the rate or the queue.
    """
    if name not in QUALITIES:
        raise MidflightError(f"a link has no {name!r}", hint=f"it has {', '.join(QUALITIES)}")
    if name in ("rate", "queue") and (value is None or value == "none"):
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if name not in _UNITS else round(value)
    found = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    if found:
        number, unit = float(found["number"]), found["unit"]
        if name not in _UNITS and unit in ("", "%"):
            return number / 100 if unit else number
        if unit in _UNITS.get(name, {}):
            return round(number * _UNITS[name][unit])
    known = ", ".join(f"1{unit}" for unit in _UNITS.get(name, ["%"]))
    raise MidflightError(f"{value!r} is no {name} of a link", hint=f"write it like {known}")
