"""Which accesses of a kernel need which others' results, over all paths: what decides the order of a pipeline's stages.

Each register array and table lives in one stage, and a packet passes the stages once. So an access that needs what
another gave, in its index, its update, its key or the condition it stands under, must come in a later stage, on every
path alike (Sonchack et al., Lucid: A Language for Control in the Data Plane, SIGCOMM 2021: ordered accesses).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from midflight.primitives.kernel.source import Line
from midflight.primitives.kernel.typed import (
    Access,
    Assign,
    Checksum,
    Decide,
    Draw,
    Expr,
    FieldRef,
    ForwardedRef,
    If,
    Kernel,
    Local,
    Return,
    Search,
    Statement,
    Unrolled,
    reads,
)
from midflight.stackless import Walk, run

__all__ = ["Need", "circles", "longest", "needs"]


@dataclass(frozen=True, slots=True)
class Need:
    """An access in `line` to `array` needs what the access in `on_line` to `on` gave."""

    array: str
    line: Line
    on: str
    on_line: Line


def needs(kernel: Kernel) -> tuple[Need, ...]:
    """Return the first need of each pair of arrays, in the kernel's order. Lanes are arrays of their own."""
    flow = _Flow()
    run(flow.block(kernel.body, frozenset()))
    return tuple(flow.needs.values())


def circles(found: tuple[Need, ...]) -> Iterator[tuple[Need, Need]]:
    """Yield, for each set of arrays that need each other in a circle, the first need and the next, which leads back."""
    by_array = _by_array(found)
    try:
        TopologicalSorter({array: [each.on for each in its] for array, its in by_array.items()}).prepare()
    except CycleError:
        pass
    else:
        return
    told = set[frozenset[str]]()
    for each in found:
        back = _path(by_array, each.on, each.array)
        if back is not None:
            arrays = frozenset((each.array, *(step.array for step in back)))
            if arrays not in told:
                told.add(arrays)
                yield each, back[0]


def longest(found: tuple[Need, ...]) -> tuple[Need, ...]:
    """Return the longest chain of needs, the last access first; without circles."""
    by_array = _by_array(found)
    chains: dict[str, tuple[Need, ...]] = {}

    def chain(array: str) -> Walk[tuple[Need, ...]]:
        if array not in chains:
            options: list[tuple[Need, ...]] = []
            for each in by_array.get(array, ()):
                options.append((each, *(yield chain(each.on))))
            chains[array] = max(options, key=len, default=())
        return chains[array]

    return max((run(chain(each.array)) for each in found), key=len, default=())


def _by_array(found: tuple[Need, ...]) -> dict[str, list[Need]]:
    by_array: dict[str, list[Need]] = {}
    for each in found:
        by_array.setdefault(each.array, []).append(each)
    return by_array


def _path(by_array: Mapping[str, list[Need]], start: str, end: str) -> tuple[Need, ...] | None:
    """Return needs that lead from one array to another, the fewest there are."""
    queue = deque[tuple[Need, ...]]((each,) for each in by_array.get(start, ()))
    seen = {start}
    while queue:
        path = queue.popleft()
        if path[-1].on == end:
            return path
        if path[-1].on not in seen:
            seen.add(path[-1].on)
            queue += ((*path, each) for each in by_array.get(path[-1].on, ()))
    return None


Uses = frozenset[tuple[str, Line]]
"""Accesses that a value rests on: arrays and lines."""

_NONE: Uses = frozenset()


class _Flow:
    """What each variable and field rests on as the kernel runs, and so each access."""

    def __init__(self) -> None:
        self.values: Mapping[Expr, Uses] = {}
        self.left: Uses = frozenset()
        """What decided that the packet is still in the kernel."""
        self.ended = False
        """Whether no packet comes here."""
        self.needs: dict[tuple[str, str], Need] = {}

    def block(self, body: tuple[Statement, ...], context: Uses) -> Walk[None]:
        for each in body:
            if self.ended:
                return
            match each:
                case If(condition=condition, yes=yes, no=no):
                    yield self.branch(yes, no, self.uses(condition) | context | self.left)
                case Unrolled(rounds=rounds):
                    for _, inside in rounds:
                        yield self.block(inside, context)
                case Return():
                    self.ended = True
                case _:
                    self.statement(each, context | self.left)

    def branch(self, yes: tuple[Statement, ...], no: tuple[Statement, ...], inner: Uses) -> Walk[None]:
        """Follow both sides of an `if`. What comes after sees only what the sides that go on have left behind."""
        values, left = self.values, self.left
        ends: list[tuple[Mapping[Expr, Uses], Uses]] = []
        returned = False
        for side in (yes, no):
            self.values, self.left, self.ended = values, left, False
            yield self.block(side, inner)
            returned |= self.ended or self.left != left
            if not self.ended:
                ends.append((self.values, self.left))
        self.ended = not ends
        self.values = {each: _NONE.union(*(end.get(each, _NONE) for end, _ in ends)) for end, _ in ends for each in end}
        self.left = left.union(*(each for _, each in ends))
        if returned:
            self.left |= inner

    def statement(self, statement: Statement, context: Uses) -> None:
        match statement:
            case Assign(target=target, value=value):
                self.set(target, self.uses(value) | context)
            case Checksum(target=target, values=values):
                self.set(target, self.uses(*values) | context)
            case Draw(target=target):
                self.set(target, context)
            case Decide():
                self.set(ForwardedRef(), context)
            case Access(index=index, new=new, target=target, line=line, condition=condition):
                name = statement.register if statement.lane is None else f"{statement.register}[{statement.lane}]"
                self.access(name, line, self.uses(index, condition, *([] if new is None else [new])) | context)
                if target is not None:
                    self.set(target, frozenset({(name, line)}))
            case Search(table=table, keys=keys, default=default, target=target, hit=hit, line=line):
                self.access(table, line, self.uses(*keys) | context)
                self.set(hit, frozenset({(table, line)}))
                self.set(target, self.uses(default) | {(table, line)})
            case _:
                pass

    def uses(self, *expressions: Expr) -> Uses:
        return frozenset[tuple[str, Line]]().union(
            *(self.values.get(each, frozenset()) for expression in expressions for each in reads(expression))
        )

    def set(self, target: Local | FieldRef | ForwardedRef, uses: Uses) -> None:
        self.values = {**self.values, target: uses}

    def access(self, array: str, line: Line, uses: Uses) -> None:
        for on, on_line in sorted(sorted(uses), key=lambda each: each[1]):
            if on != array:
                self.needs.setdefault((array, on), Need(array, line, on, on_line))
