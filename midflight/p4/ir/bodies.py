"""Expressions, statements, actions, tables, parsers and controls. They refer to each other, so they are one module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from midflight.errors import Place
from midflight.p4.ir.entities import Instance, Keyset, Node, Parameter, Variable
from midflight.p4.types import Direction, Type
from midflight.trees import equal, hashed, shown

__all__ = [
    "Action", "ActionCall", "ActionRef", "Advance", "Apply", "Assign", "Binary", "Block", "Break", "Call",
    "CallStatement", "Case", "Cast", "Concat", "Continue", "Control", "CopyIn", "Declare", "Emit", "Exit",
    "Expression", "Extract", "If", "Index", "IsValid", "Key", "Last", "Literal", "Lookahead", "Loop", "Member",
    "Next", "Parser", "Return", "Select", "SetValidity", "Shift", "Slice", "State", "Statement", "StructValue",
    "Switch", "Table", "TableApply", "TableEntry", "TableHit", "Ternary", "Unary", "VariableRef",
]  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Literal(Node):
    """A constant: an int (0 or 1 for a bool, index or value for an enum or error member), or a str for `string`."""

    value: int | str
    type: Type


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class VariableRef(Node):
    """The typed expression of a variable, read or assigned to."""

    variable: Variable
    type: Type


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Member(Node):
    """The typed expression of a field of a struct or header, or of an element of a tuple, whose `name` is its decimal
    index.
    """

    base: Expression
    name: str
    type: Type


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Index(Node):
    """The typed expression of an element of a header stack. A constant index is a Literal within the stack."""

    base: Expression
    index: Expression
    type: Type


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Next(Node):
    """The typed expression `stack.next` in a parser."""

    base: Expression
    type: Type


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Last(Node):
    """The typed expression `stack.last` in a parser, or `stack.lastIndex` if `index` is set."""

    base: Expression
    type: Type
    index: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Slice(Node):
    """The typed expression `base[high:low]`, with both ends included."""

    base: Expression
    high: int
    low: int
    type: Type


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Unary(Node):
    """The typed expression of a prefix operator; `operator` is one of `-`, `~`, `!`."""

    operator: str
    operand: Expression
    type: Type


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Binary(Node):
    """A binary operator, spelled as in P4.

    Operands have the same type, but a shift's right one is any `bit<W>` or a Literal. `==` and `!=` take all types.
    """

    operator: str
    left: Expression
    right: Expression
    type: Type


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Concat(Node):
    """The typed expression `left ++ right`, where left becomes the more significant part."""

    left: Expression
    right: Expression
    type: Type


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Cast(Node):
    """An explicit cast, or the implicit conversion of a serializable enum to its underlying type."""

    operand: Expression
    type: Type


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Ternary(Node):
    """The typed expression `condition ? yes : no`."""

    condition: Expression
    yes: Expression
    no: Expression
    type: Type


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StructValue(Node):
    """A list or struct expression, with its elements in the order of the type's fields."""

    elements: tuple[Expression, ...]
    type: Type


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class IsValid(Node):
    """The typed expression `header.isValid()`, of type bool."""

    header: Expression
    type: Type


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Lookahead(Node):
    """The typed expression `packet.lookahead<T>()` in a parser, where T is `type`."""

    type: Type


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TableHit(Node):
    """The typed expression `table.apply().hit`, or `.miss` if `miss` is set. Evaluating it applies the table."""

    table: Table
    type: Type
    miss: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Call(Node):
    """A call of an extern function or, if `instance` is set, of an extern object's method.

    `arguments` and `directions` are in parameter order. `out` and `inout` arguments are lvalues.
    """

    name: str
    arguments: tuple[Expression, ...]
    directions: tuple[Direction, ...]
    type: Type
    instance: Instance | None = None
    type_arguments: tuple[Type, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CopyIn(Node):
    """An `inout` argument of an action, control or parser whose value was copied before the other arguments ran.

    `value` is the copy. At the end of the callee, the parameter is copied to `target`.
    """

    target: Expression
    value: Expression
    type: Type


Expression = (
    Literal | VariableRef | Member | Index | Next | Last | Slice | Unary | Binary | Concat | Cast | Ternary
    | StructValue | IsValid | Lookahead | TableHit | Call | CopyIn
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Assign(Node):
    """The typed statement `target = value`, where the target is a VariableRef, Member, Index, Slice, Next or Last."""

    target: Expression
    value: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Declare(Node):
    """A declaration of a local variable, with an initial value or None."""

    variable: Variable
    value: Expression | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Block(Node):
    """A sequence of statements with a scope of its own."""

    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class If(Node):
    """A statement `if (condition) yes else no`; `no` is None without an else."""

    condition: Expression
    yes: Statement
    no: Statement | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Case:
    """A case of a switch: labels, none for `default`, with a common body. Fall-through has been resolved."""

    labels: tuple[Expression | Action, ...]
    body: Statement
    __eq__, __hash__, __repr__ = equal, hashed, shown


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Switch(Node):
    """A `switch` on `table.apply().action_run` with actions as labels, or on a value with Literals as labels."""

    subject: Table | Expression
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TableApply(Node):
    """The typed statement `table.apply()`."""

    table: Table


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ActionCall(Node):
    """A direct call of an action, with arguments for all of its parameters."""

    action: Action
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Apply(Node):
    """A statement `instance.apply(...)` of a control or parser inside another, without the packet as an argument."""

    callee: Control | Parser
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CallStatement(Node):
    """The typed statement of a call whose value, if any, is discarded."""

    call: Call


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SetValidity(Node):
    """The typed statement `header.setValid()` (`valid` is True) or `header.setInvalid()`."""

    header: Expression
    valid: bool


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Shift(Node):
    """The typed statement `stack.push_front(count)`, or `stack.pop_front(-count)` if `count` is negative."""

    stack: Expression
    count: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Extract(Node):
    """The typed statement `packet.extract(header)` in a parser.

    `bits` is the second argument, which headers with a varbit field need; otherwise None.
    """

    header: Expression
    bits: Expression | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Advance(Node):
    """The typed statement `packet.advance(bits)` in a parser: skip this number of bits."""

    bits: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Emit(Node):
    """The typed statement `packet.emit(value)` in a deparser, of a header, a stack, or a struct of these.

    Invalid headers are not written.
    """

    value: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Loop(Node):
    """A loop: each round runs `before`, ends the loop unless `condition` holds, and then runs `body` and `step`."""

    before: tuple[Statement, ...]
    condition: Expression
    body: Statement
    step: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Break(Node):
    """`break`, which ends the innermost loop."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Continue(Node):
    """`continue`, which goes on with the step of the innermost loop."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Exit(Node):
    """The statement `exit`, which ends the processing of the packet in this control and those that apply it."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Return(Node):
    """The typed statement `return`, which ends a control or action."""


Statement = (
    Assign | Declare | Block | If | Switch | TableApply | ActionCall | Apply | CallStatement | SetValidity | Shift
    | Extract | Advance | Emit | Exit | Return | Loop | Break | Continue
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Action:
    """An action, by its control-plane name.

    Its parameters with Direction.NONE come last, and the control plane sets them.
    """

    name: str
    parameters: tuple[Parameter, ...]
    body: Block
    annotations: Mapping[str, str] = field(default_factory=dict)
    place: Place | None = None

    @property
    def data(self) -> tuple[Parameter, ...]:
        """The parameters of the action that the control plane sets in a table entry, in order."""
        return tuple(each for each in self.parameters if each.direction is Direction.NONE)

    __repr__ = shown


@dataclass(frozen=True, slots=True)
class Key:
    """A match field of a table, with its control-plane name, or an input of its action selector's hash.

    `kind` is exact, lpm, ternary, range or optional, or selector for such an input.
    """

    expression: Expression
    kind: str
    name: str
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ActionRef:
    """An action in a table's list of actions. `bound` holds the arguments for its parameters with a direction.

    With `table_only`, it cannot be the default action; with `default_only`, the control plane adds no entry with it.
    The statements `before` compute these arguments each time the action runs.
    """

    action: Action
    bound: tuple[Expression, ...] = ()
    table_only: bool = False
    default_only: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict, compare=False, hash=False)
    before: tuple[Statement, ...] = ()


@dataclass(frozen=True, slots=True)
class TableEntry:
    """An entry in a table's `entries`. `arguments` is the action data, in the order of `Action.data`.

    The largest priority wins; it is 0 in tables without priorities.
    """

    keys: Keyset
    action: ActionRef
    arguments: tuple[int, ...]
    priority: int
    const: bool = True


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Table:
    """A match-action table, by its control-plane name. `size` is the declared maximum number of entries, or 1024.

    `keys` are the match fields, and `listed` all keys as declared. `default_arguments` is the default action's data.
    `default_const` and `entries_const` are whether the control plane cannot change the default action or the entries.
    `direct` are its direct counters and meters. With an `implementation`, an action_profile or action_selector, entries
    refer to members or groups of that. The statements `before` compute the keys each time the table is applied.
    `idle_timeout` is whether entries may have one, so that their last hits are stored.
    """

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
    implementation: Instance | None = None
    listed: tuple[Key, ...] = ()
    before: tuple[Statement, ...] = ()
    idle_timeout: bool = False

    @property
    def selector(self) -> tuple[Key, ...]:
        """The inputs of the hash by which the table's action selector chooses a member; empty without a selector."""
        return tuple(each for each in self.listed if each.kind == "selector")

    __repr__ = shown


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Select(Node):
    """A `select`: the first case whose keyset, or value set, matches the expressions gives the next state's name.

    Without a match, the parser sets error.NoMatch and rejects the packet.
    """

    expressions: tuple[Expression, ...]
    cases: tuple[tuple[Keyset | Table, str], ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class State(Node):
    """A parser state. `next` is a Select, or the name of a state, `accept` or `reject`."""

    name: str
    body: tuple[Statement, ...]
    next: Select | str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Parser:
    """A parser instance: its states by name. Parsing starts in `start`, after the declarations in `locals`."""

    name: str
    parameters: tuple[Parameter, ...]
    locals: tuple[Statement, ...]
    states: Mapping[str, State]
    place: Place | None = None
    __repr__ = shown


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Control:
    """A control instance. `locals` are declarations that run before its body each time."""

    name: str
    parameters: tuple[Parameter, ...]
    locals: tuple[Statement, ...]
    body: Block
    place: Place | None = None
    __repr__ = shown
