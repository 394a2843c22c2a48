"""Whether a checked program fits a device: operations in stages, header vector and parser, and what is amiss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from midflight.errors import Place
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.capabilities import RESOURCES, Capabilities
from midflight.runtime.fit.allocate import Allocation, allocate, critical_path
from midflight.runtime.fit.graph import Node, graph
from midflight.runtime.fit.limits import reasons_against
from midflight.runtime.fit.vector import ParserUse, Vector, parser_use, vector

__all__ = ["Fit", "Placed", "Problem", "fit"]


@dataclass(frozen=True, slots=True)
class Placed:
    """An operation and its stages, `first` to `last`, counted from 1. `blocks` are its memory blocks by stage and kind.

    `application` is empty for what all applications share. `takes` is what it takes of each of its stages, by the names
    of `RESOURCES`, but of memory blocks (`sram` and `tcam`) what it takes in all. `critical` is whether it is on the
    longest chain of dependencies.
    """

    name: str
    kind: str
    application: str
    first: int
    last: int
    takes: Mapping[str, int]
    blocks: Mapping[int, Mapping[str, int]]
    critical: bool
    place: Place | None


@dataclass(frozen=True, slots=True)
class Problem:
    """A reason why a program does not fit: what it needs of a resource and what there is, None for features.

    `operation` is the name of the register array or table at fault, empty if it is the whole program; `application` is
    that of the operation.
    """

    message: str
    resource: str = ""
    operation: str = ""
    application: str = ""
    needed: int | None = None
    available: int | None = None
    place: Place | None = None

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Fit:
    """What a program takes of a device. It fits if there are no `problems`.

    `stages` is the number of stages that it needs, which may exceed those of the device; `optimal` is whether no
    assignment needs fewer. `used` is what is taken of each stage, by the names of `RESOURCES`. Without stages in the
    sheet, all operations are in stages as if they had no limits.
    """

    device: str
    sheet: Capabilities
    stages: int
    optimal: bool
    placed: tuple[Placed, ...]
    used: tuple[Mapping[str, int], ...]
    critical: tuple[str, ...]
    vector: Vector
    parser: ParserUse
    problems: tuple[Problem, ...]

    @property
    def fits(self) -> bool:
        """Whether the program fits the device."""
        return not self.problems

    def total(self, resource: str) -> int:
        """Return what the program takes of a resource in all stages, by the names of `RESOURCES`; 0 if nothing."""
        return sum(each.get(resource, 0) for each in self.used)

    def share(self, resource: str) -> float:
        """Return the taken part of a resource of the whole device, more than 1 if it is exceeded; 0 without a limit."""
        room = self.sheet.per_stage.get(resource)
        return self.total(resource) / (room * self.sheet.stages) if room and self.sheet.stages else 0.0

    def json(self) -> dict[str, Any]:
        """Return the result as data for JSON."""
        return {
            "device": self.device,
            "fits": self.fits,
            "stages": self.stages,
            "stages_available": self.sheet.stages,
            "optimal": self.optimal,
            "critical_path": list(self.critical),
            "resources": {
                each: {
                    "used": self.total(each),
                    "available": self.sheet.per_stage[each] * (self.sheet.stages or 0) or None,
                    "by_stage": [stage.get(each, 0) for stage in self.used],
                }
                for each in RESOURCES
                if each in self.sheet.per_stage
            },
            "header_vector": {
                "header_bits": self.vector.header_bits,
                "metadata_bits": self.vector.metadata_bits,
                "bits": self.vector.bits,
                "available": self.sheet.header_vector_bits,
                "containers": {str(width): number for width, number in self.vector.containers.items()},
            },
            "parser": {
                "states": self.parser.states,
                "transitions": self.parser.transitions,
                "bits": self.parser.bits,
            },
            "operations": [
                {
                    "name": each.name,
                    "kind": each.kind,
                    "application": each.application,
                    "stages": [each.first, each.last],
                    "takes": dict(each.takes),
                    "critical": each.critical,
                    "place": str(each.place) if each.place else None,
                }
                for each in self.placed
            ],
            "problems": [
                {
                    "message": each.message,
                    "resource": each.resource,
                    "operation": each.operation,
                    "application": each.application,
                    "needed": each.needed,
                    "available": each.available,
                    "place": str(each.place) if each.place else None,
                }
                for each in self.problems
            ],
        }


def fit(
    program: CheckedProgram, sheet: Capabilities, *, applications: Iterable[str] | None = None, patience: float = 4.0
) -> Fit:
    """Return what a program takes of a device with this sheet, and the reasons why it does not fit, if any.

    `applications` restricts this to some of a program's applications and what all share; None is the whole program.
    Header vector and parser are always those of the whole program. `patience` limits the search for the fewest stages,
    in seconds. P4Error if the program is invalid.
    """
    nodes = graph(program.program, sheet)
    demand = program.footprint.total
    if applications is not None:
        chosen = set(applications)
        nodes = _only(nodes, {name for name in program.footprint.applications if name not in chosen})
        parts = [each for name, each in program.footprint.applications.items() if name in chosen]
        demand = sum(parts, program.footprint.shared)
    room = sheet.per_stage if sheet.stages is not None else {}
    made = allocate(nodes, room, patience)
    path = critical_path(nodes)
    taken = vector(program.program, sheet.containers)
    parser = parser_use(program.program)
    rest = replace(sheet, stages=None, per_stage={}, header_bits=None) if sheet.containers else sheet
    problems = [
        *_too_large(nodes, room),
        *_circular(nodes, sheet),
        *_stages(nodes, made, sheet, path),
        *_carried(taken, parser, sheet),
        *(Problem(reason) for reason in reasons_against(demand, replace(rest, stages=None, per_stage={}))),
    ]
    return Fit(
        sheet.kind, sheet, made.stages, made.optimal, _placed(nodes, made, path), _used(nodes, made),
        tuple(nodes[n].name for n in path), taken, parser, tuple(problems),
    )  # fmt: skip


def _only(nodes: Sequence[Node], others: set[str]) -> tuple[Node, ...]:
    """Return the nodes without those of other applications, whose users then need what those needed."""
    kept = [each for each in nodes if each.application not in others]
    number = {each.index: position for position, each in enumerate(kept)}
    through: dict[int, set[int]] = {}
    for each in nodes:
        if each.index not in number:
            through[each.index] = {m for n in sorted(each.needs | each.follows) for m in through.get(n, {n})}

    def left(needs: frozenset[int]) -> frozenset[int]:
        return frozenset(number[m] for n in sorted(needs) for m in (sorted(through.get(n, {n}))))

    return tuple(
        replace(each, index=number[each.index], needs=left(each.needs), follows=left(each.follows) - left(each.needs))
        for each in kept
    )


def _placed(nodes: Sequence[Node], made: Allocation, path: Sequence[int]) -> tuple[Placed, ...]:
    return tuple(
        Placed(
            node.name, node.kind, node.application, first + 1, last + 1, node.takes,
            {stage + 1: each for stage, each in made.blocks[node.index].items()}, node.index in path, node.place,
        )
        for node, (first, last) in zip(nodes, made.spans, strict=True)
    )  # fmt: skip


def _used(nodes: Sequence[Node], made: Allocation) -> tuple[dict[str, int], ...]:
    used: list[dict[str, int]] = [{} for _ in range(made.stages)]
    shared: list[set[tuple[str, int]]] = [set() for _ in range(made.stages)]
    for node, blocks in zip(nodes, made.blocks, strict=True):
        for stage, memory in blocks.items():
            takes = {**node.takes, **memory}
            if node.kind in ("action", "hash") and "table" not in takes and node.block not in shared[stage]:
                shared[stage].add(node.block)
                takes["table"] = 1
            for key, amount in takes.items():
                used[stage][key] = used[stage].get(key, 0) + amount
    return tuple(used)


def _too_large(nodes: Sequence[Node], room: Mapping[str, int]) -> list[Problem]:
    """Return the operations that take more than a whole stage has, and cannot be split, or of what no stage has."""
    found = []
    for node in nodes:
        for key, amount in node.takes.items():
            limit = room.get(key)
            if limit is not None and amount > limit and not (node.split and limit and key in ("sram", "tcam")):
                found.append(
                    Problem(
                        f"{node.name} needs {amount:,} {RESOURCES[key]} in one stage, {amount - limit:,} more than"
                        f" the {limit:,} that there are",
                        key,
                        node.name,
                        node.application,
                        amount,
                        limit,
                        node.place,
                    )
                )
    return found


def _circular(nodes: Sequence[Node], sheet: Capabilities) -> list[Problem]:
    if sheet.stages is None:
        return []
    return [
        Problem(
            f"{node.name} and {', '.join(node.circle)} depend on each other, so no stage can be first",
            "stages", node.name, node.application, place=node.place,
        )
        for node in nodes
        if node.circle
    ]  # fmt: skip


def _stages(nodes: Sequence[Node], made: Allocation, sheet: Capabilities, path: Sequence[int]) -> list[Problem]:
    """Return the problem that a program needs too many stages, with the resource or the chain that is to blame."""
    if sheet.stages is None or made.stages <= sheet.stages:
        return []
    over = made.stages - sheet.stages
    steps = [before for before, after in pairwise(path) if before in nodes[after].needs]
    if len(steps) + 1 > sheet.stages:
        names = [nodes[n].name for n in path]
        what = (
            f"{len(steps) + 1} operations that need each other's results begin with {names[0]} and end with {names[-1]}"
        )
        last = nodes[path[-1]]
        resource = "stages"
    else:
        ratio = {
            key: sum(min(node.takes.get(key, 0), limit * made.stages) for node in nodes) / limit
            for key, limit in sheet.per_stage.items()
            if limit
        }
        resource = max(ratio, key=lambda key: (ratio[key], key), default="stages")
        last = max(nodes, key=lambda node: (node.takes.get(resource, 0), -node.index))
        total = sum(node.takes.get(resource, 0) for node in nodes)
        what = f"it needs {total:,} {RESOURCES.get(resource, resource)}, of which a stage has"
        what += f" {sheet.per_stage.get(resource, 0):,}; {last.name} needs {last.takes.get(resource, 0):,}"
    message = f"the program needs {made.stages} stages, {over} more than the {sheet.stages} that there are: {what}"
    return [Problem(message, resource, last.name, last.application, made.stages, sheet.stages, last.place)]


def _carried(taken: Vector, parser: ParserUse, sheet: Capabilities) -> list[Problem]:
    found = []
    limits = [
        ("header_vector", taken.bits, sheet.header_vector_bits, "bits of header vector"),
        ("parser_states", parser.transitions, sheet.parser_states, "transitions of the parser"),
        ("parse_bits", parser.bits, sheet.parse_bits, "bits of a packet in the parser"),
    ]
    for resource, needed, limit, words in limits:
        if limit is not None and needed > limit:
            message = f"the program needs {needed:,} {words}, {needed - limit:,} more than the {limit:,} that there are"
            found.append(Problem(message, resource, needed=needed, available=limit))
    return found
