"""The checker's state: what it collects about the whole program, and the context of the body being checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypeVar

from midflight.errors import P4Error, P4Warning, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.limits import Copies, Extents
from midflight.p4.check.returns import When
from midflight.p4.check.scope import Entity, Scope
from midflight.p4.types import EnumType, HeaderType, Type
from midflight.stackless import Step, Walk

__all__ = ["Checks", "Context", "Kind", "State", "Template", "annotations_of", "aside", "fresh", "refuse"]

Owned = TypeVar("Owned", ir.Table, ir.Instance, ir.Action)

Kind: TypeAlias = Literal["program", "parser", "control", "action", "function"]


@dataclass(frozen=True, slots=True)
class Checks:
    """The checks that call each other recursively, as callables: modules of the checker import in one direction only.

    Each is the function of that name in `expressions`, `calls`, `functions` or `instances`.
    """

    expression: Callable[[Context, s.Expression], Step[ir.Expression]]
    value: Callable[[Context, s.Expression, Type, str], Step[ir.Expression]]
    call: Callable[[Context, s.Call], Walk[ir.Expression]]
    inline: Callable[[Context, d.Function, s.Call], Walk[ir.Expression]]
    instantiate: Callable[[Context, s.Instantiation], Walk[None]]
    anonymous: Callable[[Context, s.DirectApplication], Walk[ir.Control | ir.Parser]]
    structure: Callable[[Context, d.Structure], Walk[Type]]
    create: Callable[[Context, s.Construct, str, s.Annotations], Walk[ir.Instance | ir.Control | ir.Parser]]
    complete: Callable[[Context, Template, dict[str, ir.Instance], Place], Walk[ir.Control | ir.Parser]]


@dataclass(slots=True)
class Template:
    """An instance of a control or parser with extern objects as parameters, which `apply` passes.

    `draft` was checked with stand-ins for the objects; it lends its parameters. The first application builds `made`,
    with `objects` by the names of the parameters.
    """

    draft: ir.Control | ir.Parser
    declaration: d.Control | d.Parser
    name: str
    values: list[Entity]
    kinds: Mapping[str, Type] = field(default_factory=dict)
    """The type arguments of a generic control or parser, by the names of its type parameters."""
    objects: dict[str, ir.Instance] = field(default_factory=dict)
    made: ir.Control | ir.Parser | None = None


@dataclass(slots=True)
class State:
    """Symbols and diagnostics of a whole program, collected while it is checked.

    `tables`, `value_sets`, `actions` and `instances` hold objects by control-plane name. A program keeps the tables in
    `applied`, the actions that these list, and the actions in `reached`.

    `errors` and `match_kinds` number their members in order. `members` numbers those of the enums that were used, by
    the identity of the type. `making` holds the controls and parsers being instantiated, and `calling` the functions
    being inlined, outermost first. `inlined` holds each function inlined at least once, by identity, and `used` the
    names of controls and parsers that were instantiated. `returning` is the cache of `returns.when`. `defaults` are the
    default values of parameters. `copies` and `extents` limit what a small text may grow to. `postponed` are the
    refusals of features that are valid P4, so that a mistake elsewhere is reported first. `generic` holds the types
    that generic structs became, by the declaration's identity and its type arguments, and None for one in the making.
    """

    checks: Checks
    errors: dict[str, int] = field(default_factory=dict)
    match_kinds: dict[str, int] = field(default_factory=dict)
    enums: list[EnumType] = field(default_factory=list)
    members: dict[int, tuple[EnumType, dict[str, int]]] = field(default_factory=dict)
    headers: list[HeaderType] = field(default_factory=list)
    extents: Extents = field(default_factory=Extents)
    copies: Copies = field(default_factory=Copies)
    tables: dict[str, ir.Table] = field(default_factory=dict)
    value_sets: dict[str, ir.Table] = field(default_factory=dict)
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
    postponed: list[P4Error] = field(default_factory=list)
    foreign: dict[str, Place] = field(default_factory=dict)
    templates: dict[int, Template] = field(default_factory=dict)
    generic: dict[tuple[int, tuple[Type, ...]], Type | None] = field(default_factory=dict)

    def postpone(self, refusal: P4Error) -> None:
        """Record the refusal of a feature that is not supported.

        `check_program` raises the first one after the rest was checked, and only for a program that has to run.
        """
        self.postponed.append(refusal)

    def use_foreign(self, extern: str, place: Place) -> None:
        """Record the first use of an extern that is not part of v1model, with a warning; ignore further uses of it."""
        if extern not in self.foreign:
            self.foreign[extern] = place
            hint = "The embedded switch refuses the program, as BMv2 does."
            self.warn(f"the extern {extern} is not part of v1model", place, hint)

    def warn(self, message: str, place: Place | None, hint: str = "") -> None:
        """Record a warning; the same one at the same place only once. Without a place (None), nothing is recorded."""
        if place is not None:
            self.warnings[P4Warning(message, place, hint)] = None

    def number_of(self, kind: EnumType, member: str) -> int | None:
        """Return the position of an enum's member, from 0, or None if there is no such member."""
        if id(kind) not in self.members:
            self.members[id(kind)] = kind, {name: number for number, name in enumerate(kind.members)}
        return self.members[id(kind)][1].get(member)

    def make(self, name: str, place: Place) -> None:
        """Record that a control or parser is being instantiated.

        Raises P4Error if it is already, which is a recursion.
        """
        if name in self.making:
            raise P4Error(f"{name} makes an instance of itself", place=place)
        self.making[name] = None

    def reach(self, action: ir.Action) -> None:
        """Record that a statement calls an action, so that the program keeps it."""
        self.reached.add(action.name)

    def add(self, known: dict[str, Owned], name: str, made: Owned, place: Place) -> None:
        """Register a table, action or instance in `known` by its control-plane name.

        Raises P4Error if the name is taken.
        """
        if name in known:
            hint = "Give one of them another name, or another @name."
            raise P4Error(f"the control-plane name {name} is already taken", place=place, hint=hint)
        known[name] = made


