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
    """A lane array of the header."""

    field: Field


@dataclass(frozen=True, slots=True)
class Untyped:
    """A choice between constants. It takes its width from the context."""

    condition: Expr
    yes: Known | Untyped
    no: Known | Untyped


Value = Known | Untyped | Expr


def bare(expr: Expr) -> Range | None:
    """Return the range of plain ints that Python may compute for an expression; None if it is always a `Number`.

    A plain int has no width, so computations with it do not wrap.
    """
    match expr:
        case Const(value=value, solid=False):
            return value, value
        case Local(bare=found) | Choose(bare=found) | Binary(bare=found) | Unary(bare=found):
            return found
        case _:
            return None


def solid(expr: Expr) -> bool:
    """Return whether an expression also has a width when the kernel runs as Python, where a plain int has none."""
    return bare(expr) is None


def hull(one: Range | None, other: Range | None) -> Range | None:
    """Return the smallest range that contains two others; None stands for an empty one."""
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1])


def chosen(condition: Expr, yes: Expr, no: Expr, kind: Kind | None) -> Choose:
    """Return `yes if condition else no`."""
    return Choose(condition, yes, no, kind, hull(bare(yes), bare(no)))
