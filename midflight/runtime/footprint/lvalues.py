"""Lvalues of a program: what identifies them, and how they are shown."""

from __future__ import annotations

from midflight.p4 import ir
from midflight.runtime.footprint.rests import Key

__all__ = ["copied", "key_of", "shown"]


def key_of(place: ir.Expression) -> tuple[Key, bool]:
    """Return the key of an lvalue, and whether the expression is all of it, as opposed to a slice or stack element."""
    names: list[str] = []
    whole = True
    while True:
        match place:
            case ir.CopyIn(target=base):
                pass
            case ir.VariableRef(variable=variable):
                return (variable, *reversed(names)), whole
            case ir.Member(base=base, name=name):
                names.append(name)
            case ir.Slice(base=base) | ir.Index(base=base):
                names.clear()
                whole = False
            case _:
                return (str(id(place)),), False
        place = base


def copied(value: ir.Expression) -> Key | None:
    """Return the key of the lvalue that an expression copies as a whole, except for casts; None for others."""
    while isinstance(value, ir.Cast):
        value = value.operand
    return key_of(value)[0] if isinstance(value, ir.VariableRef | ir.Member) else None


def shown(target: ir.Expression) -> str:
    """Return an lvalue as text, without the parameter that it begins with."""
    key, _ = key_of(target)
    names = [each.name if isinstance(each, ir.Variable) else each for each in key]
    return ".".join(names[1:] or names)
