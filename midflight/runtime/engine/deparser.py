"""Emits deparsers as native code: `emit` writes valid headers one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.p4 import ir
from midflight.p4.types import HeaderType, StackType, StructType, Type, UnionType, Varbit, width_of
from midflight.runtime.engine.code import Code, Place, Value
from midflight.runtime.engine.expressions import components, flatten, is_valid, place, value
from midflight.runtime.engine.layout import fixed_bytes, scalar_width
from midflight.runtime.engine.statements import lower, lower_all
from midflight.runtime.engine.wire import Item, Run, Scalar, runs, write_items
from midflight.stackless import Walk, in_turn, run

__all__ = ["lower_deparser", "most_bytes"]


def lower_deparser(code: Code, control: ir.Control, out: Value) -> Value:
    """Emit a deparser that writes headers at the address `out`, and return the number of bytes written (i32).

    The places of its parameters must be set in `code.variables`. Raises P4Error for constructs that the engine does not
    support.
    """
    position = code.allocate(4, 4)
    code.store(code.i32(0), position)
    run(lower_all(code, control.locals))
    run(_lower(code, control.body, out, position))
    return code.unit.target.forget(code, code.load(position, 32))


def most_bytes(control: ir.Control) -> int:
    """Return an upper bound of the bytes of headers, without varbits, that a deparser writes for one packet."""

    def of_type(kind: Type) -> int:
        match kind:
            case HeaderType():
                return -(-width_of(kind) // 8)
            case StackType(element=element, size=size):
                return size * of_type(element)
            case StructType(fields=fields) | UnionType(fields=fields):
                return sum(of_type(each.type) for each in fields)
            case _:
                return 0

    def of(statement: ir.Statement | None) -> Walk[int]:
        most = 0
        match statement:
            case ir.Emit(value=emitted):
                most = of_type(emitted.type)
            case ir.Block(body=body):
                for each in body:
                    most += yield of(each)
            case ir.If(yes=yes, no=no):
                branches: list[int] = yield in_turn(map(of, (yes, no)))
                most = max(branches)
        return most

    return run(of(control.body))


def _lower(code: Code, statement: ir.Statement, out: Value, position: Value) -> Walk[None]:
    match statement:
        case ir.Emit(value=emitted):
            _emit(code, place(code, emitted), out, position)
        case ir.Block(body=body):
            for each in body:
                yield _lower(code, each, out, position)
        case ir.If(condition=condition, yes=yes, no=no):
            chosen = value(code, condition)
            with code.when(chosen):
                yield _lower(code, yes, out, position)
            if no is not None:
                with code.when(code.b.not_(chosen)):
                    yield _lower(code, no, out, position)
        case _:
            yield lower(code, statement)


def _emit(code: Code, whole: Place, out: Value, position: Value) -> None:
    if not isinstance(whole.type, HeaderType):
        for part in components(code, whole):
            _emit(code, part, out, position)
        return
    fixed_bytes(whole.type)
    with code.when(is_valid(code, whole)):
        so_far = code.unit.target.forget(code, code.load(position, 32))
        written = write_items(code, code.at(out, so_far), _items(code, whole))
        code.store(code.b.add(so_far, written), position)


def _items(code: Code, header: Place) -> Sequence[Item | Run]:
    """Emit loads of a header's scalars, and return what is to be written, in wire order."""
    if not code.unit.target.vectors:
        return flatten(code, header)
    items: list[Item | Run] = []
    for offset, kind, count in runs(code.layout.leaves(header.type)):
        where = Place(code.at(header.pointer, offset), kind)
        if isinstance(kind, Varbit):
            items.append(where)
        else:
            items.append(Scalar(code.read(where)) if count == 1 else Run(where.pointer, scalar_width(kind), count))
    return items
