"""Quantities of links as people write them: "5us", "10Gbit", "1%"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

from midflight.errors import MidflightError
from midflight.testbed.topology.quality import LinkQuality
from midflight.units import RATES, SIZES, TIMES, measured

__all__ = ["QUALITIES", "quality_of", "quantity"]

QUALITIES = tuple(each.name for each in fields(LinkQuality))
"""The names of what a link's quality is made of."""

_UNITS = {"delay": TIMES, "jitter": TIMES, "rate": RATES, "queue": SIZES, "mtu": SIZES}


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
    if found := measured(value):
        number, unit = found
        if name not in _UNITS and unit in ("", "%"):
            return number / 100 if unit else number
        if unit in _UNITS.get(name, {}):
            return round(number * _UNITS[name][unit])
    known = ", ".join(f"1{unit}" for unit in _UNITS.get(name, ["%"]))
    raise MidflightError(f"{value!r} is no {name} of a link", hint=f"write it like {known}")
