"""The memory layout of P4 values: sizes and offsets in bytes, for native code and for NumPy.

A scalar with W bits takes the smallest of 8, 16, 32 and 64 bits that holds it, or else whole 64-bit words. It is
little-endian and zero-extended. A header begins with its validity byte, a stack with its `nextIndex` (32 bits), and a
varbit with its length in bits (32 bits) before its bytes in wire order. All offsets are explicit, so nothing depends on
a target's ABI.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from midflight.errors import P4Error
from midflight.p4.types import (
    Bits,
    Bool,
    EnumType,
    ErrorType,
    HeaderType,
    StackType,
    StructType,
    TupleType,
    Type,
    UnionType,
    Varbit,
)

__all__ = [
    "SCALARS", "VARBIT_BYTES", "Extent", "Layout", "align", "fixed_bytes", "is_empty", "is_signed", "scalar_width",
    "stored_width",
]  # fmt: skip

SCALARS = (Bits, Bool, EnumType, ErrorType)
"""The types whose values are a single integer: numbers, bools, enums and errors."""

VARBIT_BYTES = 8
"""The offset of a varbit's first byte, after its length."""

INDEX_WIDTH = 32
"""The width of errors, and of enums without an underlying type."""


def align(offset: int, alignment: int) -> int:
    """Return the first multiple of `alignment` at or after `offset`."""
    return -(-offset // alignment) * alignment


def stored_width(width: int) -> int:
    """Return the number of bits that a scalar of `width` bits takes in memory."""
    for each in (8, 16, 32):
        if width <= each:
            return each
    return align(width, 64)


def is_signed(kind: Type) -> bool:
    """Return whether a value of this type is in two's complement: an `int<W>`, or an enum with this underlying type."""
    match kind:
        case Bits(signed=signed):
            return signed
        case EnumType(underlying=Bits(signed=signed)):
            return signed
        case _:
            return False


def scalar_width(kind: Type) -> int:
    """Return the width of a scalar in computations, in bits. Raises P4Error for any other type.

    A `bit<0>` is a single bit that is 0, because LLVM has no integers without bits.
    """
    match kind:
        case Bits(width=width):
            return max(1, width)
        case Bool():
            return 1
        case EnumType(underlying=Bits(width=width)):
            return width
        case EnumType() | ErrorType():
            return INDEX_WIDTH
        case _:
            raise P4Error(f"the engine has no scalar of type {kind}")


def is_empty(kind: Type) -> bool:
    """Return whether a type is `bit<0>`, whose values have no bits on the wire."""
    return isinstance(kind, Bits) and kind.width == 0


def fixed_bytes(header: HeaderType) -> int:
    """Return the length of a header on the wire in bytes, without its varbits.

    Raises P4Error if its bits do not fill whole bytes.
    """
    bits = _fixed_bits(header)
    if bits % 8:
        raise P4Error(f"the engine does not support header {header} of {bits} bits: use a multiple of 8")
    return bits // 8


def _fixed_bits(kind: Type) -> int:
    match kind:
        case Varbit() | Bits(width=0):
            return 0
        case HeaderType(fields=fields) | StructType(fields=fields):
            return sum(_fixed_bits(each.type) for each in fields)
        case _:
            return scalar_width(kind)


@dataclass(frozen=True, slots=True)
class Extent:
    """The size of a type in bytes, its alignment, and the offsets in bytes and types of its fields by name.

    A header stack has no fields here; `Layout.stride` gives the distance of its elements.
    """

    size: int
    alignment: int
    offsets: dict[str, int]
    fields: dict[str, Type]


class Layout:
    """Computes the sizes and field offsets of types, each once.

    They are cached by the identity of a type, because hashing a large header is slow.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Type, Extent]] = {}

    def of(self, kind: Type) -> Extent:
        """Return the size, alignment and fields of a type.

        Raises P4Error for a type that the engine does not support.
        """
        found = self._known.get(id(kind))
        if found is None:
            found = self._known[id(kind)] = (kind, self._compute(kind))
        return found[1]

    def size(self, kind: Type) -> int:
        """Return the size of a type in bytes, rounded up to its alignment. Raises P4Error for a type that is not
        supported.
        """
        return self.of(kind).size

    def field(self, kind: Type, names: Sequence[str]) -> tuple[int, Type]:
        """Return (offset in bytes, type) of a field, given the names that lead to it from the outside in.

        KeyError for an unknown name; P4Error for a type that is not supported.
        """
        offset = 0
        for name in names:
            extent = self.of(kind)
            offset += extent.offsets[name]
            kind = extent.fields[name]
        return offset, kind

    def leaves(self, kind: Type) -> list[tuple[int, Type]]:
        """Return (offset in bytes, type) of each scalar and varbit within a type, at any depth, in order, without those
        of type `bit<0>`.

        Raises P4Error for a type that the engine does not support.
        """
        if is_empty(kind):
            return []
        if isinstance(kind, (*SCALARS, Varbit)):
            return [(0, kind)]
        parts: list[tuple[int, Type]]
        if isinstance(kind, StackType):
            parts = [(8 + number * self.stride(kind), kind.element) for number in range(kind.size)]
        else:
            extent = self.of(kind)
            parts = [(extent.offsets[name], each) for name, each in extent.fields.items()]
        return [(offset + inner, leaf) for offset, each in parts for inner, leaf in self.leaves(each)]

    def stride(self, stack: StackType) -> int:
        """Return the distance between consecutive elements of a header stack, in bytes."""
        return align(self.size(stack.element), 8)

    def _compute(self, kind: Type) -> Extent:
        match kind:
            case HeaderType(fields=fields):
                return self._record([(each.name, each.type) for each in fields], start=1)
            case StructType(fields=fields) | UnionType(fields=fields):
                return self._record([(each.name, each.type) for each in fields])
            case TupleType(elements=elements):
                return self._record([(str(number), each) for number, each in enumerate(elements)])
            case StackType(size=size):
                return Extent(8 + size * self.stride(kind), 8, {}, {})
            case Varbit(width=width):
                return Extent(VARBIT_BYTES + align(-(-width // 8), 8), 8, {}, {})
            case _ if isinstance(kind, SCALARS):
                size = stored_width(scalar_width(kind)) // 8
                return Extent(size, min(size, 8), {}, {})
            case _:
                raise P4Error(f"the engine cannot hold a value of type {kind}")

    def _record(self, fields: list[tuple[str, Type]], start: int = 0) -> Extent:
        offset, alignment, offsets = start, 1, {}
        for name, kind in fields:
            extent = self.of(kind)
            offset = align(offset, extent.alignment)
            offsets[name] = offset
            offset += extent.size
            alignment = max(alignment, extent.alignment)
        return Extent(align(offset, alignment), alignment, offsets, dict(fields))
