"""The extern `register`: arrays in the host's memory that native code reads and writes in place."""

from __future__ import annotations

from midflight.p4 import ir
from midflight.p4.types import Bits, Bool, EnumType
from midflight.runtime.engine.code import CELL, I8, Code, Value, unsupported
from midflight.runtime.engine.expressions import store, value
from midflight.runtime.engine.layout import is_signed, scalar_width, stored_width
from midflight.runtime.engine.noting import Event, note_values

__all__ = ["read", "size_of", "write"]


def size_of(instance: ir.Instance) -> int:
    """Return the number of elements of a register, counter or meter array."""
    size = instance.arguments[0]
    assert isinstance(size, int)
    return size


def read(code: Code, call: ir.Call, instance: ir.Instance) -> None:
    """Emit `register.read(result, index)`, which gives 0 for an index out of range.

    Raises P4Error for an element type that the engine does not support.
    """
    width, stored = _widths(instance)
    outside, pointer = _element(code, instance, value(code, call.arguments[1]), stored)
    zero = code.constant(stored, 0)
    element = code.choose(outside, lambda: zero, lambda: code.load(pointer, stored, kind=CELL))
    _note(code, Event.READ, call, instance, call.arguments[1], code.resize(element, width))
    store(code, call.arguments[0], code.resize(element, width))


def write(code: Code, call: ir.Call, instance: ir.Instance) -> None:
    """Emit `register.write(index, value)`, which ignores an index out of range.

    Raises P4Error for an element type that the engine does not support.
    """
    _, stored = _widths(instance)
    outside, pointer = _element(code, instance, value(code, call.arguments[0]), stored)
    new = value(code, call.arguments[1])
    _note(code, Event.WRITE, call, instance, call.arguments[0], new)
    with code.unless(outside):
        signed = is_signed(instance.type_arguments[0])
        code.store(code.resize(new, stored, signed=signed), pointer, kind=CELL)


def _note(code: Code, event: Event, call: ir.Call, instance: ir.Instance, index: ir.Expression, element: Value) -> None:
    """Record an access to a register, if the program is compiled with tracing."""
    if code.unit.names is not None:
        kind = instance.type_arguments[0]
        where, what = (scalar_width(index.type), is_signed(index.type)), (scalar_width(kind), is_signed(kind))
        note_values(code, event, instance.name, [(value(code, index), *where), (element, *what)], call.place)


def _widths(instance: ir.Instance) -> tuple[int, int]:
    """Return the widths of an element in bits, while it is computed on and in memory."""
    kind = instance.type_arguments[0]
    if not isinstance(kind, (Bits, Bool)) and not (isinstance(kind, EnumType) and kind.underlying):
        hint = "registers hold bit<W>, int<W>, bool or an enum of a width"
        raise unsupported(f"a register of {kind}", instance.place, hint)
    width = scalar_width(kind)
    return width, stored_width(width)


def _element(code: Code, instance: ir.Instance, index: Value, stored: int) -> tuple[Value, Value]:
    """Return whether an index is out of range, and the address of the element, which has `stored` bits there.

    The address is valid only if the index is in range. The comparison has the form that LLVM gives to the one of a
    program that checks `index >= size` itself, so that it sees that they are the same.
    """
    wide, size = code.resize(index, max(64, index.type.width)), size_of(instance)
    last = code.constant(wide.type.width, size - 1)
    outside = code.b.icmp_unsigned(">", wide, last) if size else code.constant(1, 1)
    base = code.slot_pointer(instance.name)
    offset = code.b.mul(code.resize(wide, 64), code.i64(stored // 8))
    return outside, code.b.gep(base, [offset], source_etype=I8)
