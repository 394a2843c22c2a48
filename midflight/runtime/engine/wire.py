"""Emits the reading of fields from bytes and writing of them to bytes, most significant bit first.

The parser, the deparser, digests, checksums and hashes all use these functions, and thus the same layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from midflight.p4.types import Type, Varbit
from midflight.runtime.engine.builder import VECTOR
from midflight.runtime.engine.code import Code, Place, Value, unsupported
from midflight.runtime.engine.layout import VARBIT_BYTES, scalar_width, stored_width

__all__ = ["Item", "Run", "Scalar", "read_bits", "runs", "write_items"]


RUN = 64
"""The maximum bits of unaligned fields that are joined to one integer: LLVM may fail on integers beyond 256 bits."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """An integer to be written with exactly its own width."""

    value: Value

    @property
    def width(self) -> int:
        """The number of bits of the integer on the wire."""
        width: int = self.value.type.width
        return width


@dataclass(frozen=True, slots=True)
class Run:
    """The address of `count` integers of `width` bits that lie side by side in memory, as on the wire.

    `width` is 8, 16, 32 or 64, and all of them together fill whole vectors of `VECTOR` bits.
    """

    pointer: Value
    width: int
    count: int


Item = Scalar | Place
"""Something to be written: a scalar, a run of them, or the place of a varbit."""


def runs(leaves: list[tuple[int, Type]]) -> Iterator[tuple[int, Type, int]]:
    """Group the leaves of a header, as `Layout.leaves` returns them, to runs that can be copied at once.

    Yields the offset and type of the first leaf, and how many there are: 1 for a leaf of its own.
    """
    at = bits = 0
    while at < len(leaves):
        offset, kind = leaves[at]
        count = 1
        if not isinstance(kind, Varbit):
            width = scalar_width(kind)
            if bits % 8 == 0 and width == stored_width(width) <= 64:
                while leaves[at + count : at + count + 1] == [(offset + count * width // 8, kind)]:
                    count += 1
                count = count - count % (VECTOR // width) or 1
            bits += count * width
        yield offset, kind, count
        at += count


def read_bits(code: Code, pointer: Value, offset: int, width: int) -> Value:
    """Emit a load of `width` bits that begin `offset` bits after an address, and return them.

    Reads no byte beyond them.
    """
    first, last = offset // 8, (offset + width - 1) // 8
    span = (last - first + 1) * 8
    value = code.swap_bytes(code.load(code.at(pointer, first), span, alignment=1))
    right = (last + 1) * 8 - offset - width
    return code.resize(code.b.lshr(value, code.constant(span, right)) if right else value, width)


def write_items(code: Code, pointer: Value, items: Sequence[Item | Run]) -> Value:
    """Emit the writing of items without gaps at an address, and return the number of bytes written (i32).

    Zero bits fill the last byte. Raises P4Error for a varbit that does not begin at a byte boundary.
    """
    pending: list[Scalar] = []
    written, total = 0, code.i32(0)
    for item in items:
        if isinstance(item, Scalar):
            pending.append(item)
            continue
        if isinstance(item, Run):
            written = _write_scalars(code, pointer, pending)
            pending = []
            pointer = code.at(pointer, written)
            code.copy_swapped(pointer, item.pointer, item.width, item.count)
            size = item.width * item.count // 8
            pointer = code.at(pointer, size)
            total = code.b.add(total, code.i32(written + size))
            continue
        assert isinstance(item.type, Varbit)
        if sum(each.width for each in pending) % 8:
            raise unsupported("a varbit that does not begin at a byte boundary")
        written = _write_scalars(code, pointer, pending)
        pending = []
        pointer = code.at(pointer, written)
        length = code.b.lshr(code.load(item.pointer, 32), code.i32(3))
        code.copy(pointer, code.at(item.pointer, VARBIT_BYTES), length)
        pointer = code.at(pointer, length)
        total = code.b.add(total, code.b.add(length, code.i32(written)))
    written = _write_scalars(code, pointer, pending)
    return code.b.add(total, code.i32(written))


def _write_scalars(code: Code, pointer: Value, items: list[Scalar]) -> int:
    """Store runs of fields that end at a byte boundary, each as one integer. Long runs may end inside a field."""
    run: list[Scalar] = []
    bits = offset = 0
    for item in items:
        run.append(item)
        bits += item.width
        rest = bits % 8
        if rest and bits <= RUN:
            continue
        if rest:
            below = code.resize(item.value, rest)
            run[-1] = Scalar(code.resize(code.b.lshr(item.value, code.constant(item.width, rest)), item.width - rest))
        code.store(code.swap_bytes(_join(code, run, bits - rest)), code.at(pointer, offset), alignment=1)
        offset += bits // 8
        run, bits = [Scalar(below)] if rest else [], rest
    if run:
        padding = -bits % 8
        run.append(Scalar(code.constant(padding, 0)))
        code.store(code.swap_bytes(_join(code, run, bits + padding)), code.at(pointer, offset), alignment=1)
        offset += (bits + padding) // 8
    return offset


def _join(code: Code, run: list[Scalar], bits: int) -> Value:
    """Concatenate scalars, the first as the most significant."""
    if len(run) == 1:
        return run[0].value
    result, left = None, bits
    for item in run:
        left -= item.width
        part = code.resize(item.value, bits)
        part = code.b.shl(part, code.constant(bits, left)) if left else part
        result = part if result is None else code.b.or_(result, part)
    return result
