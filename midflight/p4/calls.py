"""Queries about a checked program: its extern calls, direct action calls and digest types."""

from __future__ import annotations

from collections.abc import Iterator

from midflight.p4 import ir
from midflight.p4.nodes import within
from midflight.p4.types import EnumType, HeaderType, StructType, Type

__all__ = ["calculated", "called_actions", "calls", "digests", "reached"]


def calls(program: ir.Program) -> Iterator[ir.Call]:
    """Yield each extern call in the controls and actions of a program, not in its parsers.

    One in an action is yielded once.
    """
    for action in program.actions.values():
        yield from (each for each in within(action.body) if isinstance(each, ir.Call))
    yield from (each for each in _in_controls(program) if isinstance(each, ir.Call))


def called_actions(program: ir.Program) -> set[str]:
    """Return the names of the actions that controls call directly, as opposed to through a table or another action."""
    return {each.action.name for each in _in_controls(program) if isinstance(each, ir.ActionCall)}


def digests(program: ir.Program) -> dict[Type, str]:
    """Return the types that a program passes to `digest`, in order, with the names of the digests.

    That is the name of the type or, for one without a name such as a tuple, `digest_0` and so on, as p4c counts them.
    """
    found: dict[Type, str] = {}
    unnamed = 0
    for call in calls(program):
        if call.name != "digest" or call.instance is not None:
            continue
        kind = call.type_arguments[0] if call.type_arguments else call.arguments[1].type
        if kind in found:
            continue
        if isinstance(kind, StructType | HeaderType | EnumType) and kind.name:
            found[kind] = kind.name
        else:
            found[kind] = f"digest_{unnamed}"
            unnamed += 1
    return found


def reached(control: ir.Control) -> Iterator[ir.Node]:
    """Yield each node that a control can run: its own, and those of the controls, tables and actions that it uses."""
    waiting: list[ir.Control | ir.Action] = [control]
    seen: set[int] = set()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        for node in within(*part.locals, part.body) if isinstance(part, ir.Control) else within(part.body):
            yield node
            match node:
                case ir.ActionCall(action=action):
                    waiting.append(action)
                case ir.Apply(callee=ir.Control() as inner):
                    waiting.append(inner)
                case ir.TableApply(table=table) | ir.TableHit(table=table) | ir.Switch(subject=ir.Table() as table):
                    waiting += [each.action for each in table.actions]
                    if id(table) not in seen:
                        seen.add(id(table))
                        yield from within(*calculated(table))


def calculated(table: ir.Table) -> list[ir.Statement]:
    """Return the statements that compute a table's keys and the arguments in its list of actions."""
    return [*table.before, *(statement for each in table.actions for statement in each.before)]


def _in_controls(program: ir.Program) -> Iterator[ir.Node]:
    """Yield each node in the controls, and in each control that they apply, once. Actions are not entered."""
    seen: set[ir.Control | ir.Table] = set()
    for control in (program.verify, program.ingress, program.egress, program.compute, program.deparser):
        waiting = [_nodes(control, seen)]
        while waiting:
            node = next(waiting[-1], None)
            if node is None:
                waiting.pop()
                continue
            yield node
            match node:
                case ir.Apply(callee=ir.Control() as inner):
                    waiting.append(_nodes(inner, seen))
                case ir.TableApply(table=table) | ir.TableHit(table=table) | ir.Switch(subject=ir.Table() as table):
                    if table not in seen:
                        seen.add(table)
                        waiting.append(within(*calculated(table)))


def _nodes(control: ir.Control, seen: set[ir.Control | ir.Table]) -> Iterator[ir.Node]:
    """Return an iterator over a control's nodes in order, which is empty if the control is in `seen`."""
    if control in seen:
        return iter(())
    seen.add(control)
    return within(*control.locals, control.body)
