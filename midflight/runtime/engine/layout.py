"""Where the values of a P4 program lie in memory: sizes and offsets in bytes, for native code and for NumPy alike.

A scalar of W bits takes the least of 8, 16, 32 or 64 bits that holds it, or whole 64-bit words beyond, little-endian
and zero-extended. A header begins with its validity byte; a stack with its `nextIndex` (32 bits); a varbit with its
length in bits (32 bits), then its bytes in wire order. All offsets are explicit, so nothing depends on a target's ABI.
"""

from __future__ import annotations

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
    Varbit,
)

__all__ = [
    "VARBIT_BYTES", "Extent", "Layout", "align", "fixed_bytes", "is_scalar", "is_signed", "scalar_width",
    "stored_width",
]  # fmt: skip

VARBIT_BYTES = 8
"""Offset of a varbit's first byte: its length comes before."""

INDEX_WIDTH = 32
"""Width of enums without an underlying type, and of errors."""


def align(offset: int, alignment: int) -> int:
    """Return the first multiple of `alignment` at or after `offset`."""
    return -(-offset // alignment) * alignment


def stored_width(width: int) -> int:
    """Return the bits that a scalar of `width` bits takes in memory."""
    for each in (8, 16, 32):
        if width <= each:
            return each
    return align(width, 64)


def is_scalar(kind: Type) -> bool:
    """Tell whether a value of this type is one integer."""
    return isinstance(kind, (Bits, Bool, EnumType, ErrorType))


def is_signed(kind: Type) -> bool:
    """Tell whether a value of this type is in two's complement."""
    match kind:
        case Bits(signed=signed):
            return signed
        case EnumType(underlying=Bits(signed=signed)):
            return signed
        case _:
            return False


def scalar_width(kind: Type) -> int:
    """Return the width in bits that a scalar has while it is computed on."""
    match kind:
        case Bits(width=width) if width > 0:
            return width
        case Bool():
            return 1
        case EnumType(underlying=Bits(width=width)):
            return width
        case EnumType() | ErrorType():
            return INDEX_WIDTH
        case _:
            raise P4Error(f"the engine has no scalar of type {kind}")


def fixed_bytes(header: HeaderType) -> int:
    """Return a header's bytes on the wire without its varbits; P4Error where they are not whole."""
    bits = _fixed_bits(header)
    if bits % 8:
        raise P4Error(f"the engine does not support header {header} of {bits} bits: they must make whole bytes")
    return bits // 8


def _fixed_bits(kind: Type) -> int:
    match kind:
        case Varbit():
            return 0
        case HeaderType(fields=fields) | StructType(fields=fields):
            return sum(_fixed_bits(each.type) for each in fields)
        case _:
            return scalar_width(kind)


@dataclass(frozen=True, slots=True)
class Extent:
    """The size of a type and the offsets of its fields, all in bytes."""

    size: int
    alignment: int
    offsets: dict[str, int]


class Layout:
    """Computes extents, each once. Types are looked up by identity first: hashing a large header is slow."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Type, Extent]] = {}

    def of(self, kind: Type) -> Extent:
        """Return the extent of a type; P4Error where the engine cannot hold one."""
        found = self._known.get(id(kind))
        if found is None:
            found = self._known[id(kind)] = (kind, self._compute(kind))
        return found[1]

    def size(self, kind: Type) -> int:
        """Return the bytes that a type takes, rounded up to its alignment."""
        return self.of(kind).size

    def offset(self, kind: Type, field: str) -> int:
        """Return where a field of a struct, header or tuple begins."""
        return self.of(kind).offsets[field]

    def stride(self, stack: StackType) -> int:
        """Return the distance between two elements of a header stack."""
        return align(self.size(stack.element), 8)

    def _compute(self, kind: Type) -> Extent:
        match kind:
            case HeaderType(fields=fields):
                return self._record([(each.name, each.type) for each in fields], start=1)
            case StructType(fields=fields):
                return self._record([(each.name, each.type) for each in fields])
            case TupleType(elements=elements):
                return self._record([(str(number), each) for number, each in enumerate(elements)])
            case StackType(size=size):
                return Extent(8 + size * self.stride(kind), 8, {"": 8})
            case Varbit(width=width):
                return Extent(VARBIT_BYTES + align(-(-width // 8), 8), 8, {})
            case _ if is_scalar(kind):
                size = stored_width(scalar_width(kind)) // 8
                return Extent(size, min(size, 8), {})
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
        return Extent(align(offset, alignment), alignment, offsets)
