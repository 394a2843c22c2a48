"""Emits the records of a traced program about its variables: assignments, with the values before and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from midflight.errors import Place
from midflight.p4 import ir
from midflight.runtime.engine.code import Code
from midflight.runtime.engine.expressions import value
from midflight.runtime.engine.layout import SCALARS, is_signed, scalar_width
from midflight.runtime.engine.noting import Event, note_values

__all__ = ["changes", "spelled"]


@contextmanager
def changes(code: Code, targets: Sequence[ir.Expression], place: Place | None) -> Iterator[None]:
    """Record the values of lvalues before and after what is emitted inside, if the program is compiled with tracing.

    Only scalars are recorded, and not those whose place an expression without a constant value chooses.
    """
    watched = [each for each in targets if isinstance(each.type, SCALARS) and spelled(each)] if _traced(code) else []
    before = [value(code, each) for each in watched]
    yield
    for each, was in zip(watched, before, strict=True):
        form = scalar_width(each.type), is_signed(each.type)
        note_values(code, Event.ASSIGN, spelled(each), [(was, *form), (value(code, each), *form)], place)


def spelled(target: ir.Expression) -> str:
    """Return an lvalue as in P4, such as "hdr.ipv4.ttl"; empty if it has a part that only the packet determines."""
    parts: list[str] = []
    while True:
        match target:
            case ir.VariableRef(variable=variable):
                return "".join([variable.name, *reversed(parts)])
            case ir.Member(base=base, name=name):
                parts.append(f".{name}")
            case ir.Index(base=base, index=ir.Literal(value=number)):
                parts.append(f"[{number}]")
            case ir.Slice(base=base, high=high, low=low):
                parts.append(f"[{high}:{low}]")
            case _:
                return ""
        target = base


def _traced(code: Code) -> bool:
    return code.unit.names is not None
