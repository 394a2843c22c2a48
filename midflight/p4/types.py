"""Types of P4 programs (P4_16 specification, section 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

__all__ = [
    "BOOL",
    "ERROR",
    "INTEGER",
    "STRING",
    "VOID",
    "Bits",
    "Bool",
    "Direction",
    "EnumType",
    "ErrorType",
    "ExternType",
    "Field",
    "HeaderType",
    "Integer",
    "ListType",
    "NewType",
    "StackType",
    "StringType",
    "StructType",
    "TupleType",
    "Type",
    "UnionType",
    "Varbit",
    "Void",
    "width_of",
]


class Direction(Enum):
    """The direction of a P4 parameter: none, in, out or inout. The control plane sets an action's parameters
    with NONE.
    """

    NONE = ""
    IN = "in"
    OUT = "out"
    INOUT = "inout"


@dataclass(frozen=True, slots=True)
class NewType:
    """The name that a `type` declaration gives, and what a controller sees in its place (P4Runtime, section 18.1).

    With `@p4runtime_translation`, `uri` is set, and the controller's values have `width` bits, or are strings if None.
    `annotations` are the other annotations, by name.
    """

    name: str
    uri: str | None = None
    width: int | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, compare=False, hash=False)


@dataclass(frozen=True, slots=True)
class Bits:
    """`bit<W>`, or `int<W>` in two's complement if signed.

    `new` is the `type` declaration that names it, which matters to controllers only: comparisons ignore it.
    """

    width: int
    signed: bool = False
    new: NewType | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{'int' if self.signed else 'bit'}<{self.width}>"


@dataclass(frozen=True, slots=True)
class Bool:
    """The P4 type `bool`."""

    def __str__(self) -> str:
        return "bool"


@dataclass(frozen=True, slots=True)
class Integer:
    """The P4 type `int` of compile-time constants of arbitrary precision. It does not occur in a program's bodies."""

    def __str__(self) -> str:
        return "int"


@dataclass(frozen=True, slots=True)
class Varbit:
    """`varbit<W>`: a bit string of a length that varies at run time, up to `width` bits."""

    width: int

    def __str__(self) -> str:
        return f"varbit<{self.width}>"


@dataclass(frozen=True, slots=True)
class ErrorType:
    """The P4 type `error`. Its value at run time is the member's index in `Program.errors`."""

    def __str__(self) -> str:
        return "error"


@dataclass(frozen=True, slots=True)
class StringType:
    """The P4 type `string`, which exists only at compile time."""

    def __str__(self) -> str:
        return "string"


@dataclass(frozen=True, slots=True)
class Void:
    """The P4 type `void`, of functions without a value."""

    def __str__(self) -> str:
        return "void"


@dataclass(frozen=True, slots=True)
class EnumType:
    """An enum with its members in order.

    It is serializable if `underlying` is set; `values` are then its members' values.
    """

    name: str
    members: tuple[str, ...]
    underlying: Bits | None = None
    values: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.name

    def value_of(self, member: str) -> int:
        """Return a member's value at run time: its declared value if the enum is serializable, else its index from 0.

        ValueError if there is no such member.
        """
        index = self.members.index(member)
        return self.values[index] if self.underlying else index


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a header or struct, with its annotations: the text between their brackets, by name."""

    name: str
    type: Type
    annotations: dict[str, str] = field(default_factory=dict, compare=False, hash=False)


@dataclass(frozen=True, slots=True)
class StructType:
    """A `struct`, with its fields in order. The type of a struct expression without a type has an empty name."""

    name: str
    fields: tuple[Field, ...]

    def __str__(self) -> str:
        return self.name

    def field(self, name: str) -> Field | None:
        """Return the field with this name, or None if there is none."""
        return next((each for each in self.fields if each.name == name), None)


@dataclass(frozen=True, slots=True)
class HeaderType:
    """A `header`, with its fields in wire order. `controller` is the name in `@controller_header`, or empty."""

    name: str
    fields: tuple[Field, ...]
    controller: str = ""

    def __str__(self) -> str:
        return self.name

    def field(self, name: str) -> Field | None:
        """Return the field with this name, or None if there is none."""
        return next((each for each in self.fields if each.name == name), None)


@dataclass(frozen=True, slots=True)
class UnionType:
    """A `header_union`, whose fields are headers of which at most one is valid."""

    name: str
    fields: tuple[Field, ...]

    def __str__(self) -> str:
        return self.name

    def field(self, name: str) -> Field | None:
        """Return the header with this name, or None if there is none."""
        return next((each for each in self.fields if each.name == name), None)


@dataclass(frozen=True, slots=True)
class StackType:
    """The P4 type of a stack of `size` headers or header unions, `header[size]`."""

    element: HeaderType | UnionType
    size: int

    def __str__(self) -> str:
        return f"{self.element}[{self.size}]"


@dataclass(frozen=True, slots=True)
class TupleType:
    """The P4 type `tuple<...>`, or the type of a list expression before it takes its context's type."""

    elements: tuple[Type, ...]

    def __str__(self) -> str:
        return f"tuple<{_listed(self.elements)}>"


@dataclass(frozen=True, slots=True)
class ListType:
    """`list<T>`: values of one type, as many as a list expression has. It exists only at compile time."""

    element: Type

    def __str__(self) -> str:
        return f"list<{self.element}>"


@dataclass(frozen=True, slots=True)
class ExternType:
    """The type of an extern object with type arguments, such as `register<bit<32>>`."""

    name: str
    arguments: tuple[Type, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}<{_listed(self.arguments)}>" if self.arguments else self.name


def _listed(kinds: tuple[Type, ...]) -> str:
    """Return types as a list for messages, which ends after 200 characters."""
    shown = ""
    for each in kinds:
        shown += f", {each}" if shown else f"{each}"
        if len(shown) > 200:
            return f"{shown[:200]}..."
    return shown


Type = (
    Bits
    | Bool
    | Integer
    | Varbit
    | ErrorType
    | StringType
    | Void
    | EnumType
    | StructType
    | HeaderType
    | UnionType
    | StackType
    | TupleType
    | ListType
    | ExternType
)

BOOL = Bool()
INTEGER = Integer()
ERROR = ErrorType()
STRING = StringType()
VOID = Void()


def width_of(kind: Type) -> int:
    """Return the width in bits of a type's values: the sum over all fields or elements.

    Of a varbit it is the largest width, and of a header union that of the widest header.

    Raises ValueError for a type without a width, such as `error` or an enum that is not serializable.
    """
    match kind:
        case Bits(width=width) | Varbit(width=width):
            return width
        case Bool():
            return 1
        case EnumType(underlying=Bits(width=width)):
            return width
        case HeaderType(fields=fields) | StructType(fields=fields):
            return sum(width_of(each.type) for each in fields)
        case UnionType(fields=fields):
            return max((width_of(each.type) for each in fields), default=0)
        case StackType(element=element, size=size):
            return size * width_of(element)
        case TupleType(elements=elements):
            return sum(width_of(each) for each in elements)
        case _:
            raise ValueError(f"{kind} has no width")
