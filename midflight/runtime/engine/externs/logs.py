"""The externs `log_msg`, `assert` and `assume`: messages of the program for the switch's log and for traces."""

from __future__ import annotations

from midflight.p4 import ir
from midflight.runtime.engine.code import Code, RecordKind, Value, unsupported
from midflight.runtime.engine.expressions import items_of, value
from midflight.runtime.engine.externs.records import append, leaf_signs, number_of
from midflight.runtime.engine.noting import Event, note
from midflight.runtime.engine.wire import Scalar

__all__ = ["check", "log_msg"]


def log_msg(code: Code, call: ir.Call) -> None:
    """Emit `log_msg(text)` or `log_msg(text, data)`, which logs the text with each `{}` replaced by a value.

    Raises P4Error for a text that is not constant, or data with a varbit.
    """
    text = call.arguments[0]
    if not isinstance(text, ir.Literal):
        raise unsupported("log_msg() with a text that is not a constant", call.place)
    scalars: list[Scalar] = []
    signs: list[bool] = []
    for data in call.arguments[1:]:
        for each in items_of(code, data):
            if not isinstance(each, Scalar):
                raise unsupported("log_msg() with a varbit", call.place)
            scalars.append(each)
        signs += leaf_signs(data.type)
    record = RecordKind(str(text.value), tuple(each.width for each in scalars), tuple(signs), log=True)
    _log(code, record, [each.value for each in scalars])


def check(code: Code, call: ir.Call) -> None:
    """Emit `assert(condition)` or `assume(condition)`: a condition that does not hold is counted and logged.

    The program continues. P4Error for a condition that the engine cannot compute.
    """
    where = "" if call.place is None else f" at {call.place}"
    with code.when(code.b.not_(value(code, call.arguments[0]))):
        code.count("assertions")
        _log(code, RecordKind(f"{call.name} failed{where}", log=True), [])


def _log(code: Code, record: RecordKind, values: list[Value]) -> None:
    if code.unit.names is not None:
        note(code, Event.LOG, number_of(code, record))
        for each in values:
            wide = code.resize(each, -(-each.type.width // 64) * 64)
            for shift in range(0, wide.type.width, 64):
                note(code, Event.VALUE, 0, code.b.lshr(wide, code.constant(wide.type.width, shift)) if shift else wide)
    append(code, record, values)
