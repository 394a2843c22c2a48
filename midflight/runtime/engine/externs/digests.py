"""The extern `digest`: records with the values of a list or struct, for the control plane."""

from __future__ import annotations

from midflight.p4 import ir
from midflight.p4.types import Type
from midflight.runtime.engine.code import Code, RecordKind, unsupported
from midflight.runtime.engine.expressions import items_of
from midflight.runtime.engine.externs.records import append, leaf_signs, number_of
from midflight.runtime.engine.noting import Event, note
from midflight.runtime.engine.wire import Scalar

__all__ = ["digest"]


def digest(code: Code, call: ir.Call) -> None:
    """Emit `digest(receiver, data)`, which writes the current values to a buffer for the control plane.

    If the buffer is full when the code runs, the digest is lost and counted. Raises P4Error for data with a varbit.
    """
    data = call.arguments[1]
    kind: Type = call.type_arguments[0] if call.type_arguments else data.type
    items = items_of(code, data)
    if not all(isinstance(each, Scalar) for each in items):
        raise unsupported("a digest with a varbit", call.place)
    scalars = [each for each in items if isinstance(each, Scalar)]
    name = code.unit.digest_names.get(kind, str(kind))
    record = RecordKind(name, tuple(each.width for each in scalars), tuple(leaf_signs(data.type)))
    note(code, Event.DIGEST, number_of(code, record))
    append(code, record, [each.value for each in scalars])
