"""Checks of an integer or string parameter, for the `validate` method of primitives."""

from __future__ import annotations

from midflight.errors import KernelError
from midflight.primitives.kernel.primitive import Primitive

__all__ = ["one_of", "power_of_two", "within"]


def within(primitive: Primitive, name: str, low: int, high: int) -> None:
    """Raise KernelError unless the primitive's parameter `name` is `low` to `high`, inclusive."""
    value = getattr(primitive, name)
    if not low <= value <= high:
        raise KernelError(f"{primitive.title}: {name} must be {low} to {high}, not {value}")


def power_of_two(primitive: Primitive, name: str, low: int, high: int) -> None:
    """Raise KernelError unless the primitive's parameter `name` is a power of two from `low` to `high`, inclusive."""
    within(primitive, name, low, high)
    value = getattr(primitive, name)
    if value & (value - 1):
        raise KernelError(f"{primitive.title}: {name} must be a power of two, not {value}")


def one_of(primitive: Primitive, name: str, *choices: str) -> None:
    """Raise KernelError unless the primitive's parameter `name` is one of the strings `choices` (two or more)."""
    value = getattr(primitive, name)
    if value not in choices:
        *most, last = choices
        raise KernelError(f"{primitive.title}: {name} must be {', '.join(most)} or {last}, not {value!r}")
