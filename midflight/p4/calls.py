"""The calls that a program makes, wherever they stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from midflight.p4 import ir
from midflight.p4.types import StructType

__all__ = ["called_actions", "calls", "digests"]


def calls(program: ir.Program) -> Iterator[ir.Call]:
    """Yield every extern call of the program's controls and their actions; those of a shared action once."""
    for action in program.actions.values():
        yield from (each for each in _within(action.body, set()) if isinstance(each, ir.Call))
    yield from (each for each in _in_controls(program) if isinstance(each, ir.Call))


def called_actions(program: ir.Program) -> set[str]:
    """Return the names of the actions that controls call directly, not through a table or another action."""
    return {each.action.name for each in _in_controls(program) if isinstance(each, ir.ActionCall)}


def digests(program: ir.Program) -> list[StructType]:
    """Return the types of the messages that the program digests, each once; a type's name is its digest's name."""
    found: dict[str, StructType] = {}
    for call in calls(program):
        if call.name == "digest" and call.type_arguments and isinstance(kind := call.type_arguments[0], StructType):
            found.setdefault(kind.name, kind)
    return list(found.values())


def _in_controls(program: ir.Program) -> Iterator[ir.Call | ir.ActionCall]:
    seen: set[int] = set()
    for control in (program.verify, program.ingress, program.egress, program.compute, program.deparser):
        yield from _within(control, seen)


def _within(part: object, seen: set[int]) -> Iterator[ir.Call | ir.ActionCall]:
    """Yield the calls below a piece of a program, entering each control once, and actions and tables not at all."""
    match part:
        case ir.Control():
            if id(part) not in seen:
                seen.add(id(part))
                yield from _within((part.locals, part.body), seen)
        case ir.Call() | ir.ActionCall():
            yield part
            yield from _within(part.arguments, seen)
        case tuple():
            for each in part:
                yield from _within(each, seen)
        case ir.Node() | ir.Case():
            for each in fields(part):
                yield from _within(getattr(part, each.name), seen)
