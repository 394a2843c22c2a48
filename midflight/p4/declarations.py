"""Declarations of the syntax tree, on top of the types, expressions and statements of syntax.py."""

from __future__ import annotations

from dataclasses import dataclass

from midflight.errors import Place
from midflight.p4.syntax import (
    Annotations,
    Argument,
    Block,
    Constant,
    Expression,
    Instantiation,
    Name,
    Node,
    SimpleKeyset,
    Statement,
    TupleKeyset,
    Type,
    Variable,
)

__all__ = [
    "Action", "ActionReference", "Control", "Declaration", "Entry", "EnumMember", "Enumeration", "ErrorDeclaration",
    "Extern", "Field", "Function", "Key", "MatchKindDeclaration", "NewType", "Package", "Parameter", "Parser",
    "Program", "Property", "Prototype", "Select", "SelectCase", "State", "Structure", "Table", "TableActions",
    "TableEntries", "TableKey", "TableProperty", "Transition", "Typedef", "ValueSet",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parameter(Node):
    """A parameter. `direction` is in, out, inout or empty."""

    name: str
    type: Type
    direction: str
    default: Expression | None
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class Prototype(Node):
    """The signature of a function or method. `result` is None for a constructor."""

    name: str
    result: Type | None
    type_parameters: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    annotations: Annotations = ()
    abstract: bool = False


@dataclass(frozen=True, slots=True)
class Extern(Node):
    """A declaration of an extern object type."""

    name: str
    type_parameters: tuple[str, ...]
    methods: tuple[Prototype, ...]
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class Function(Node):
    """A function. `body` is None for an extern function."""

    prototype: Prototype
    body: Block | None
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class Action(Node):
    """`action name(parameters) body`."""

    name: str
    parameters: tuple[Parameter, ...]
    body: Block
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class Package(Node):
    """A package type."""

    name: str
    type_parameters: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class Typedef(Node):
    """`typedef type name;`."""

    name: str
    type: Type | Structure
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class NewType(Node):
    """`type type name;`."""

    name: str
    type: Type
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class Field(Node):
    """A field of a struct or header."""

    name: str
    type: Type
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class Structure(Node):
    """A struct, header or header union, as `kind` says (struct, header or header_union)."""

    kind: str
    name: str
    type_parameters: tuple[str, ...]
    fields: tuple[Field, ...]
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class EnumMember(Node):
    """An enum member, with a value if the enum is serializable."""

    name: str
    value: Expression | None


@dataclass(frozen=True, slots=True)
class Enumeration(Node):
    """An `enum`, which is serializable if it has an `underlying` type."""

    name: str
    underlying: Type | None
    members: tuple[EnumMember, ...]
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class ErrorDeclaration(Node):
    """`error { ... }`."""

    members: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class MatchKindDeclaration(Node):
    """`match_kind { ... }`."""

    members: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class ValueSet(Node):
    """`value_set<type>(size) name;`."""

    name: str
    type: Type
    size: Expression
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class SelectCase(Node):
    """`keyset: state;`."""

    keyset: SimpleKeyset | TupleKeyset
    state: str


@dataclass(frozen=True, slots=True)
class Select(Node):
    """`transition select(...) {...}`."""

    expressions: tuple[Expression, ...]
    cases: tuple[SelectCase, ...]


@dataclass(frozen=True, slots=True)
class Transition(Node):
    """`transition state;`."""

    state: str


@dataclass(frozen=True, slots=True)
class State(Node):
    """A parser state. Without a transition, it rejects the packet."""

    name: str
    body: tuple[Statement, ...]
    transition: Transition | Select | None
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class Parser(Node):
    """A parser, or only its type if `states` is None."""

    name: str
    type_parameters: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    constructor: tuple[Parameter, ...]
    locals: tuple[Declaration, ...]
    states: tuple[State, ...] | None
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class Control(Node):
    """A control, or only its type if `body` is None."""

    name: str
    type_parameters: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    constructor: tuple[Parameter, ...]
    locals: tuple[Declaration, ...]
    body: Block | None
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class Key(Node):
    """A match field of a table."""

    expression: Expression
    kind: str
    kind_place: Place
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class ActionReference(Node):
    """A reference to an action. `arguments` is None without parentheses."""

    name: str
    top: bool
    arguments: tuple[Argument, ...] | None
    annotations: Annotations = ()


@dataclass(frozen=True, slots=True)
class Entry(Node):
    """An entry in a table's `entries`."""

    keyset: SimpleKeyset | TupleKeyset
    action: ActionReference
    priority: Expression | None
    const: bool
    annotations: Annotations


@dataclass(frozen=True, slots=True)
class TableKey(Node):
    """`key = {...}`."""

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class TableActions(Node):
    """`actions = {...}`."""

    actions: tuple[ActionReference, ...]


@dataclass(frozen=True, slots=True)
class TableEntries(Node):
    """`entries = {...}`."""

    entries: tuple[Entry, ...]
    const: bool


@dataclass(frozen=True, slots=True)
class TableProperty(Node):
    """A property other than key, actions and entries."""

    name: str
    value: Expression
    const: bool
    annotations: Annotations


Property = TableKey | TableActions | TableEntries | TableProperty


@dataclass(frozen=True, slots=True)
class Table(Node):
    """`table name {...}`."""

    name: str
    properties: tuple[Property, ...]
    annotations: Annotations


Declaration = (
    Constant | Variable | Instantiation | Extern | Function | Action | Package | Typedef | NewType | Structure
    | Enumeration | ErrorDeclaration | MatchKindDeclaration | ValueSet | Parser | Control | Table
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Program:
    """A whole program, with the declarations of its includes."""

    file: str
    declarations: tuple[Declaration, ...]
