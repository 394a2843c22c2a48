"""Types, expressions and statements of the syntax tree, before name resolution.

All nodes are frozen and have a place. declarations.py has the rest of the tree, the declarations.
"""

from __future__ import annotations

from dataclasses import dataclass

from midflight.errors import Place
from midflight.trees import equal, hashed, shown

__all__ = [
    "LARGEST", "Annotation", "Annotations", "Argument", "Assign", "BaseType", "Binary", "Block", "Boolean", "Call",
    "CallStatement", "Cast", "Constant", "Construct", "Default", "DefaultKeyset", "DirectApplication", "Empty",
    "ErrorMember", "Exit", "Expression", "If", "Index", "Instantiation", "InvalidHeader", "ListExpression",
    "MaskKeyset", "Member", "Name", "Node", "Number", "RangeKeyset", "Record", "Return", "SimpleKeyset", "Slice",
    "SpecialisedType", "StackType", "Statement", "Switch", "SwitchCase", "Ternary", "Text", "TupleKeyset", "TupleType",
    "Type", "TypeMember", "TypeName", "Unary", "Variable",
]  # fmt: skip

LARGEST = 4096
"""The largest number of bits of a constant without a width."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Node:
    """A node of the syntax tree, with its place in the source."""

    place: Place

    __eq__, __hash__, __repr__ = equal, hashed, shown


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Annotation(Node):
    """`@name`, `@name(body)` or, if `structured`, `@name[body]`. `body` is the unparsed text between the brackets."""

    name: str
    body: str
    structured: bool = False


Annotations = tuple[Annotation, ...]


# Types ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BaseType(Node):
    """A built-in type: `bit`, `int`, `varbit`, `bool`, `error`, `string`, `match_kind`, `void`; or `_` as an argument.

    `width` is None if none is written.
    """

    name: str
    width: Expression | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TypeName(Node):
    """A named type. `top` is set for a leading dot, which refers to the program's top level."""

    name: str
    top: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SpecialisedType(Node):
    """A generic type with type arguments, such as `register<bit<32>>`."""

    base: TypeName
    arguments: tuple[Type, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StackType(Node):
    """The type of a header stack in source, `element[size]`."""

    element: Type
    size: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TupleType(Node):
    """A type `tuple<...>` in source, or `list<...>` if `is_list`."""

    elements: tuple[Type, ...]
    is_list: bool = False


Type = BaseType | TypeName | SpecialisedType | StackType | TupleType


# Expressions ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Number(Node):
    """An integer literal. `width` is None if the literal has no width; `signed` is set for widths with `s`."""

    value: int
    width: int | None = None
    signed: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Text(Node):
    """A string literal in source; `value` has its escape sequences replaced."""

    value: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Boolean(Node):
    """The literal `true` or `false` in source."""

    value: bool


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Name(Node):
    """A name in an expression that is not a type. `top` is set for a leading dot, which refers to the top level."""

    name: str
    top: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TypeMember(Node):
    """A member of a type, such as an enum: `Type.member`."""

    type: TypeName
    member: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ErrorMember(Node):
    """The expression `error.member` in source."""

    member: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Member(Node):
    """A field or method, `base.member`. `at` is the place of the member's name."""

    base: Expression
    member: str
    at: Place


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Index(Node):
    """The expression `base[index]` in source: an element of a stack or tuple."""

    base: Expression
    index: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Slice(Node):
    """The expression `base[high:low]` in source: these bits, both ends included."""

    base: Expression
    high: Expression
    low: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Unary(Node):
    """The expression of a prefix operator in source: `!`, `~`, `-` or `+`."""

    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Binary(Node):
    """A binary operator on two operands, as P4 spells it."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Ternary(Node):
    """The expression `condition ? yes : no` in source."""

    condition: Expression
    yes: Expression
    no: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Cast(Node):
    """The expression `(type) operand` in source."""

    type: Type
    operand: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Argument(Node):
    """An argument of a call. `name` is empty for a positional argument, and `value` is None for `_`."""

    value: Expression | None
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Call(Node):
    """A call of a function or method, `callee<types>(arguments)`."""

    callee: Expression
    types: tuple[Type, ...]
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Construct(Node):
    """The expression `Type(arguments)` in source: an instance without a name."""

    type: Type
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ListExpression(Node):
    """The expression `{a, b}` in source: a list of values."""

    elements: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Record(Node):
    """A list of values by field name, `{a = 1, b = 2}`. `rest` is set if it ends with `...`."""

    fields: tuple[tuple[str, Expression], ...]
    rest: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Default(Node):
    """The expression `...` in source: the default value of a type."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class InvalidHeader(Node):
    """The expression `{#}` in source: an invalid header."""


Expression = (
    Number | Text | Boolean | Name | TypeMember | ErrorMember | Member | Index | Slice | Unary | Binary | Ternary
    | Cast | Call | Construct | ListExpression | Record | Default | InvalidHeader
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MaskKeyset(Node):
    """A keyset that matches under a mask, `value &&& mask`."""

    value: Expression
    mask: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RangeKeyset(Node):
    """A keyset that matches a range, `low .. high`, both included."""

    low: Expression
    high: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DefaultKeyset(Node):
    """The keyset that matches everything, `default` or `_`."""


SimpleKeyset = Expression | MaskKeyset | RangeKeyset | DefaultKeyset


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TupleKeyset(Node):
    """A keyset for several fields, `(a, b)`."""

    elements: tuple[SimpleKeyset, ...]


# Statements ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Constant(Node):
    """A declaration `const type name = value;`."""

    name: str
    type: Type
    value: Expression
    annotations: Annotations


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Variable(Node):
    """A declaration `type name = value;`. `value` is None without an initial value."""

    name: str
    type: Type
    value: Expression | None
    annotations: Annotations


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Instantiation(Node):
    """A declaration of an instance, `type(arguments) name;`.

    `body` are the functions and instances in a body of abstract methods, and None without a body.
    """

    name: str
    type: Type
    arguments: tuple[Argument, ...]
    annotations: Annotations
    body: tuple[Node, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Empty(Node):
    """The empty statement in source, `;`."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Assign(Node):
    """A statement `target = value;`.

    `operator` is the binary operator of a compound assignment, such as `+` for `+=`.
    """

    target: Expression
    value: Expression
    operator: str = ""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CallStatement(Node):
    """The statement of a call in source, whose value is discarded."""

    call: Call


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DirectApplication(Node):
    """A statement `Type.apply(arguments);`, which applies an instance without a name."""

    type: Type
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class If(Node):
    """A statement `if (condition) yes else no`. `no` is None without an else."""

    condition: Expression
    yes: Statement
    no: Statement | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SwitchCase(Node):
    """A case `label: block` of a switch.

    `label` is None for `default`, and `block` is None if the case falls through.
    """

    label: Expression | None
    block: Block | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Switch(Node):
    """A statement `switch (subject) {cases}`."""

    subject: Expression
    cases: tuple[SwitchCase, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Block(Node):
    """A sequence of statements in braces, with a scope of its own."""

    body: tuple[Statement, ...]
    annotations: Annotations


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Return(Node):
    """A statement `return value;`. `value` is None in `return;`."""

    value: Expression | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Exit(Node):
    """The statement `exit;` in source."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class For(Node):
    """A statement `for (first; condition; step) body`. `first` and `step` are statements that commas separate."""

    first: tuple[Statement, ...]
    condition: Expression
    step: tuple[Statement, ...]
    body: Statement


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ForIn(Node):
    """A statement `for (type name in values) body`, or with `values .. last`."""

    type: Type
    name: str
    values: Expression
    last: Expression | None
    body: Statement


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Break(Node):
    """The statement `break;`."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Continue(Node):
    """The statement `continue;`."""


Statement = (
    Empty | Assign | CallStatement | DirectApplication | If | Switch | Block | Return | Exit | Constant | Variable
    | Instantiation | For | ForIn | Break | Continue
)  # fmt: skip
