"""Types, expressions and statements of the syntax tree, before name resolution.

All nodes are frozen and have a place. declarations.py has the rest of the tree.
"""

from __future__ import annotations

from dataclasses import dataclass

from midflight.errors import Place

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


@dataclass(frozen=True, slots=True)
class Node:
    """A node with a place in the source."""

    place: Place


@dataclass(frozen=True, slots=True)
class Annotation(Node):
    """`@name`, `@name(body)` or, if `structured`, `@name[body]`. `body` is the unparsed text between the brackets."""

    name: str
    body: str
    structured: bool = False


Annotations = tuple[Annotation, ...]


# Types ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BaseType(Node):
    """`bit`, `int`, `varbit`, `bool`, `error`, `string`, `match_kind` or `void`; `_` as a type argument."""

    name: str
    width: Expression | None = None


@dataclass(frozen=True, slots=True)
class TypeName(Node):
    """A named type. `top` is set for a leading dot."""

    name: str
    top: bool = False


@dataclass(frozen=True, slots=True)
class SpecialisedType(Node):
    """A generic type with type arguments."""

    base: TypeName
    arguments: tuple[Type, ...]


@dataclass(frozen=True, slots=True)
class StackType(Node):
    """`element[size]`."""

    element: Type
    size: Expression


@dataclass(frozen=True, slots=True)
class TupleType(Node):
    """`tuple<...>`, or `list<...>` if `is_list`."""

    elements: tuple[Type, ...]
    is_list: bool = False


Type = BaseType | TypeName | SpecialisedType | StackType | TupleType


# Expressions ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number(Node):
    """An integer literal. `width` is None if the literal has no width."""

    value: int
    width: int | None = None
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Text(Node):
    """A string literal, with escape sequences replaced."""

    value: str


@dataclass(frozen=True, slots=True)
class Boolean(Node):
    """`true` or `false`."""

    value: bool


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A name that is not a type. `top` is set for a leading dot."""

    name: str
    top: bool = False


@dataclass(frozen=True, slots=True)
class TypeMember(Node):
    """`Type.member`."""

    type: TypeName
    member: str


@dataclass(frozen=True, slots=True)
class ErrorMember(Node):
    """`error.member`."""

    member: str


@dataclass(frozen=True, slots=True)
class Member(Node):
    """`base.member`. `at` is the place of the member's name."""

    base: Expression
    member: str
    at: Place


@dataclass(frozen=True, slots=True)
class Index(Node):
    """`base[index]`."""

    base: Expression
    index: Expression


@dataclass(frozen=True, slots=True)
class Slice(Node):
    """`base[high:low]`."""

    base: Expression
    high: Expression
    low: Expression


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """`!`, `~`, `-` or `+`."""

    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """A binary operator as P4 spells it."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Ternary(Node):
    """`condition ? yes : no`."""

    condition: Expression
    yes: Expression
    no: Expression


@dataclass(frozen=True, slots=True)
class Cast(Node):
    """`(type) operand`."""

    type: Type
    operand: Expression


@dataclass(frozen=True, slots=True)
class Argument(Node):
    """An argument. `name` is empty for a positional argument, and `value` is None for `_`."""

    value: Expression | None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Call(Node):
    """`callee<types>(arguments)`."""

    callee: Expression
    types: tuple[Type, ...]
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Construct(Node):
    """`Type(arguments)`: an instance without a name."""

    type: Type
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class ListExpression(Node):
    """`{a, b}`."""

    elements: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Record(Node):
    """`{a = 1, b = 2}`. `rest` is set if it ends with `...`."""

    fields: tuple[tuple[str, Expression], ...]
    rest: bool = False


@dataclass(frozen=True, slots=True)
class Default(Node):
    """`...`: the default value of a type."""


@dataclass(frozen=True, slots=True)
class InvalidHeader(Node):
    """`{#}`."""


Expression = (
    Number | Text | Boolean | Name | TypeMember | ErrorMember | Member | Index | Slice | Unary | Binary | Ternary
    | Cast | Call | Construct | ListExpression | Record | Default | InvalidHeader
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MaskKeyset(Node):
    """`value &&& mask`."""

    value: Expression
    mask: Expression


@dataclass(frozen=True, slots=True)
class RangeKeyset(Node):
    """`low .. high`."""

    low: Expression
    high: Expression


@dataclass(frozen=True, slots=True)
class DefaultKeyset(Node):
    """`default` or `_`."""


SimpleKeyset = Expression | MaskKeyset | RangeKeyset | DefaultKeyset


@dataclass(frozen=True, slots=True)
class TupleKeyset(Node):
    """`(a, b)`."""

    elements: tuple[SimpleKeyset, ...]


# Statements ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Constant(Node):
    """`const type name = value;`."""

    name: str
    type: Type
    value: Expression
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class Variable(Node):
    """`type name = value;`."""

    name: str
    type: Type
    value: Expression | None
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class Instantiation(Node):
    """`type(arguments) name;`. `initialised` is set if a body of abstract methods follows."""

    name: str
    type: Type
    arguments: tuple[Argument, ...]
    annotations: Annotations
    initialised: bool = False


@dataclass(frozen=True, slots=True)
class Empty(Node):
    """`;`."""


@dataclass(frozen=True, slots=True)
class Assign(Node):
    """`target = value;`. `operator` is the binary operator of a compound assignment, such as `+` for `+=`."""

    target: Expression
    value: Expression
    operator: str = ""


@dataclass(frozen=True, slots=True)
class CallStatement(Node):
    """A call as a statement."""

    call: Call


@dataclass(frozen=True, slots=True)
class DirectApplication(Node):
    """`Type.apply(arguments);`: applies an anonymous instance."""

    type: Type
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class If(Node):
    """`if (condition) yes else no`."""

    condition: Expression
    yes: Statement
    no: Statement | None


@dataclass(frozen=True, slots=True)
class SwitchCase(Node):
    """`label: block`. `label` is None for `default`, and `block` is None if the case falls through."""

    label: Expression | None
    block: Block | None


@dataclass(frozen=True, slots=True)
class Switch(Node):
    """`switch (subject) {...}`."""

    subject: Expression
    cases: tuple[SwitchCase, ...]


@dataclass(frozen=True, slots=True)
class Block(Node):
    """`{...}`."""

    body: tuple[Statement, ...]
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class Return(Node):
    """`return value;`."""

    value: Expression | None


@dataclass(frozen=True, slots=True)
class Exit(Node):
    """`exit;`."""


Statement = (
    Empty | Assign | CallStatement | DirectApplication | If | Switch | Block | Return | Exit | Constant | Variable
    | Instantiation
)  # fmt: skip
