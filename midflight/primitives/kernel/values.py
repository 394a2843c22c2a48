"""What an expression of a kernel can be: a value that is known, a choice between constants, or a typed expression."""

from __future__ import annotations

from dataclasses import dataclass

from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.header import Field
from midflight.primitives.kernel.typed import Binary, Choose, Const, Expr, Local, Unary
from midflight.primitives.kernel.types import Kind

__all__ = ["PACKET", "SPOILT", "WIRE", "LaneField", "Range", "Untyped", "Value", "bare", "chosen", "hull", "solid"]

Range = tuple[int, int]
"""The least and the largest of some numbers."""


class _Packet:
    """Stands for the kernel's packet."""


class _Wire:
    """Stands for the kernel's header."""


class _Spoilt:
    """Stands for the value of a variable whose assignment has a mistake."""


PACKET = _Packet()
WIRE = _Wire()
SPOILT = Known(_Spoilt())


@dataclass(frozen=True, slots=True)
class LaneField:
    """Stands for a lane array of the header."""

    field: Field


@dataclass(frozen=True, slots=True)
class Untyped:
    """A choice between constants, which takes its width from where it is used."""

    condition: Expr
    yes: Known | Untyped
    no: Known | Untyped


Value = Known | Untyped | Expr


def bare(expr: Expr) -> Range | None:
    """Return which plain ints Python may compute for an expression, or None where it is always a `Number`.

    A plain int has no width, so what is computed with it does not wrap.
    """
    match expr:
        case Const(value=value, solid=False):
            return value, value
        case Local(bare=found) | Choose(bare=found) | Binary(bare=found) | Unary(bare=found):
            return found
        case _:
            return None


def solid(expr: Expr) -> bool:
    """Tell whether an expression has its width also while it runs as Python, where a bare constant has none."""
    return bare(expr) is None


def hull(one: Range | None, other: Range | None) -> Range | None:
    """Return a range that holds two others."""
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1])


def chosen(condition: Expr, yes: Expr, no: Expr, kind: Kind | None) -> Choose:
    """Return `yes if condition else no`."""
    return Choose(condition, yes, no, kind, hull(bare(yes), bare(no)))
