"""A checked P4 program: names resolved, types on every expression, constants folded, instances made.

What the front end hands to everything below it. Generic and constructor parameters are gone: a parser or
control that is instantiated twice appears twice, each with its own fully qualified names. Integer constants
of type `int` have taken the width that their context gives them, so no `Integer` type remains in a body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from midflight.errors import P4Warning, Place
from midflight.p4.types import Direction, EnumType, HeaderType, StructType, Type

__all__ = [
    "Action", "ActionCall", "ActionRef", "Advance", "Apply", "Assign", "Binary", "Block", "Call", "CallStatement",
    "Case", "Cast", "Concat", "Control", "Declare", "Direction", "Emit", "EntryKey", "Exit", "Expression",
    "Extract", "If", "Index", "Instance", "IsValid", "Key", "Keyset", "Last", "Literal", "Lookahead", "Member",
    "Next", "Node", "Parameter", "Parser", "Program", "Return", "Select", "SetValidity", "Shift", "Slice", "State",
    "Statement", "StructValue", "Switch", "Table", "TableApply", "TableEntry", "TableHit", "Ternary", "Unary",
    "Variable", "VariableRef",
]  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    """A local variable or a parameter. Compared by identity: two of one name are two variables."""

    name: str
    type: Type
    place: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What stands somewhere in the source. The place takes no part in comparisons."""

    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A constant: an int (bool as 0 or 1, enum and error members as index or value) or a str for `string`."""

    value: int | str
    type: Type


@dataclass(frozen=True, slots=True)
class VariableRef(Node):
    """The value, or the place, that a variable holds."""

    variable: Variable
    type: Type


@dataclass(frozen=True, slots=True)
class Member(Node):
    """A field of a struct or header, or one element of a tuple (then `name` is its index in decimal)."""

    base: Expression
    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Index(Node):
    """An element of a header stack. A constant index is a Literal."""

    base: Expression
    index: Expression
    type: Type


@dataclass(frozen=True, slots=True)
class Next(Node):
    """`stack.next` in a parser."""

    base: Expression
    type: Type


@dataclass(frozen=True, slots=True)
class Last(Node):
    """`stack.last` in a parser; with `index` set, `stack.lastIndex`."""

    base: Expression
    type: Type
    index: bool = False


@dataclass(frozen=True, slots=True)
class Slice(Node):
    """`base[high:low]`, both ends included."""

    base: Expression
    high: int
    low: int
    type: Type


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """`operator` is one of `-`, `~`, `!`."""

    operator: str
    operand: Expression
    type: Type


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """`operator` as P4 spells it. Both sides have one type, save for shifts: any `bit<W>` or a Literal on the right.

    `==` and `!=` also compare structs, headers, tuples, enums and errors.
    """

    operator: str
    left: Expression
    right: Expression
    type: Type


@dataclass(frozen=True, slots=True)
class Concat(Node):
    """`left ++ right`: left is the more significant part."""

    left: Expression
    right: Expression
    type: Type


@dataclass(frozen=True, slots=True)
class Cast(Node):
    """An explicit conversion, or the implicit one of a serializable enum to its underlying type."""

    operand: Expression
    type: Type


@dataclass(frozen=True, slots=True)
class Ternary(Node):
    """`condition ? yes : no`."""

    condition: Expression
    yes: Expression
    no: Expression
    type: Type


@dataclass(frozen=True, slots=True)
class StructValue(Node):
    """A list or struct expression, its elements in the order of the type's fields."""

    elements: tuple[Expression, ...]
    type: Type


@dataclass(frozen=True, slots=True)
class IsValid(Node):
    """`header.isValid()`."""

    header: Expression
    type: Type


@dataclass(frozen=True, slots=True)
class Lookahead(Node):
    """`packet.lookahead<T>()`."""

    type: Type


