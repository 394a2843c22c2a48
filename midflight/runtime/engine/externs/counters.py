"""The externs `counter` and `direct_counter`: 64-bit packet and byte counts."""

from __future__ import annotations

from midflight.p4 import ir
from midflight.runtime.engine.code import Code, Value
from midflight.runtime.engine.expressions import value
from midflight.runtime.engine.externs.registers import size_of

__all__ = ["count", "count_direct"]


def count(code: Code, call: ir.Call, instance: ir.Instance) -> None:
    """Emit `counter.count(index)`, which adds the packet and its bytes to a cell. An index out of range is ignored.

    Raises P4Error for an index expression that the engine does not support.
    """
    index = value(code, call.arguments[0])
    wide = code.resize(index, max(64, index.type.width))
    with code.when(code.b.icmp_unsigned("<", wide, code.constant(wide.type.width, size_of(instance)))):
        _add(code, instance, code.resize(wide, 64))


def count_direct(code: Code, instance: ir.Instance, entry: Value) -> None:
    """Emit the count of the packet in a direct counter, for the table entry with the number `entry` (an LLVM value)."""
    _add(code, instance, code.resize(entry, 64))


def _add(code: Code, instance: ir.Instance, index: Value) -> None:
    """Add the packet and its bytes. Both are maintained for every type of counter."""
    offset = code.b.shl(index, code.i64(3))
    length = code.resize(code.function.args[3], 64)
    for what, amount in (("packets", code.i64(1)), ("bytes", length)):
        pointer = code.at(code.slot_pointer(f"{instance.name}.{what}"), offset)
        code.unit.target.add(code, pointer, amount)
