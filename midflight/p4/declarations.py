"""Declarations of the syntax tree, before name resolution; syntax.py has types, expressions and statements."""

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
from midflight.trees import equal, hashed, shown

__all__ = [
    "Action", "ActionReference", "Control", "Declaration", "Entry", "EnumMember", "Enumeration", "ErrorDeclaration",
    "Extern", "Field", "Function", "Key", "MatchKindDeclaration", "NewType", "Package", "Parameter", "Parser",
    "Program", "Property", "Prototype", "Select", "SelectCase", "State", "Structure", "Table", "TableActions",
    "TableEntries", "TableKey", "TableProperty", "Transition", "Typedef", "ValueSet",
]  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Parameter(Node):
    """A parameter of a function, method, action, parser or control. `direction` is in, out, inout or empty.

    `default` is None if there is no default value.
    """

    name: str
    type: Type
    direction: str
    default: Expression | None
    annotations: Annotations


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Prototype(Node):
    """The signature of a function or method. `result` is None for a constructor.

    `type_parameters` are the names of its generic types, and `abstract` is whether it is an abstract method.
    """

    name: str
    result: Type | None
    type_parameters: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    annotations: Annotations = ()
    abstract: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Extern(Node):
    """A declaration of an extern object type: its type parameters, and prototypes of its methods and constructors."""

    name: str
    type_parameters: tuple[str, ...]
    methods: tuple[Prototype, ...]
    annotations: Annotations


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Function(Node):
    """A function that the program defines, or an extern function, whose `body` is None."""

    prototype: Prototype
    body: Block | None
    annotations: Annotations


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Action(Node):
    """A declaration `action name(parameters) body`."""

    name: str
    parameters: tuple[Parameter, ...]
    body: Block
    annotations: Annotations


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Package(Node):
    """A declaration of a package type in source, such as that of V1Switch.

    `parameters` are those of its constructor, and `type_parameters` the names of its generic types.
    """

    name: str
    type_parameters: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    annotations: Annotations


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Typedef(Node):
    """A declaration `typedef type name;`, which gives a type a second name."""

    name: str
    type: Type | Structure
    annotations: Annotations


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NewType(Node):
    """A declaration `type type name;`, which introduces a new type with the values of another."""

    name: str
    type: Type
    annotations: Annotations


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Field(Node):
    """A field of a struct or header in source: its type and name."""

    name: str
    type: Type
    annotations: Annotations


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Structure(Node):
    """A struct, header or header union, as `kind` says (struct, header or header_union)."""

    kind: str
    name: str
    type_parameters: tuple[str, ...]
    fields: tuple[Field, ...]
    annotations: Annotations


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class EnumMember(Node):
    """An enum member, with a value if the enum is serializable."""

    name: str
    value: Expression | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Enumeration(Node):
    """A declaration of an enum. `underlying` is the type of its values if it is serializable, and None otherwise."""

    name: str
    underlying: Type | None
    members: tuple[EnumMember, ...]
    annotations: Annotations


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ErrorDeclaration(Node):
    """A declaration `error { ... }`, which adds members to the type `error`."""

    members: tuple[Name, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MatchKindDeclaration(Node):
    """A declaration `match_kind { ... }`, which adds match kinds for keys of tables."""

    members: tuple[Name, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ValueSet(Node):
    """A declaration `value_set<type>(size) name;` in a parser."""

    name: str
    type: Type
    size: Expression
    annotations: Annotations


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SelectCase(Node):
    """A case `keyset: state;` of a select."""

    keyset: SimpleKeyset | TupleKeyset
    state: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Select(Node):
    """A transition `transition select(expressions) {cases}` of a parser state."""

    expressions: tuple[Expression, ...]
    cases: tuple[SelectCase, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Transition(Node):
    """A transition `transition state;` of a parser state to the state of that name."""

    state: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class State(Node):
    """A parser state. Without a transition (None), it rejects the packet."""

    name: str
    body: tuple[Statement, ...]
    transition: Transition | Select | None
    annotations: Annotations


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Parser(Node):
    """A parser, or only its type if `states` is None. `constructor` are its constructor's parameters."""

    name: str
    type_parameters: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    constructor: tuple[Parameter, ...]
    locals: tuple[Declaration, ...]
    states: tuple[State, ...] | None
    annotations: Annotations


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Control(Node):
    """A control, or only its type if `body` is None. `constructor` are its constructor's parameters."""

    name: str
    type_parameters: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    constructor: tuple[Parameter, ...]
    locals: tuple[Declaration, ...]
    body: Block | None
    annotations: Annotations


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Key(Node):
    """A match field of a table: an expression and its match kind, such as exact, with the place of the latter."""

    expression: Expression
    kind: str
    kind_place: Place
    annotations: Annotations


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ActionReference(Node):
    """A reference to an action in a table. `arguments` is None if it has no parentheses.

    `top` is set for a name with a leading dot, which refers to the program's top level.
    """

    name: str
    top: bool
    arguments: tuple[Argument, ...] | None
    annotations: Annotations = ()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Entry(Node):
    """An entry in a table's `entries`. `priority` is None if it has none, and `const` whether it is declared const."""

    keyset: SimpleKeyset | TupleKeyset
    action: ActionReference
    priority: Expression | None
    const: bool
    annotations: Annotations


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TableKey(Node):
    """The property `key = {...}` of a table in source, with its match fields in order."""

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TableActions(Node):
    """The property `actions = {...}` of a table in source, with its actions in order."""

    actions: tuple[ActionReference, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TableEntries(Node):
    """The property `entries = {...}` of a table; `const` is whether it is declared const."""

    entries: tuple[Entry, ...]
    const: bool


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TableProperty(Node):
    """A property of a table other than key, actions and entries, such as `size = 1024`."""

    name: str
    value: Expression
    const: bool
    annotations: Annotations


Property = TableKey | TableActions | TableEntries | TableProperty


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Table(Node):
    """A declaration `table name {properties}`."""

    name: str
    properties: tuple[Property, ...]
    annotations: Annotations


Declaration = (
    Constant | Variable | Instantiation | Extern | Function | Action | Package | Typedef | NewType | Structure
    | Enumeration | ErrorDeclaration | MatchKindDeclaration | ValueSet | Parser | Control | Table
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Program:
    """A whole program: its file, and its declarations in order, with those of its includes."""

    file: str
    declarations: tuple[Declaration, ...]

    __eq__, __hash__, __repr__ = equal, hashed, shown
