"""Gives the rounds of unrolled loops variables of their own, so that stages can compute the rounds side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from midflight.primitives.emit.tna.replacing import replaced
from midflight.primitives.kernel.typed import (
    Access,
    Alert,
    Assign,
    Checksum,
    Draw,
    Expr,
    If,
    Local,
    Search,
    Statement,
    Unrolled,
    expressions,
    walk,
    within,
)
from midflight.primitives.kernel.types import Kind
from midflight.stackless import Walk, run

__all__ = ["separated"]

Body = tuple[Statement, ...]


def separated(body: Body, variables: dict[str, Kind | None]) -> Body:
    """Return a kernel in which each round of a loop has its own variables, if it assigns them before it reads them.

    Variables that are read outside of the loop stay. The new variables are added to `variables`.
    """
    whole = [name for each in walk(body) for name in _reads(each)]
    kept: list[Statement] = []
    for each in body:
        if not isinstance(each, Unrolled):
            kept.append(each)
            continue
        inside = [name for statement in walk([each]) for name in _reads(statement)]
        local = {name for name in inside if inside.count(name) == whole.count(name)}
        hashed = {part.target.name for part in walk([each]) if isinstance(part, Checksum)}
        own = [name for name in sorted(local - hashed) if all(_assigns_first(inner, name) for _, inner in each.rounds)]
        rounds = []
        for place, (number, inner) in enumerate(each.rounds):
            names = {name: f"{name}_{place}" for name in own if place and f"{name}_{place}" not in variables}
            variables |= {new: variables[name] for name, new in names.items()}
            rounds.append((number, run(_renamed(inner, names))))
        kept.append(replace(each, rounds=tuple(rounds)))
    return tuple(kept)


def _reads(statement: Statement) -> list[str]:
    """Return the variables that a statement reads itself, once for each expression that does."""
    return [
        each.name for expr in expressions(statement) for each in dict.fromkeys(within(expr)) if isinstance(each, Local)
    ]


def _target(statement: Statement) -> Local | None:
    match statement:
        case Assign() | Access() | Search() | Checksum() | Draw():
            return statement.target if isinstance(statement.target, Local) else None
        case _:
            return None


def _assigns_first(body: Body, name: str) -> bool:
    """Return whether the first statement about a variable assigns it, whatever the packet."""
    for each in body:
        if any(name in _reads(inner) for inner in walk([each])):
            return False
        target = _target(each)
        if target is not None and target.name == name:
            return True
        if any((inner := _target(part)) is not None and inner.name == name for part in walk([each])):
            return False
    return False


def _renamed(body: Body, names: dict[str, str]) -> Walk[Body]:
    renamed: list[Any] = []
    for each in body:
        match each:
            case If(condition=condition, yes=yes, no=no, line=line):
                one: Body = yield _renamed(yes, names)
                other: Body = yield _renamed(no, names)
                renamed.append(If(_expression(condition, names), one, other, line))
            case Unrolled(variable=variable, rounds=rounds, line=line):
                inner = []
                for number, statements in rounds:
                    inner.append((number, (yield _renamed(statements, names))))
                renamed.append(Unrolled(variable, tuple(inner), line))
            case Assign(target=target, value=value, line=line):
                renamed.append(Assign(_name(target, names), _expression(value, names), line))
            case Access():
                new = None if each.new is None else _expression(each.new, names)
                index, condition = _expression(each.index, names), _expression(each.condition, names)
                renamed.append(
                    replace(each, index=index, condition=condition, new=new, target=_name(each.target, names))
                )
            case Search():
                keys = tuple(_expression(key, names) for key in each.keys)
                default, target, hit = (
                    _expression(each.default, names),
                    _name(each.target, names),
                    _name(each.hit, names),
                )
                renamed.append(replace(each, keys=keys, default=default, target=target, hit=hit))
            case Checksum():
                values = tuple(_expression(value, names) for value in each.values)
                renamed.append(replace(each, values=values, target=_name(each.target, names)))
            case Alert():
                renamed.append(replace(each, values=tuple(_expression(value, names) for value in each.values)))
            case Draw():
                renamed.append(replace(each, target=_name(each.target, names)))
            case _:
                renamed.append(each)
    return tuple(renamed)


def _name(target: Any, names: dict[str, str]) -> Any:
    return replace(target, name=names[target.name]) if isinstance(target, Local) and target.name in names else target


def _expression(expr: Expr, names: dict[str, str]) -> Expr:
    for each in [*within(expr)]:
        if isinstance(each, Local) and each.name in names:
            expr = replaced(expr, each, replace(each, name=names[each.name]))
    return expr
