"""What checks work with: what the whole program gathers, and the one body that is being checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypeVar

from midflight.errors import P4Error, P4Warning, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.returns import When
from midflight.p4.check.scope import Entity, Scope, closest
from midflight.p4.types import EnumType, HeaderType, Type
from midflight.stackless import Walk

__all__ = ["Above", "Context", "Kind", "State", "annotations_of", "find", "fresh", "refuse"]

Owned = TypeVar("Owned", ir.Table, ir.Instance, ir.Action)

Kind: TypeAlias = Literal["program", "parser", "control", "action", "function"]


@dataclass(frozen=True, slots=True)
class Above:
    """The checks that modules further down call: P4's grammar is recursive, and imports are not."""

    expression: Callable[[Context, s.Expression], Walk[ir.Expression]]
    value: Callable[[Context, s.Expression, Type, str], Walk[ir.Expression]]
    call: Callable[[Context, s.Call], Walk[ir.Expression]]
    inline: Callable[[Context, d.Function, s.Call], Walk[ir.Expression]]
    instantiate: Callable[[Context, s.Instantiation], Walk[None]]
    anonymous: Callable[[Context, s.DirectApplication], Walk[ir.Control | ir.Parser]]


@dataclass(slots=True)
class State:
    """What a whole check gathers; of tables and actions, those `applied` and `reached` matter.

    `making` and `calling` are the controls and parsers being made, and the functions being written out, outermost
    first; `inlined` are the functions that were written out at least once, by identity, and `returning` what
    returns.py knows of their statements. `nesting` says how deep each declared type nests.
    """

    above: Above
    errors: list[str] = field(default_factory=list)
    match_kinds: list[str] = field(default_factory=list)
    enums: list[EnumType] = field(default_factory=list)
    headers: list[HeaderType] = field(default_factory=list)
    nesting: dict[str, int] = field(default_factory=dict)
    tables: dict[str, ir.Table] = field(default_factory=dict)
    actions: dict[str, ir.Action] = field(default_factory=dict)
    reached: set[str] = field(default_factory=set)
    applied: set[str] = field(default_factory=set)
    instances: dict[str, ir.Instance] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    making: dict[str, None] = field(default_factory=dict)
    calling: dict[str, None] = field(default_factory=dict)
    inlined: dict[int, d.Function] = field(default_factory=dict)
    returning: dict[int, tuple[ir.Statement, When]] = field(default_factory=dict)
    defaults: dict[ir.Variable, ir.Literal | ir.StructValue] = field(default_factory=dict)
    warnings: dict[P4Warning, None] = field(default_factory=dict)

    def warn(self, message: str, place: Place | None, hint: str = "") -> None:
        """Note what is allowed and yet doubtful; once, however often that place is checked."""
        if place is not None:
            self.warnings[P4Warning(message, place, hint)] = None

    def make(self, name: str, place: Place) -> None:
        """Note that an instance of a control or parser is being made; P4Error where that is within itself."""
        if name in self.making:
            raise P4Error(f"{name} makes an instance of itself", place=place)
        self.making[name] = None

    def reach(self, action: ir.Action) -> None:
        """Note that a table lists an action, or that something calls it."""
        self.reached.add(action.name)

    def add(self, known: dict[str, Owned], name: str, made: Owned, place: Place) -> None:
        """Keep a table, an action or an instance under its control-plane name, which must be its own."""
        if name in known:
            hint = "Give one of them another name, or another @name."
            raise P4Error(f"the control-plane name {name} is taken already", place=place, hint=hint)
        known[name] = made


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of checking an expression ahead of its time: its value, and what must run before."""

    node: s.Expression
    value: ir.Expression
    before: list[ir.Statement]


@dataclass(slots=True)
class Context:
    """The body that is being checked.

    `name` is the control-plane name of a control or parser, and a function's own. `before` collects what must run
    before the statement that is being checked. `depth` counts the blocks around it. `writing` holds within an
    expression that is written to, where a stack's `next` may stand. `result` is the variable that takes a function's
    value. `probed` keeps arguments that were checked ahead of their call to infer a type, by the identity of the node.
    """

    state: State
    scope: Scope
    kind: Kind
    name: str = ""
    in_parser: bool = False
    before: list[ir.Statement] = field(default_factory=list)
    depth: int = 0
    writing: bool = False
    result: ir.Variable | None = None
    probed: dict[int, Probed] = field(default_factory=dict)


def find(ctx: Context, name: str, top: bool, place: Place) -> Entity:
    """Return what a name means; P4Error with the nearest known name where it means nothing."""
    entity = (ctx.scope.top if top else ctx.scope).find(name)
    if entity is None:
        hint = closest(name, [each for each, _ in ctx.scope.visible()])
        raise P4Error(f"{name} is not declared", place=place, hint=hint)
    return entity


def fresh(ctx: Context, name: str, kind: Type, place: Place) -> ir.Variable:
    """Return a new variable, declared just before the statement that is being checked."""
    variable = ir.Variable(name, kind, place)
    ctx.before.append(ir.Declare(variable, None, place=place))
    return variable


def refuse(what: str, place: Place, hint: str = "", plural: bool = True) -> P4Error:
    """Return the error for a feature of the language that we do not take yet."""
    return P4Error(f"{what} {'are' if plural else 'is'} not supported yet", place=place, hint=hint)


def annotations_of(annotations: s.Annotations) -> dict[str, str]:
    """Return annotations by name; what stands in the brackets is kept as written."""
    return {each.name: each.body for each in annotations}
