"""The types of a checked P4 program (P4_16 specification, section 7)."""

from __future__ import annotations

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
    "StackType",
    "StringType",
    "StructType",
    "TupleType",
    "Type",
    "Varbit",
    "Void",
    "width_of",
]


class Direction(Enum):
    """A parameter's direction; NONE on an action parameter means that the control plane gives it."""

    NONE = ""
    IN = "in"
    OUT = "out"
    INOUT = "inout"


@dataclass(frozen=True, slots=True)
class Bits:
    """`bit<W>` or, when signed, `int<W>` in two's complement."""

    width: int
    signed: bool = False

    def __str__(self) -> str:
        return f"{'int' if self.signed else 'bit'}<{self.width}>"


@dataclass(frozen=True, slots=True)
class Bool:
    """`bool`."""

    def __str__(self) -> str:
        return "bool"


@dataclass(frozen=True, slots=True)
class Integer:
    """`int`: the arbitrary-precision type of compile-time constants. It never reaches an engine."""

    def __str__(self) -> str:
        return "int"


@dataclass(frozen=True, slots=True)
class Varbit:
    """`varbit<W>`: at most `width` bits."""

    width: int

    def __str__(self) -> str:
        return f"varbit<{self.width}>"


@dataclass(frozen=True, slots=True)
class ErrorType:
    """`error`: an engine holds it as the index of the member in `Program.errors`."""

    def __str__(self) -> str:
        return "error"


@dataclass(frozen=True, slots=True)
class StringType:
    """`string`: only as a compile-time constant."""

    def __str__(self) -> str:
        return "string"


@dataclass(frozen=True, slots=True)
class Void:
    """`void`."""

    def __str__(self) -> str:
        return "void"


@dataclass(frozen=True, slots=True)
class EnumType:
    """`enum`: with `underlying` set it is serializable and `values` are its members' values."""

    name: str
    members: tuple[str, ...]
    underlying: Bits | None = None
    values: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.name

    def value_of(self, member: str) -> int:
        """Return what an engine holds for a member: its value when serializable, else its index."""
        index = self.members.index(member)
        return self.values[index] if self.underlying else index


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a header or struct, with its annotations (name to text)."""

    name: str
    type: Type
    annotations: dict[str, str] = field(default_factory=dict, compare=False, hash=False)


@dataclass(frozen=True, slots=True)
class StructType:
    """`struct`."""

    name: str
    fields: tuple[Field, ...]

    def __str__(self) -> str:
        return self.name

    def field(self, name: str) -> Field | None:
        """Return the field of that name, or None."""
        return next((each for each in self.fields if each.name == name), None)


@dataclass(frozen=True, slots=True)
class HeaderType:
    """`header`: fields in wire order, and a validity bit. `controller` names a controller header's kind."""

    name: str
    fields: tuple[Field, ...]
    controller: str = ""

    def __str__(self) -> str:
        return self.name

    def field(self, name: str) -> Field | None:
        """Return the field of that name, or None."""
        return next((each for each in self.fields if each.name == name), None)


@dataclass(frozen=True, slots=True)
class StackType:
    """A header stack, `header[size]`."""

    element: HeaderType
    size: int

    def __str__(self) -> str:
        return f"{self.element}[{self.size}]"


@dataclass(frozen=True, slots=True)
class TupleType:
    """`tuple<...>`, and the type of a list expression."""

    elements: tuple[Type, ...]

    def __str__(self) -> str:
        return f"tuple<{', '.join(map(str, self.elements))}>"


@dataclass(frozen=True, slots=True)
class ExternType:
    """An extern object's type with its type arguments, such as `register<bit<32>>`."""

    name: str
    arguments: tuple[Type, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}<{', '.join(map(str, self.arguments))}>" if self.arguments else self.name


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
    | StackType
    | TupleType
    | ExternType
)

BOOL = Bool()
INTEGER = Integer()
ERROR = ErrorType()
STRING = StringType()
VOID = Void()


def width_of(kind: Type) -> int:
    """Return the number of bits that a value takes on the wire or in a match key; ValueError where it has none."""
    match kind:
        case Bits(width=width) | Varbit(width=width):
            return width
        case Bool():
            return 1
        case EnumType(underlying=Bits(width=width)):
            return width
        case HeaderType(fields=fields) | StructType(fields=fields):
            return sum(width_of(each.type) for each in fields)
        case StackType(element=element, size=size):
            return size * width_of(element)
        case TupleType(elements=elements):
            return sum(width_of(each) for each in elements)
        case _:
            raise ValueError(f"{kind} has no width")
