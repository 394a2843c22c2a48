"""The resource needs of a program: memory, tables, header bits, externs and stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from midflight.p4 import ir
from midflight.p4.nodes import within
from midflight.p4.types import width_of
from midflight.runtime.footprint.accesses import accesses
from midflight.runtime.footprint.operations import Operation, operations
from midflight.runtime.footprint.stages import circles, stages

__all__ = ["Demand", "Footprint", "footprint"]

REGISTER = "register"


@dataclass(frozen=True, slots=True)
class Demand:
    """The needs of a part of a program, as declared, before any device rounds them up.

    * `registers`: bits of each register array; `register_width`: bits of the widest cell.
    * `accesses`: the most often that one packet may access each register array, where a read with a later write is one.
    * `tables`: entries of each table as declared; `key_bits`: bits of the widest match key; `match_kinds`: their names.
    * `header_bits`: bits of the part's own headers.
    * `externs`: names of the extern functions that are called, and kinds of extern objects such as `register`.
    * `multicast`: whether it sets a multicast group. `products`: whether it multiplies two numbers that are not
      constants.
    * `ingress`, `egress`: operations, which `stages_on` assigns to stages.

    The sum of two demands (`+`) is that of both parts together on one device.
    """

    registers: Mapping[str, int] = field(default_factory=dict)
    register_width: int = 0
    accesses: Mapping[str, int] = field(default_factory=dict)
    tables: Mapping[str, int] = field(default_factory=dict)
    key_bits: int = 0
    match_kinds: frozenset[str] = frozenset()
    header_bits: int = 0
    externs: frozenset[str] = frozenset()
    multicast: bool = False
    products: bool = False
    ingress: tuple[Operation, ...] = ()
    egress: tuple[Operation, ...] = ()

    @property
    def register_bits(self) -> int:
        """The total number of bits in register arrays."""
        return sum(self.registers.values())

    @property
    def register_arrays(self) -> int:
        """The number of register arrays that are needed."""
        return len(self.registers)

    @property
    def table_entries(self) -> int:
        """The total number of declared table entries."""
        return sum(self.tables.values())

    @property
    def most_accesses(self) -> int:
        """The largest number of accesses of one packet to one register array."""
        return max(self.accesses.values(), default=0)

    @property
    def circles(self) -> tuple[tuple[str, ...], ...]:
        """Sets of operations (names of tables and register arrays) with cyclic dependencies, which no pipeline can
        order.
        """
        return circles(self.ingress) + circles(self.egress)

    def stages_on(self, per_stage: Mapping[str, int] | None = None) -> int:
        """Return a sufficient number of pipeline stages for the operations; ingress and egress share the stages.

        `per_stage` limits the operations of a kind (`register`, `table`) in one stage. Without limits (None) the number
        is the smallest; with limits, operations are placed greedily and fewer stages may do.
        """
        return max(stages(self.ingress, per_stage), stages(self.egress, per_stage))

    def __add__(self, other: Demand) -> Demand:
        return Demand(
            {**self.registers, **other.registers},
            max(self.register_width, other.register_width),
            {**self.accesses, **other.accesses},
            {**self.tables, **other.tables},
            max(self.key_bits, other.key_bits),
            self.match_kinds | other.match_kinds,
            self.header_bits + other.header_bits,
            self.externs | other.externs,
            self.multicast or other.multicast,
            self.products or other.products,
            self.ingress + other.ingress,
            self.egress + other.egress,
        )


@dataclass(frozen=True, slots=True)
class Footprint:
    """The needs of a program: of what all applications share, and of each application by name."""

    shared: Demand
    applications: Mapping[str, Demand]

    @property
    def total(self) -> Demand:
        """The needs of the whole program: of all applications and of what they share."""
        return sum(self.applications.values(), self.shared)


def footprint(program: ir.Program) -> Footprint:
    """Return what a program needs.

    An application is a control `ingress.NAME` that ingress applies, together with the header of the same name and what
    belongs to `egress.NAME`. Everything else is shared, and so is all of a program with a different structure.
    """
    controls = {each.callee.name for each in within(program.ingress.body) if isinstance(each, ir.Apply)}
    parts = {each.name: _Part() for each in program.headers.fields if f"ingress.{each.name}" in controls}
    shared = _Part()

    def part(name: str) -> _Part:
        pieces = name.split(".")
        return parts.get(pieces[1], shared) if len(pieces) > 1 and pieces[0] in ("ingress", "egress") else shared

    for name, instance in program.instances.items():
        part(name).instance(instance)
    for name, table in program.tables.items():
        part(name).table(table)
    for each in program.headers.fields:
        parts.get(each.name, shared).header_bits += width_of(each.type)
    for name, count in accesses(program.ingress, program.egress).items():
        part(name).accesses[name] = count
    for name, body in _bodies(program):
        nodes = list(within(*body))
        part(name).externs |= {each.name for each in nodes if isinstance(each, ir.Call) and not each.instance}
        part(name).multicast |= any(isinstance(each, ir.Assign) and _sets_group(each) for each in nodes)
        part(name).products |= any(isinstance(each, ir.Binary) and _multiplies(each) for each in nodes)
    for operation in operations(program.ingress):
        part(operation.name).ingress.append(operation)
    for operation in operations(program.egress):
        part(operation.name).egress.append(operation)
    return Footprint(shared.demand(), {name: each.demand() for name, each in parts.items()})


class _Part:
    """A `Demand` under construction."""

    def __init__(self) -> None:
        self.registers: dict[str, int] = {}
        self.register_width = 0
        self.accesses: dict[str, int] = {}
        self.tables: dict[str, int] = {}
        self.key_bits = 0
        self.match_kinds: set[str] = set()
        self.header_bits = 0
        self.externs: set[str] = set()
        self.multicast = False
        self.products = False
        self.ingress: list[Operation] = []
        self.egress: list[Operation] = []

    def instance(self, instance: ir.Instance) -> None:
        self.externs.add(instance.kind)
        if instance.kind == REGISTER and instance.type_arguments:
            width = width_of(instance.type_arguments[0])
            self.registers[instance.name] = width * int(instance.arguments[0])
            self.register_width = max(self.register_width, width)

    def table(self, table: ir.Table) -> None:
        # A table without a key always runs the same action and stores no entries. Constant entries cannot be added to.
        size = len(table.entries) if table.entries_const else max(table.size, len(table.entries))
        self.tables[table.name] = size if table.keys else 0
        self.key_bits = max(self.key_bits, sum(width_of(each.expression.type) for each in table.keys))
        self.match_kinds |= {each.kind for each in table.keys}

    def demand(self) -> Demand:
        return Demand(
            self.registers,
            self.register_width,
            self.accesses,
            self.tables,
            self.key_bits,
            frozenset(self.match_kinds),
            self.header_bits,
            frozenset(self.externs),
            self.multicast,
            self.products,
            tuple(self.ingress),
            tuple(self.egress),
        )


def _sets_group(assign: ir.Assign) -> bool:
    return isinstance(assign.target, ir.Member) and assign.target.name == "mcast_grp"


def _multiplies(binary: ir.Binary) -> bool:
    return binary.operator == "*" and not any(isinstance(each, ir.Literal) for each in (binary.left, binary.right))


def _bodies(program: ir.Program) -> Iterator[tuple[str, tuple[ir.Statement, ...]]]:
    """Yield each body that can call extern functions, with the name that assigns it to an application."""
    for name, action in program.actions.items():
        yield name, (action.body,)
    queue: list[ir.Control | ir.Parser] = [
        program.verify, program.ingress, program.egress, program.compute, program.deparser
    ]  # fmt: skip
    seen = set[int]()
    while queue:
        control = queue.pop()
        if id(control) not in seen and isinstance(control, ir.Control):
            seen.add(id(control))
            yield control.name, (*control.locals, control.body)
            queue += [each.callee for each in within(control.body) if isinstance(each, ir.Apply)]
