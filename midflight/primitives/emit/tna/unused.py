"""Removes assignments to variables that nothing reads from lowered kernels, and finds what statements write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from midflight.primitives.emit.tna.lowered import Execute, HashOf, Lowered, Statements, Tabulated
from midflight.primitives.kernel.typed import (
    Alert,
    Assign,
    Decide,
    Draw,
    Expr,
    FieldRef,
    ForwardedRef,
    If,
    Local,
    Search,
    Unrolled,
    walk,
    within,
)
from midflight.stackless import Walk, run

__all__ = ["without_unused", "written"]


def written(statement: Any) -> Iterator[Local | FieldRef | ForwardedRef]:
    """Yield the variables and fields that a lowered statement writes, with those inside it.

    A statement that sets the verdict writes `ForwardedRef()`.
    """
    for each in walk([statement]):
        match each:
            case Assign() | HashOf() | Tabulated() | Draw():
                yield each.target
            case Execute(target=Local()):
                yield each.target
            case Search(target=target, hit=hit):
                yield target
                yield hit
            case Decide():
                yield ForwardedRef()
            case _:
                pass


def without_unused(lowered: Lowered) -> Lowered:
    """Return a lowered kernel without assignments to variables that nothing reads, and without these variables.

    Branches that become empty are removed, too.
    """
    body = lowered.body
    while True:
        used = frozenset(_read(body, lowered))
        shorter = run(_pruned(body, used))
        if shorter == body:
            break
        body = shorter
    kept = used | {each.name for statement in body for each in written(statement) if isinstance(each, Local)}
    return replace(lowered, body=body, locals={name: kind for name, kind in lowered.locals.items() if name in kept})


def _pruned(body: Statements, used: frozenset[str]) -> Walk[Statements]:
    kept: list[Any] = []
    for each in body:
        match each:
            case Assign(target=Local(name=name)) if name not in used:
                pass
            case If(condition=condition, yes=yes, no=no, line=line):
                one: Statements = yield _pruned(yes, used)
                other: Statements = yield _pruned(no, used)
                if one or other:
                    kept.append(each if (one, other) == (yes, no) else If(condition, one, other, line))
            case Unrolled(variable=variable, rounds=rounds, line=line):
                inner = []
                for number, statements in rounds:
                    inner.append((number, (yield _pruned(statements, used))))
                kept.append(Unrolled(variable, tuple(inner), line))
            case _:
                kept.append(each)
    return tuple(kept)


def _read(body: Statements, lowered: Lowered) -> Iterator[str]:
    """Yield the variables that a body and the updates of registers read."""
    for expr in _expressions(body, lowered):
        for each in within(expr):
            if isinstance(each, Local):
                yield each.name


def _expressions(body: Statements, lowered: Lowered) -> Iterator[Expr]:
    for stored in lowered.registers.values():
        for action in stored.actions.values():
            yield action.new
    for each in walk(body):
        match each:
            case Assign(value=value):
                yield value
            case If(condition=condition):
                yield condition
            case Execute(index=index):
                yield index
            case HashOf() | Alert():
                yield from each.values
            case Tabulated(key=key):
                yield key
            case Search(keys=keys, default=default):
                yield from (*keys, default)
            case _:
                pass
