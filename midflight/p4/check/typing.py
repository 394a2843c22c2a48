"""Types as they are written become types as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from midflight.errors import P4Error, P4Warning, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.scope import Entity, Named, Scope, closest, describe
from midflight.p4.types import (
    BOOL,
    ERROR,
    INTEGER,
    STRING,
    VOID,
    Bits,
    EnumType,
    ExternType,
    HeaderType,
    StackType,
    TupleType,
    Type,
    Varbit,
)

__all__ = ["State", "TypeChecker", "annotations_of", "refuse"]

Owned = TypeVar("Owned", ir.Table, ir.Instance, ir.Action)

WIDEST = 2048
"""The widest bit string we take, in bits; BMv2's own bound."""


@dataclass(slots=True)
class State:
    """What a whole check gathers; of tables and actions, those `applied` and `reached` matter."""

    errors: list[str] = field(default_factory=list)
    match_kinds: list[str] = field(default_factory=list)
    enums: list[EnumType] = field(default_factory=list)
    headers: list[HeaderType] = field(default_factory=list)
    tables: dict[str, ir.Table] = field(default_factory=dict)
    actions: dict[str, ir.Action] = field(default_factory=dict)
    reached: set[str] = field(default_factory=set)
    applied: set[str] = field(default_factory=set)
    instances: dict[str, ir.Instance] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    making: list[str] = field(default_factory=list)
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
        self.making.append(name)

    def reach(self, action: ir.Action) -> None:
        """Note that a table lists an action, or that something calls it."""
        self.reached.add(action.name)

    def add(self, known: dict[str, Owned], name: str, made: Owned, place: Place) -> None:
        """Keep a table, an action or an instance under its control-plane name, which must be its own."""
        if name in known:
            hint = "Give one of them another name, or another @name."
            raise P4Error(f"the control-plane name {name} is taken already", place=place, hint=hint)
        known[name] = made


def refuse(what: str, place: Place, hint: str = "", plural: bool = True) -> P4Error:
    """Return the error for a feature of the language that we do not take yet."""
    return P4Error(f"{what} {'are' if plural else 'is'} not supported yet", place=place, hint=hint)


def annotations_of(annotations: s.Annotations) -> dict[str, str]:
    """Return annotations by name; what stands in the brackets is kept as written."""
    return {each.name: each.body for each in annotations}


class TypeChecker:
    """Resolves types in a scope. The further parts of a body's checker build on it."""

    def __init__(self, state: State, scope: Scope) -> None:
        self.state = state
        self.scope = scope

    def constant_int(self, node: s.Expression, what: str) -> int:
        """Return the value of an expression that must be an integer known at compile time."""
        raise NotImplementedError

    def find(self, name: str, top: bool, place: Place) -> Entity:
        """Return what a name means; P4Error with the nearest known name where it means nothing."""
        entity = (self.scope.top if top else self.scope).find(name)
        if entity is None:
            hint = closest(name, [each for each, _ in self.scope.visible()])
            raise P4Error(f"{name} is not declared", place=place, hint=hint)
        return entity

    def type(self, node: s.Type) -> Type:
        """Return the type that is written."""
        match node:
            case s.BaseType():
                return self._base(node)
            case s.TypeName():
                return self._named(node)
            case s.StackType():
                element = self.type(node.element)
                if not isinstance(element, HeaderType):
                    raise P4Error(f"only headers stack; {element} is not a header", place=node.place)
                size = self.constant_int(node.size, "the size of a header stack")
                if size < 1:
                    raise P4Error("a header stack needs at least one element", place=node.size.place)
                return StackType(element, size)
            case s.TupleType(is_list=True):
                raise refuse("list types", node.place)
            case s.TupleType():
                return TupleType(tuple(self.type(each) for each in node.elements))
            case s.SpecialisedType():
                return self._specialised(node)

    def _base(self, node: s.BaseType) -> Type:
        match node.name:
            case "bool":
                return BOOL
            case "error":
                return ERROR
            case "string":
                return STRING
            case "void":
                return VOID
            case "int" if node.width is None:
                return INTEGER
            case "bit" if node.width is None:
                return Bits(1)
            case "bit" | "int" | "varbit":
                assert node.width is not None
                width = self.constant_int(node.width, "a width")
                least = 0 if node.name == "bit" else 1
                if not least <= width <= WIDEST and not (node.name == "varbit" and width <= 1 << 16):
                    raise P4Error(f"a width of {width} bits is out of range", place=node.width.place)
                return Varbit(width) if node.name == "varbit" else Bits(width, node.name == "int")
        raise P4Error(f"{node.name} is not a type here", place=node.place)

    def _named(self, node: s.TypeName) -> Type:
        entity = self.find(node.name, node.top, node.place)
        match entity:
            case Named(type=kind):
                return kind
            case d.Extern(type_parameters=()):
                return ExternType(node.name)
            case d.Extern(type_parameters=parameters):
                raise P4Error(
                    f"{node.name} needs type arguments", place=node.place, hint=f"{node.name}<{', '.join(parameters)}>"
                )
            case d.Structure():
                raise refuse("generic structs and headers", node.place)
        raise P4Error(f"{node.name} is {describe(entity)}, not a type of values", place=node.place)

    def _specialised(self, node: s.SpecialisedType) -> Type:
        entity = self.find(node.base.name, node.base.top, node.place)
        if isinstance(entity, d.Extern):
            return ExternType(node.base.name, self.type_arguments(entity, node.arguments, node.place))
        if isinstance(entity, d.Structure):
            raise refuse("generic structs and headers", node.place)
        raise P4Error(f"{node.base.name} takes no type arguments", place=node.place)

    def type_arguments(self, extern: d.Extern, nodes: Sequence[s.Type], place: Place) -> tuple[Type, ...]:
        """Return the type arguments given to an extern object."""
        wanted = len(extern.type_parameters)
        if len(nodes) != wanted:
            raise P4Error(f"{extern.name} takes {_counted(wanted, 'type argument')}, not {len(nodes)}", place=place)
        return tuple(self.type(each) for each in nodes)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
