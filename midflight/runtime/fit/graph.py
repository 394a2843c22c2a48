"""The operations of a program as a pipeline of stages must place them, with what each takes of a stage.

An operation is a table, a register array with everything that its ALU computes, an action, a hash, a counter or a meter
(see `footprint.operations`). Operations that depend on each other in a circle around one register array are one: its
ALU reads, computes and writes in one access (Sivaraman et al., Packet Transactions, SIGCOMM 2016: atoms).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from midflight.errors import Place
from midflight.p4 import ir
from midflight.p4.nodes import within
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.fit.memory import needs_of
from midflight.runtime.footprint.operations import REGISTER, Operation, operations

__all__ = ["Node", "belongs_to", "graph"]


@dataclass(frozen=True, slots=True)
class Node:
    """An operation to place. `index` is its position, and `needs` and `follows` are positions of others.

    It must be in a later stage than `needs`, and in no earlier one than `follows`. `takes` is what it takes of a stage,
    by the names of `RESOURCES`. With `split`, its memory blocks may be spread over consecutive stages; each takes the
    rest again. Actions of the same `block` and stage share a table.
    """

    index: int
    name: str
    kind: str
    application: str
    takes: Mapping[str, int]
    needs: frozenset[int]
    follows: frozenset[int]
    block: tuple[str, int]
    split: bool = False
    place: Place | None = None
    circle: tuple[str, ...] = ()
    """Further register arrays that it depends on in a circle, which no pipeline can order."""

    @property
    def memory(self) -> Mapping[str, int]:
        """The memory blocks that it takes, by kind."""
        return {kind: self.takes[kind] for kind in ("sram", "tcam") if self.takes.get(kind)}


def graph(program: ir.Program, sheet: Capabilities) -> tuple[Node, ...]:
    """Return the operations of ingress and egress, with what they take on a device; needs precede their users."""
    found: list[Node] = []
    for control in (program.ingress, program.egress):
        found += _nodes(program, control, sheet, len(found))
    return tuple(found)


def belongs_to(name: str, applications: Iterable[str]) -> str:
    """Return the application that an operation belongs to; empty if it belongs to the part that all applications share.

    `name` is the control-plane name of the operation, such as `ingress.gradients.held`, and `applications` are the
    names of the program's applications.
    """
    pieces = name.split(".")
    return pieces[1] if len(pieces) > 2 and pieces[1] in applications else ""


def _nodes(program: ir.Program, control: ir.Control, sheet: Capabilities, first: int) -> list[Node]:
    listed = operations(control, actions=True)
    by_name = {each.name: each for each in listed}
    groups = _circles(listed)
    number = {name: first + position for position, names in enumerate(groups) for name in names}
    controls = {each.callee.name for each in within(program.ingress.body) if isinstance(each, ir.Apply)}
    applications = {each.name for each in program.headers.fields if f"ingress.{each.name}" in controls}
    nodes = []
    for position, names in enumerate(groups):
        members = [by_name[name] for name in names]
        head = next((each for each in members if each.kind == REGISTER), members[0])
        own = first + position
        needs = {number[need] for each in members for need in each.needs} - {own}
        follows = {number[need] for each in members for need in each.follows} - {own} - needs
        takes, split = needs_of(program, head, sheet)
        others = [each for each in members if each is not head and each.kind in (REGISTER, "table")]
        for each in others:
            more, _ = needs_of(program, each, sheet)
            takes = {key: takes.get(key, 0) + more.get(key, 0) for key in {**takes, **more}}
        nodes.append(
            Node(
                own,
                head.name,
                head.kind,
                belongs_to(head.name, applications),
                takes,
                frozenset(needs),
                frozenset(follows),
                (control.name, head.block),
                split,
                head.place,
                tuple(each.name for each in others),
            )
        )
    return nodes


def _circles(listed: Sequence[Operation]) -> list[list[str]]:
    """Return the strongly connected components, each after those that it depends on (Tarjan's algorithm)."""
    order = {each.name: number for number, each in enumerate(listed)}
    after = {each.name: [name for name in order if name in each.needs | each.follows] for each in listed}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[list[str]] = []
    for root in after:
        if root in index:
            continue
        waiting = [(root, iter(after[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while waiting:
            name, rest = waiting[-1]
            for other in rest:
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    on_stack.add(other)
                    waiting.append((other, iter(after[other])))
                    break
                if other in on_stack:
                    low[name] = min(low[name], index[other])
            else:
                waiting.pop()
                if waiting:
                    low[waiting[-1][0]] = min(low[waiting[-1][0]], low[name])
                if low[name] == index[name]:
                    at = stack.index(name)
                    found.append(sorted(stack[at:], key=order.__getitem__))
                    on_stack.difference_update(stack[at:])
                    del stack[at:]
    return found