@dataclass(frozen=True, slots=True)
class TableHit(Node):
    """`table.apply().hit`, or `.miss` when `miss` is set: applies the table."""

    table: Table
    type: Type
    miss: bool = False


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A call of an extern function or, with `instance` set, of an extern object's method.

    `arguments` are in parameter order; those of `out` and `inout` parameters are lvalues, as `directions` tells.
    """

    name: str
    arguments: tuple[Expression, ...]
    directions: tuple[Direction, ...]
    type: Type
    instance: Instance | None = None
    type_arguments: tuple[Type, ...] = ()


Expression = (
    Literal | VariableRef | Member | Index | Next | Last | Slice | Unary | Binary | Concat | Cast | Ternary
    | StructValue | IsValid | Lookahead | TableHit | Call
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Assign(Node):
    """`target = value`; target is a VariableRef, Member, Index or Slice."""

    target: Expression
    value: Expression


@dataclass(frozen=True, slots=True)
class Declare(Node):
    """A local variable comes into scope, with its initial value where the source gives one."""

    variable: Variable
    value: Expression | None


@dataclass(frozen=True, slots=True)
class Block(Node):
    """Statements in a row, in a scope of their own."""

    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class If(Node):
    """`if (condition) yes else no`."""

    condition: Expression
    yes: Statement
    no: Statement | None


@dataclass(frozen=True, slots=True)
class Case:
    """Labels that share a body. An empty `labels` is `default`. Fall-through has been resolved."""

    labels: tuple[Expression | Action, ...]
    body: Statement


@dataclass(frozen=True, slots=True)
class Switch(Node):
    """`switch (table.apply().action_run)`, labels being actions, or a switch over a value, labels being Literals."""

    subject: Table | Expression
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class TableApply(Node):
    """`table.apply()`."""

    table: Table


@dataclass(frozen=True, slots=True)
class ActionCall(Node):
    """A direct call of an action, arguments for all of its parameters."""

    action: Action
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Apply(Node):
    """`instance.apply(...)` of a sub-control or sub-parser."""

    callee: Control | Parser
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class CallStatement(Node):
    """A call whose value, if any, is not used."""

    call: Call


@dataclass(frozen=True, slots=True)
class SetValidity(Node):
    """`header.setValid()` or `header.setInvalid()`."""

    header: Expression
    valid: bool


@dataclass(frozen=True, slots=True)
class Shift(Node):
    """`stack.push_front(count)`, or `pop_front` when count is negative."""

    stack: Expression
    count: int


@dataclass(frozen=True, slots=True)
class Extract(Node):
    """`packet.extract(header)`; `bits` is the second argument that varbit headers take."""

    header: Expression
    bits: Expression | None = None


@dataclass(frozen=True, slots=True)
class Advance(Node):
    """`packet.advance(bits)`."""

    bits: Expression


@dataclass(frozen=True, slots=True)
class Emit(Node):
    """`packet.emit(value)`: a header, a stack, or a struct of them; only valid headers are written."""

    value: Expression


@dataclass(frozen=True, slots=True)
class Exit(Node):
    """`exit`."""


@dataclass(frozen=True, slots=True)
class Return(Node):
    """`return` of a control or action."""


Statement = (
    Assign | Declare | Block | If | Switch | TableApply | ActionCall | Apply | CallStatement | SetValidity | Shift
    | Extract | Advance | Emit | Exit | Return
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a parser, control or action."""

    variable: Variable
    direction: Direction
    annotations: Mapping[str, str] = field(default_factory=dict, compare=False, hash=False)


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """An extern object. `name` is its control-plane name, `arguments` its constants."""

    name: str
    kind: str
    type_arguments: tuple[Type, ...]
    arguments: tuple[int | str, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    place: Place | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Action:
    """An action; parameters with Direction.NONE come last and are the control plane's."""

    name: str
    parameters: tuple[Parameter, ...]
    body: Block
    annotations: Mapping[str, str] = field(default_factory=dict)
    place: Place | None = None

    @property
    def data(self) -> tuple[Parameter, ...]:
        """The parameters that a table entry carries."""
        return tuple(each for each in self.parameters if each.direction is Direction.NONE)


@dataclass(frozen=True, slots=True)
class Key:
    """One match field of a table; `kind` is exact, lpm, ternary, range or optional."""

    expression: Expression
    kind: str
    name: str
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ActionRef:
    """An action as a table lists it: `bound` are the arguments given in the list for directed parameters."""

    action: Action
    bound: tuple[Expression, ...] = ()
    table_only: bool = False
    default_only: bool = False


@dataclass(frozen=True, slots=True)
class EntryKey:
    """One field of an entry or select case: `value`, with `mask` (ternary, LPM) or `high` (range); None matches all."""

    value: int | None
    mask: int | None = None
    high: int | None = None


Keyset = tuple[EntryKey, ...]


@dataclass(frozen=True, slots=True)
class TableEntry:
    """An entry of the `entries` property; `arguments` are the action's data. Larger priority wins."""

    keys: Keyset
    action: ActionRef
    arguments: tuple[int, ...]
    priority: int
    const: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A match-action table. `size` is the declared one, or 1024."""

    name: str
    keys: tuple[Key, ...]
    actions: tuple[ActionRef, ...]
    default: ActionRef
    default_arguments: tuple[int, ...]
    default_const: bool = False
    entries: tuple[TableEntry, ...] = ()
    entries_const: bool = False
    size: int = 1024
    direct: tuple[Instance, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Select(Node):
    """`select`: the first case whose keyset matches names the next state; none means error.NoMatch and reject."""

    expressions: tuple[Expression, ...]
    cases: tuple[tuple[Keyset, str], ...]


@dataclass(frozen=True, slots=True)
class State(Node):
    """A parser state; `next` is a Select or the name of a state, `accept` or `reject`."""

    name: str
    body: tuple[Statement, ...]
    next: Select | str


@dataclass(frozen=True, slots=True, eq=False)
class Parser:
    """A parser instance. Parsing starts at state `start`."""

    name: str
    parameters: tuple[Parameter, ...]
    locals: tuple[Statement, ...]
    states: Mapping[str, State]
    place: Place | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """A control instance; `locals` are the declarations that run before its body."""

    name: str
    parameters: tuple[Parameter, ...]
    locals: tuple[Statement, ...]
    body: Block
    place: Place | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A v1model program. The six parts' parameters are in v1model's order, the packet left out.

    `tables`, `actions` and `instances` hold everything reachable, by fully qualified name, in source order;
    `warnings` tell of what is allowed and yet doubtful.
    """

    file: str
    source: str
    parser: Parser
    verify: Control
    ingress: Control
    egress: Control
    compute: Control
    deparser: Control
    headers: StructType
    metadata: Type
    standard_metadata: StructType
    errors: tuple[str, ...]
    tables: Mapping[str, Table]
    actions: Mapping[str, Action]
    instances: Mapping[str, Instance]
    controller_headers: tuple[HeaderType, ...] = ()
    enums: tuple[EnumType, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[P4Warning, ...] = ()
