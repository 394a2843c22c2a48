"""Limits of parameters: what a primitive's `validate` is made of."""

from __future__ import annotations

from midflight.errors import KernelError
from midflight.primitives.kernel.primitive import Primitive

__all__ = ["one_of", "power_of_two", "within"]


def within(primitive: Primitive, name: str, low: int, high: int) -> None:
    """Check that a parameter lies between two limits, both included."""
    value = getattr(primitive, name)
    if not low <= value <= high:
        raise KernelError(f"{primitive.title}: {name} must be {low} to {high}, not {value}")


def power_of_two(primitive: Primitive, name: str, low: int, high: int) -> None:
    """Check that a parameter is a power of two between two limits, both included."""
    within(primitive, name, low, high)
    value = getattr(primitive, name)
    if value & (value - 1):
        raise KernelError(f"{primitive.title}: {name} must be a power of two, not {value}")


def one_of(primitive: Primitive, name: str, *choices: str) -> None:
    """Check that a parameter is one of two words or more."""
    value = getattr(primitive, name)
    if value not in choices:
        *most, last = choices
        raise KernelError(f"{primitive.title}: {name} must be {', '.join(most)} or {last}, not {value!r}")
