"""Dependencies between a kernel's accesses to registers and tables. They determine the order of a pipeline's stages.

Each register array and table is in one stage, and a packet passes the stages once. An access depends on another if its
index, update, key or condition uses the other's result. It must then be in a later stage, on every path (Sonchack et
al., Lucid: A Language for Control in the Data Plane, SIGCOMM 2021: ordered accesses).
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

__all__ = ["Dependency", "cycles", "dependencies", "longest_chain"]


@dataclass(frozen=True, slots=True)
class Dependency:
    """The access to the array or table `array` in `line` uses the result of the access to `on` in `on_line`."""

    array: str
    line: Line
    on: str
    on_line: Line


def dependencies(kernel: Kernel) -> tuple[Dependency, ...]:
    """Return the dependencies between a kernel's accesses, one for each pair of register arrays or tables.

    All paths are followed, in source order; of several dependencies of a pair, the first is returned. Each lane of a
    register is an array of its own.
    """
    flow = _Flow()
    run(flow.block(kernel.body, frozenset()))
    return tuple(flow.dependencies.values())


def cycles(found: tuple[Dependency, ...]) -> Iterator[tuple[Dependency, Dependency]]:
    """Yield two dependencies of each cycle among `found`: the first in source order, and the next one on the way back.

    Yields nothing if the arrays have an order that satisfies all dependencies.
    """
    by_array = _by_array(found)
    try:
        TopologicalSorter({array: [each.on for each in its] for array, its in by_array.items()}).prepare()
    except CycleError:
        pass
    else:
        return
    known = set[frozenset[str]]()
    for each in found:
        back = _path(by_array, each.on, each.array)
        if back is not None:
            arrays = frozenset((each.array, *(step.array for step in back)))
            if arrays not in known:
                known.add(arrays)
                yield each, back[0]


def longest_chain(found: tuple[Dependency, ...]) -> tuple[Dependency, ...]:
    """Return the longest chain of dependencies, each of which depends on the next one's array; () if there are none.

    The last access comes first. `found` must not contain cycles.
    """
    by_array = _by_array(found)
    chains: dict[str, tuple[Dependency, ...]] = {}

    def chain(array: str) -> Walk[tuple[Dependency, ...]]:
        if array not in chains:
            options: list[tuple[Dependency, ...]] = []
            for each in by_array.get(array, ()):
                options.append((each, *(yield chain(each.on))))
            chains[array] = max(options, key=len, default=())
        return chains[array]

    return max((run(chain(each.array)) for each in found), key=len, default=())


def _by_array(found: tuple[Dependency, ...]) -> dict[str, list[Dependency]]:
    by_array: dict[str, list[Dependency]] = {}
    for each in found:
        by_array.setdefault(each.array, []).append(each)
    return by_array


def _path(by_array: Mapping[str, list[Dependency]], start: str, end: str) -> tuple[Dependency, ...] | None:
    """Return a shortest chain of dependencies from one array to another, or None."""
    queue = deque[tuple[Dependency, ...]]((each,) for each in by_array.get(start, ()))
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
"""The accesses that a value depends on: arrays and lines."""

_NONE: Uses = frozenset()


class _Flow:
    """Tracks the accesses that each variable and field depends on, and collects the dependencies."""

    def __init__(self) -> None:
        self.values: Mapping[Expr, Uses] = {}
        self.left: Uses = frozenset()
        """The accesses that decided whether the kernel has returned."""
        self.ended = False
        """Whether this point is unreachable."""
        self.dependencies: dict[tuple[str, str], Dependency] = {}

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
        """Follow both sides of an `if`, and merge the state of those that do not return."""
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
                self.dependencies.setdefault((array, on), Dependency(array, line, on, on_line))