@dataclass(frozen=True, slots=True)
class Probed:
    """An expression that was checked early: its node, its value, and the statements that must run before it."""

    node: s.Expression
    value: ir.Expression
    before: list[ir.Statement]


@dataclass(slots=True)
class Context:
    """The context of the body that is being checked, such as a control or a function.

    `kind` is the kind of body. `name` is the control-plane name of a control or parser, or the name of a function.
    `in_parser` is whether a parser runs the body, which may be that of a function.
    `before` collects the statements that must run before the current one. `depth` is the number of enclosing blocks,
    and `loops` that of enclosing loops. `writing` is set inside an lvalue, the only place where a stack's `next` is
    allowed. `binding` is set inside a table's list of actions, where no table may be applied. `result` is the variable
    for a function's return value, None elsewhere. `probed` holds arguments that were checked early to infer a type
    argument, by the identity of their node. `objects` are extern objects for parameters, by name.
    """

    state: State
    scope: Scope
    kind: Kind
    name: str = ""
    in_parser: bool = False
    before: list[ir.Statement] = field(default_factory=list)
    depth: int = 0
    loops: int = 0
    writing: bool = False
    binding: bool = False
    result: ir.Variable | None = None
    probed: dict[int, Probed] = field(default_factory=dict)
    objects: Mapping[str, ir.Instance] = field(default_factory=dict)


def aside(ctx: Context) -> Context:
    """Return a context, with the scope of `ctx`, for parts of the program that are checked and then discarded.

    Tables, actions and instances created with it do not reach the program; warnings, and what counts as used, do.
    """
    state = ctx.state
    discarded = State(
        state.checks,
        state.errors,
        state.match_kinds,
        extents=state.extents,
        copies=state.copies,
        used=state.used,
        making=state.making,
        defaults=state.defaults,
        warnings=state.warnings,
    )
    return Context(discarded, ctx.scope, ctx.kind)


def fresh(ctx: Context, name: str, kind: Type, place: Place) -> ir.Variable:
    """Return a new variable of type `kind`, declared before the statement that is being checked.

    Its `name` need not be unique. `place` is where it comes from in the source.
    """
    variable = ir.Variable(name, kind, place)
    ctx.before.append(ir.Declare(variable, None, place=place))
    return variable


def refuse(what: str, place: Place, hint: str = "", plural: bool = True) -> P4Error:
    """Return the error, to be raised, for a feature of P4 that is not supported yet; `what` names it.

    `plural` is whether `what` is a plural, as in "header unions are not supported yet".
    """
    return P4Error(f"{what} {'are' if plural else 'is'} not supported yet", place=place, hint=hint)


def annotations_of(annotations: s.Annotations) -> dict[str, str]:
    """Return the text between the brackets of annotations by name. As in p4c, the first of each name counts."""
    return {each.name: each.body for each in reversed(annotations)}
