"""Checks of parameters for a primitive's `validate`."""

from __future__ import annotations

from midflight.errors import KernelError
from midflight.primitives.kernel.primitive import Primitive

__all__ = ["one_of", "power_of_two", "within"]


def within(primitive: Primitive, name: str, low: int, high: int) -> None:
    """Raise KernelError unless a parameter is `low` to `high`, inclusive."""
    value = getattr(primitive, name)
    if not low <= value <= high:
        raise KernelError(f"{primitive.title}: {name} must be {low} to {high}, not {value}")


def power_of_two(primitive: Primitive, name: str, low: int, high: int) -> None:
    """Raise KernelError unless a parameter is a power of two from `low` to `high`, inclusive."""
    within(primitive, name, low, high)
    value = getattr(primitive, name)
    if value & (value - 1):
        raise KernelError(f"{primitive.title}: {name} must be a power of two, not {value}")


def one_of(primitive: Primitive, name: str, *choices: str) -> None:
    """Raise KernelError unless a parameter is one of two or more strings."""
    value = getattr(primitive, name)
    if value not in choices:
        *most, last = choices
        raise KernelError(f"{primitive.title}: {name} must be {', '.join(most)} or {last}, not {value!r}")
