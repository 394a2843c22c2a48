"""Properties of links as people write them: "5us", "10Gbit", "1%"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

from midflight.errors import MidflightError
from midflight.testbed.topology.quality import LinkQuality
from midflight.units import LARGEST, RATES, SIZES, TIMES, measured

__all__ = ["QUALITIES", "quality_of", "quantity"]

QUALITIES = tuple(each.name for each in fields(LinkQuality))
"""The names of a link's properties."""

_UNITS = {"delay": TIMES, "jitter": TIMES, "rate": RATES, "queue": SIZES, "mtu": SIZES}


def quality_of(values: Mapping[str, object], base: LinkQuality | None = None) -> LinkQuality:
    """Return `base` with some properties replaced, by name; their values are as `quantity` accepts them.

    `base` is the default quality if None. MidflightError if a name is unknown or a value is invalid.
    """
    changes = {name: quantity(name, value) for name, value in values.items()}
    return replace(base or LinkQuality(), **changes)  # type: ignore[arg-type]


def quantity(name: str, value: object) -> int | float | None:
    """Return the value of a link's property as `LinkQuality` stores it. `name` is the property, such as "delay".

    `value` is a number in the property's own unit (nanoseconds, bits per second, bytes, or a probability from 0 to 1),
    or a text with a unit: "5us", "2ms", "10Gbit", "100kbit/s", "64KiB", "1%". "none" or None, for the rate and the
    queue, means no limit and returns None. MidflightError if the name is unknown or the value is invalid.
    """
    if name not in QUALITIES:
        raise MidflightError(f"a link has no {name!r}", hint=f"it has {', '.join(QUALITIES)}")
    if name in ("rate", "queue") and (value is None or value == "none"):
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST:
        return float(value) if name not in _UNITS else round(value)
    if found := measured(value):
        number, unit = found
        if name not in _UNITS and unit in ("", "%"):
            return number / 100 if unit else number
        if unit in _UNITS.get(name, {}) and number * _UNITS[name][unit] <= LARGEST:
            return round(number * _UNITS[name][unit])
    known = ", ".join(f"1{unit}" for unit in _UNITS.get(name, ["%"]))
    raise MidflightError(f"{value!r} is not a valid {name} of a link", hint=f"write it like {known}")
