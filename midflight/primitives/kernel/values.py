"""Values of expressions during compilation: known values, choices between constants, and typed expressions."""

from __future__ import annotations

from dataclasses import dataclass

from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.header import Field
from midflight.primitives.kernel.typed import Binary, Choose, Const, Expr, Local, Unary
from midflight.primitives.kernel.types import Kind

__all__ = ["PACKET", "POISON", "WIRE", "LaneField", "Range", "Untyped", "Value", "bare", "chosen", "hull", "solid"]

Range = tuple[int, int]
"""The smallest and the largest of some numbers."""


class _Packet:
    """The type of PACKET, the placeholder for the kernel's packet."""


class _Wire:
    """The type of WIRE, the placeholder for the kernel's header."""


class _Poison:
    """The type of POISON, the value of a variable whose assignment has a mistake."""


PACKET = _Packet()
WIRE = _Wire()
POISON = Known(_Poison())


@dataclass(frozen=True, slots=True)
class LaneField:
    """A header field with lanes, as a whole; a kernel can only index it or take its `len`."""

    field: Field


@dataclass(frozen=True, slots=True)
class Untyped:
    """The value `yes if condition else no` of two constants without a width, which the context determines."""

    condition: Expr
    yes: Known | Untyped
    no: Known | Untyped


Value = Known | Untyped | Expr


def bare(expr: Expr) -> Range | None:
    """Return the (smallest, largest) plain int that Python may compute for an expression; None if it is a `Number`.

    A plain int has no width, so computations with it do not wrap as they do on the switch.
    """
    match expr:
        case Const(value=value, solid=False):
            return value, value
        case Local(bare=found) | Choose(bare=found) | Binary(bare=found) | Unary(bare=found):
            return found
        case _:
            return None


def solid(expr: Expr) -> bool:
    """Return whether an expression has a width also when the kernel runs as Python; a plain int has none (`bare`)."""
    return bare(expr) is None


def hull(one: Range | None, other: Range | None) -> Range | None:
    """Return the smallest range that contains two others. None is an empty range; two of them give None."""
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1])


def chosen(condition: Expr, yes: Expr, no: Expr, kind: Kind | None) -> Choose:
    """Return the typed expression `yes if condition else no`, of type `kind`, which both sides have.

    None is a condition.
    """
    return Choose(condition, yes, no, kind, hull(bare(yes), bare(no)))
