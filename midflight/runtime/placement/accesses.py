"""How often one packet may reach each register array, over the worst way through a program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import fields

from midflight.p4 import ir

__all__ = ["accesses", "within"]

# By register array and method (`read`, `write`): how many calls.
Calls = Counter[tuple[str, str]]


def accesses(*controls: ir.Control) -> dict[str, int]:
    """Return for each register array how often one packet may reach it as it passes the controls.

    Of alternatives the worst counts. Reads and writes count apart and the larger number holds: a read with a write
    after it is one read-modify-write, as hardware does it.
    """
    worst = _sequence(_of((each.locals, each.body)) for each in controls)
    return {name: max(worst[name, "read"], worst[name, "write"]) for name, _ in worst}


def within(part: object) -> Iterator[ir.Node]:
    """Yield every statement and expression below a piece of a program; into no action, table or control called."""
    if isinstance(part, tuple):
        for each in part:
            yield from within(each)
    elif isinstance(part, ir.Node | ir.Case):
        if isinstance(part, ir.Node):
            yield part
        for each in fields(part):
            yield from within(getattr(part, each.name))


def _of(part: object) -> Calls:
    match part:
        case ir.If(condition=condition, yes=yes, no=no):
            return _of(condition) + _either([_of(yes), _of(no)])
        case ir.Switch(subject=subject, cases=cases):
            return _of(subject) + _either(_of(each.body) for each in cases)
        case ir.Ternary(condition=condition, yes=yes, no=no):
            return _of(condition) + _either([_of(yes), _of(no)])
        case ir.TableApply(table=table) | ir.TableHit(table=table):
            return _of(table)
        case ir.Table():
            keys = _sequence(_of(each.expression) for each in part.keys)
            return keys + _either(_of(each.action.body) for each in (*part.actions, part.default))
        case ir.ActionCall(action=action, arguments=arguments):
            return _of(arguments) + _of(action.body)
        case ir.Apply(callee=ir.Control() as callee):
            return _of((callee.locals, callee.body))
        case ir.Call(name=name, instance=ir.Instance(kind="register", name=register), arguments=arguments):
            return _of(arguments) + Counter({(register, name): 1})
        case ir.Node():
            return _sequence(_of(getattr(part, each.name)) for each in fields(part))
        case (ir.If(condition=condition, yes=yes, no=no), *rest) if _leaves(yes) or _leaves(no):
            # What follows is for those packets only that are still there.
            return _of(condition) + _either(_of(each) if _leaves(each) else _of((each, *rest)) for each in (yes, no))
        case (first, *rest):
            return _of(first) + _of(tuple(rest))
        case _:
            return Counter()


def _leaves(statement: ir.Statement | None) -> bool:
    """Tell whether nothing that stands behind a statement is reached."""
    match statement:
        case ir.Return() | ir.Exit():
            return True
        case ir.Block(body=body):
            return any(_leaves(each) for each in body)
        case ir.If(yes=yes, no=no):
            return _leaves(yes) and _leaves(no)
        case _:
            return False


def _sequence(parts: Iterable[Calls]) -> Calls:
    return sum(parts, Counter())


def _either(parts: Iterable[Calls]) -> Calls:
    worst: Calls = Counter()
    for each in parts:
        worst |= each
    return worst
