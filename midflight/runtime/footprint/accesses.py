"""The worst-case number of accesses of one packet to each register array."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from midflight.p4 import ir
from midflight.p4.nodes import children, within
from midflight.stackless import Step, Walk, run

__all__ = ["accesses"]

# Number of calls by register array and method (`read` or `write`).
Calls = Counter[tuple[str, str]]


def accesses(*controls: ir.Control) -> dict[str, int]:
    """Return, by register array, the largest number of times that one packet may access it on its way through the
    controls.

    Reads and writes are counted separately and the larger number is returned, because hardware performs a read and a
    later write as one read-modify-write. Of alternative branches, the one with more accesses counts, array by array.
    The body of a loop counts twice, however often it runs. Register arrays without accesses are left out.
    """
    count = _Count()
    worst = Calls()
    for each in controls:
        worst = _both(worst, run(_callee(each, count)))
    return {
        name: most for name in count.met if (most := max(worst.get((name, "read"), 0), worst.get((name, "write"), 0)))
    }


@dataclass(slots=True)
class _Count:
    """Memoised counts for each action, table and control, and the register arrays in the order found."""

    known: dict[ir.Action | ir.Table | ir.Control, Calls] = field(default_factory=dict)
    met: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Way:
    """One path through a statement: its calls, and whether it ends the enclosing body, with a return or exit."""

    calls: Calls = field(default_factory=Calls)
    leaves: bool = False


@dataclass(frozen=True, slots=True)
class _Part:
    """A statement: the calls that it always makes, and the alternative paths after them. A packet takes one."""

    calls: Calls
    ways: tuple[_Way, ...] = (_Way(),)

    @property
    def leaves(self) -> bool:
        return all(each.leaves for each in self.ways)


def _callee(callee: ir.Action | ir.Table | ir.Control, count: _Count) -> Walk[Calls]:
    """Count the calls of a control, table or action, once for each."""
    if callee not in count.known:
        match callee:
            case ir.Control():
                way: _Way = yield _row((*callee.locals, callee.body), count)
                calls = way.calls
            case ir.Action(body=body):
                way = yield _row((body,), count)
                calls = way.calls
            case ir.Table():
                calculated: _Way = yield _row(callee.before, count)
                calls, worst = calculated.calls, Calls()
                for key in callee.keys:
                    calls = _both(calls, (yield _expression(key.expression, count)))
                for reference in (*callee.actions, callee.default):
                    calculated = yield _row(reference.before, count)
                    worst = _worse(worst, _both(calculated.calls, (yield _callee(reference.action, count))))
                calls = _both(calls, worst)
        count.known[callee] = calls
    return count.known[callee].copy()


def _row(statements: Iterable[ir.Statement], count: _Count) -> Walk[_Way]:
    """Count the calls of a sequence of statements. Calls after a return or exit count only on the other paths."""
    steps: list[_Part] = []
    for each in statements:
        step: _Part = yield _statement(each, count)
        steps.append(step)
    rest = Calls()
    for step in reversed(steps):
        leaving = [way.calls for way in step.ways if way.leaves]
        staying = [way.calls for way in step.ways if not way.leaves]
        worst = _both(rest, _worst(staying)) if staying else Calls()
        rest = _both(step.calls, _worse(worst, _worst(leaving)))
    return _Way(rest, any(step.leaves for step in steps))


def _statement(statement: ir.Statement, count: _Count) -> Step[_Part]:
    match statement:
        case ir.Return() | ir.Exit():
            return _Part(Calls(), (_Way(leaves=True),))
        case ir.Block() | ir.If() | ir.Switch() | ir.TableApply() | ir.ActionCall() | ir.Apply() | ir.Loop():
            return _compound(statement, count)
    calls = _expression(statement, count)
    return _Part(calls) if isinstance(calls, Counter) else _counted(calls)


def _counted(walk: Walk[Calls]) -> Walk[_Part]:
    calls: Calls = yield walk
    return _Part(calls)


def _compound(statement: ir.Statement, count: _Count) -> Walk[_Part]:
    """Count the calls of a statement with other statements, a table, an action or a control inside."""
    calls: Calls
    way: _Way
    match statement:
        case ir.Block(body=body):
            way = yield _row(body, count)
            return _Part(Calls(), (way,))
        case ir.If(condition=condition, yes=yes, no=no):
            calls = yield _expression(condition, count)
            first: _Way = yield _row((yes,), count)
            second: _Way = (yield _row((no,), count)) if no is not None else _Way()
            return _Part(calls, (first, second))
        case ir.Switch(subject=subject, cases=cases):
            if isinstance(subject, ir.Table):
                calls = yield _callee(subject, count)
            else:
                calls = yield _expression(subject, count)
            ways = [_Way()]
            for case in cases:
                way = yield _row((case.body,), count)
                ways.append(_Way(way.calls))
            return _Part(calls, tuple(ways))
        case ir.TableApply(table=table):
            calls = yield _callee(table, count)
            return _Part(calls)
        case ir.Loop():
            # Two rounds stand for all: that is more than the one access that switches with stages have.
            way = yield _row((*statement.before, statement.body, *statement.step), count)
            return _Part(Counter({each: 2 * number for each, number in way.calls.items()}))
        case ir.ActionCall(action=called) | ir.Apply(callee=ir.Control() as called):
            calls = yield _expression(statement, count)
            return _Part(_both(calls, (yield _callee(called, count))))
    calls = yield _expression(statement, count)
    return _Part(calls)


def _expression(part: ir.Node, count: _Count) -> Step[Calls]:
    """Count the calls in an expression, or in the expressions of a statement that contains no statements."""
    found = Calls()
    for node in within(part):
        match node:
            case ir.Ternary() | ir.TableHit():
                return _branching(part, count)
            case ir.Call():
                _add(node, found, count)
    return found


def _add(call: ir.Call, found: Calls, count: _Count) -> None:
    """Count a call if it is that of a register array's method."""
    if call.instance is not None and call.instance.kind == "register":
        count.met[call.instance.name] = None
        found[call.instance.name, call.name] += 1


def _branching(part: ir.Node, count: _Count) -> Walk[Calls]:
    """Count the calls in an expression with alternatives, of which the worst counts, or with tables."""
    found, waiting = Calls(), [part]
    while waiting:
        node = waiting.pop()
        match node:
            case ir.Ternary(condition=condition, yes=yes, no=no):
                waiting.append(condition)
                either = _worse((yield _expression(yes, count)), (yield _expression(no, count)))
                found = _both(found, either)
            case ir.TableHit(table=table):
                found = _both(found, (yield _callee(table, count)))
            case _:
                if isinstance(node, ir.Call):
                    _add(node, found, count)
                waiting.extend(each for each in children(node) if isinstance(each, ir.Node))
    return found


def _both(one: Calls, other: Calls) -> Calls:
    """Return the calls of two consecutive parts. This merges the smaller counter into the larger one; do not reuse
    either.
    """
    small, large = (one, other) if len(one) < len(other) else (other, one)
    for key, number in small.items():
        large[key] += number
    return large


def _worse(one: Calls, other: Calls) -> Calls:
    """Return the maximum of two alternatives, array by array. This modifies the larger counter; do not reuse either."""
    small, large = (one, other) if len(one) < len(other) else (other, one)
    for key, number in small.items():
        if number > large[key]:
            large[key] = number
    return large


def _worst(ways: Iterable[Calls]) -> Calls:
    worst = Calls()
    for each in ways:
        worst = _worse(worst, each)
    return worst
