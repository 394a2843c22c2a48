"""Removes return statements from the typed bodies of functions, which are inlined.

The statements after a conditional return move into the branch that does not return. Where neither branch of an if
always returns, a flag variable records whether the function has returned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from midflight.errors import Place
from midflight.p4 import ir
from midflight.p4.types import BOOL
from midflight.stackless import Walk, in_turn

__all__ = ["Returns", "When", "lower", "when"]

When: TypeAlias = Literal["never", "maybe", "always"]
"""Whether code returns: on no path, on some paths, or on all."""

# A linked list of statements, so that branches share the statements that follow them instead of copying them.
Row: TypeAlias = "tuple[ir.Statement, Row] | None"


@dataclass(slots=True)
class Returns:
    """State of removing the returns of one function: its flag, and whether that is `used`.

    `known` caches how each statement returns, by the statement's identity, and keeps the statement alive. The functions
    of a program share it, so that inlined statements are not searched again.
    """

    flag: ir.Variable
    known: dict[int, tuple[ir.Statement, When]]
    used: bool = False


def when(returns: Returns, body: Iterable[ir.Statement]) -> Walk[When]:
    """Return whether a sequence of statements returns on no path, some paths or all; `exit` counts as a return."""
    found: When = "never"
    for each in body:
        part: When = yield _when(returns, each)
        if part == "always":
            return part
        if part == "maybe":
            found = part
    return found


def _when(returns: Returns, statement: ir.Statement) -> Walk[When]:
    if known := returns.known.get(id(statement)):
        return known[1]
    found: When
    match statement:
        case ir.Return() | ir.Exit():
            found = "always"
        case ir.Block(body=body):
            found = yield when(returns, body)
        case ir.If(yes=yes, no=no):
            branches = [[yes], [no] if no is not None else []]
            found = _either((yield in_turn(when(returns, each) for each in branches)))
        case ir.Switch(cases=cases):
            ways: list[When] = yield in_turn(_when(returns, each.body) for each in cases)
            found = _either(ways if any(not each.labels for each in cases) else [*ways, "never"])
        case ir.Loop(body=body):
            inside: When = yield _when(returns, body)
            found = "never" if inside == "never" else "maybe"
        case _:
            found = "never"
    returns.known[id(statement)] = statement, found
    return found


def _either(ways: Sequence[When]) -> When:
    return ways[0] if len(set(ways)) == 1 else "maybe"


def lower(returns: Returns, body: Iterable[ir.Statement], place: Place) -> Walk[ir.Block]:
    """Return the statements as a block at `place`, with all returns removed, equivalent to the original.

    `returns.used` is whether the block uses the flag, which the caller then declares.
    """
    made: list[ir.Statement] = yield _lower(returns, _before(body, None), False)
    block = ir.Block(tuple(made), place=place)
    returns.known[id(block)] = block, "never"
    return block


def _before(body: Iterable[ir.Statement], rest: Row) -> Row:
    for each in reversed(tuple(body)):
        rest = (each, rest)
    return rest


def _lower(returns: Returns, row: Row, flagged: bool, looped: bool = False) -> Walk[list[ir.Statement]]:
    """Return statements with all returns removed. With `flagged`, each return sets the flag instead.

    With `looped`, it also ends the loop around it.
    """
    made: list[ir.Statement] = []
    while row is not None:
        each, rest = row
        row = rest
        if isinstance(each, ir.Return):
            if flagged:
                target = ir.VariableRef(returns.flag, BOOL)
                made.append(ir.Assign(target, ir.Literal(1, BOOL), place=each.place))
            if looped:
                made.append(ir.Break(place=each.place))
            return made
        comes_back: When = yield _when(returns, each)
        if comes_back == "never" or isinstance(each, ir.Exit):
            made.append(each)
            continue
        match each:
            case ir.Block(body=inner):
                lowered: list[ir.Statement] = yield _lower(returns, _before(inner, rest), flagged, looped)
                return [*made, ir.Block(tuple(lowered), place=each.place)]
            case ir.If(yes=yes, no=no):
                others = () if no is None else (no,)
                first: When = yield _when(returns, yes)
                second: When = yield when(returns, others)
                if first == "always":
                    made.append((yield _if(returns, each, (yes, None), _before(others, rest), flagged, looped)))
                    return made
                if second == "always":
                    made.append((yield _if(returns, each, (yes, rest), _before(others, None), flagged, looped)))
                    return made
                made.append((yield _if(returns, each, (yes, None), _before(others, None), True, looped)))
            case ir.Switch(subject=subject, cases=cases):
                bodies: list[list[ir.Statement]] = yield in_turn(
                    _lower(returns, (case.body, None), True, looped) for case in cases
                )
                made.append(
                    ir.Switch(
                        subject,
                        tuple(
                            ir.Case(case.labels, ir.Block(tuple(body), place=case.body.place))
                            for case, body in zip(cases, bodies, strict=True)
                        ),
                        place=each.place,
                    )
                )
            case ir.Loop():
                rounds: list[ir.Statement] = yield _lower(returns, (each.body, None), True, True)
                made.append(replace(each, body=ir.Block(tuple(rounds), place=each.place)))
                if looped:
                    flag = ir.VariableRef(returns.flag, BOOL)
                    made.append(ir.If(flag, ir.Break(place=each.place), None, place=each.place))
        returns.used = True
        if rest is not None:
            going_on = ir.Unary("!", ir.VariableRef(returns.flag, BOOL), BOOL)
            behind: list[ir.Statement] = yield _lower(returns, rest, flagged, looped)
            made.append(ir.If(going_on, ir.Block(tuple(behind)), None, place=each.place))
        return made
    return made


def _if(returns: Returns, node: ir.If, yes: Row, no: Row, flagged: bool, looped: bool) -> Walk[ir.If]:
    others: list[ir.Statement] = yield _lower(returns, no, flagged, looped)
    first: list[ir.Statement] = yield _lower(returns, yes, flagged, looped)
    return ir.If(
        node.condition,
        ir.Block(tuple(first), place=node.yes.place),
        ir.Block(tuple(others), place=node.place) if others else None,
        place=node.place,
    )
