"""The functions of the kernel language that compute on numbers, as plain Python."""

from __future__ import annotations

from midflight.errors import KernelError
from midflight.primitives.kernel.types import Kind, Number

__all__ = ["add_overflows", "sat_add", "sat_sub"]


def _pair(left: int, right: int, what: str) -> tuple[Kind, int, int]:
    if isinstance(left, Number):
        return left.kind, int(left), left.other(right, what)
    if isinstance(right, Number):
        return right.kind, right.other(left, what), int(right)
    raise KernelError(f"{what} of two constants has no width: write bit[n](...) around one")


def sat_add(left: int, right: int) -> int:
    """Add; a sum beyond the type's largest or smallest value becomes that value (P4's `|+|`)."""
    kind, one, other = _pair(left, right, "sat_add")
    return Number(kind, max(kind.low, min(kind.high, one + other)))


def sat_sub(left: int, right: int) -> int:
    """Subtract; a difference beyond the type's largest or smallest value becomes that value (P4's `|-|`)."""
    kind, one, other = _pair(left, right, "sat_sub")
    return Number(kind, max(kind.low, min(kind.high, one - other)))


def add_overflows(left: int, right: int) -> bool:
    """Tell whether `left + right` leaves the range of their type, so that the wrapped sum is wrong."""
    kind, one, other = _pair(left, right, "add_overflows")
    return not kind.holds(one + other)
