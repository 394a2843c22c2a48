"""The part of a packet that a parser can read: the rest need not be copied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from midflight.p4 import ir
from midflight.p4.nodes import within
from midflight.p4.types import HeaderType, StackType, StructType, Type, width_of
from midflight.stackless import Walk, run

__all__ = ["most_read"]


def most_read(parser: ir.Parser) -> int | None:
    """Return an upper bound of the bytes that a parser reads, from the packet's first one, or None if there is none.

    A cycle of states has a bound if it reads nothing but elements of header stacks.
    """
    return run(_of_parser(parser))


def _of_parser(parser: ir.Parser) -> Walk[int | None]:
    stacks: dict[str, int] = {}
    before: int | None = yield _of_nodes(parser.locals, stacks)
    costs: dict[str, int] = {}
    for name, state in parser.states.items():
        cost: int | None = yield _of_nodes([state], stacks)
        if cost is None or before is None:
            return None
        costs[name] = cost
    longest = _longest(costs, {each: _following(state, costs) for each, state in parser.states.items()})
    return None if longest is None else (before or 0) + longest + sum(stacks.values())


def _of_nodes(nodes: Iterable[ir.Node], stacks: dict[str, int]) -> Walk[int | None]:
    """Return the most bytes that statements read, without elements of stacks, whose totals go to `stacks`."""
    total = 0
    for node in within(*nodes):
        match node:
            case ir.Extract(header=ir.Next(base=stack) as header):
                assert isinstance(stack.type, StackType)
                stacks[repr(stack)] = stack.type.size * _bytes_of(header.type)
            case ir.Extract(header=header) if isinstance(header.type, HeaderType):
                total += _bytes_of(header.type)
            case ir.Lookahead(type=kind):
                total += _bytes_of(kind)
            case ir.Advance(bits=ir.Literal(value=int(bits))):
                total += -(-bits // 8)
            case ir.Apply(callee=ir.Parser() as inner):
                below: int | None = yield _of_parser(inner)
                if below is None:
                    return None
                total += below
            case ir.Assign(target=target) if not isinstance(target.type, StackType | StructType):
                pass
            case ir.Extract() | ir.Advance() | ir.Loop() | ir.Shift() | ir.Assign():
                return None
            case _:
                pass
    return total


def _bytes_of(kind: Type) -> int:
    return -(-width_of(kind) // 8)


def _following(state: ir.State, known: Mapping[str, int]) -> list[str]:
    names = [state.next] if isinstance(state.next, str) else [each for _, each in state.next.cases]
    return [each for each in dict.fromkeys(names) if each in known]


def _longest(costs: Mapping[str, int], following: Mapping[str, Sequence[str]]) -> int | None:
    """Return the largest sum of costs along a path from `start`, or None if a cycle costs anything."""
    before: dict[str, list[str]] = {name: [] for name in costs}
    for name, targets in following.items():
        for each in targets:
            before[each].append(name)
    longest: dict[str, int] = {}

    def value(name: str) -> int:
        return costs[name] + max((longest.get(each, 0) for each in following[name]), default=0)

    for name in _removed(list(costs), following, before):
        longest[name] = value(name)
    left = [each for each in costs if each not in longest]  # those that lead to a cycle
    leading = _removed(left, before, following)
    cyclic = set(left) - set(leading)
    if any(costs[each] for each in cyclic):
        return None
    beyond = max((longest.get(after, 0) for each in cyclic for after in following[each]), default=0)
    longest.update((each, beyond) for each in left if each in cyclic)
    for each in reversed(leading):
        longest[each] = value(each)
    return longest.get("start", 0)


def _removed(
    names: Sequence[str], targets: Mapping[str, Sequence[str]], sources: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return, in order, the names that can be removed one after the other when no target is left."""
    among = set(names)
    open_ = Counter({name: sum(each in among for each in targets[name]) for name in names})
    ready = [each for each in names if not open_[each]]
    for name in ready:
        for each in sources[name]:
            if each in among:
                open_[each] -= 1
                if not open_[each]:
                    ready.append(each)
    return ready
