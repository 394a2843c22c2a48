"""Parsers: states, transitions and select."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from midflight.errors import P4Error, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.coerce import coerce
from midflight.p4.check.instances import InstanceChecker
from midflight.p4.check.operators import is_literal
from midflight.p4.check.scope import Entity, Scope, ValueSet, closest
from midflight.p4.check.typing import State, refuse
from midflight.p4.types import Bits, Bool, EnumType, ErrorType, Type, width_of

__all__ = ["KeysetChecker", "ParserChecker"]

FINAL = ("accept", "reject")


class KeysetChecker(InstanceChecker):
    """Checks the keysets of select cases and table entries."""

    def keyset(self, node: s.SimpleKeyset | s.TupleKeyset, kinds: Sequence[Type], what: str) -> ir.Keyset:
        """Check a keyset for fields of those types; `what` says in an error whose they are."""
        if isinstance(node, s.TupleKeyset):
            elements: tuple[s.SimpleKeyset, ...] = node.elements
        elif isinstance(node, s.ListExpression) and len(kinds) > 1:
            elements = node.elements
        elif isinstance(node, s.DefaultKeyset):
            return tuple(ir.EntryKey(None) for _ in kinds)
        else:
            elements = (node,)
        if len(elements) != len(kinds):
            fields = f"{len(kinds)} field{'s' * (len(kinds) != 1)}"
            given = f"{len(elements)} {'is' if len(elements) == 1 else 'are'}"
            raise P4Error(f"{what} has {fields}, and {given} given", place=node.place)
        return tuple(self.entry_key(each, kind) for each, kind in zip(elements, kinds, strict=True))

    def entry_key(self, node: s.SimpleKeyset, kind: Type) -> ir.EntryKey:
        """Check one field of a keyset."""
        match node:
            case s.DefaultKeyset():
                return ir.EntryKey(None)
            case s.MaskKeyset():
                self._needs_bits(kind, node.place, "&&&")
                mask = self._key_value(node.mask, kind) & (1 << width_of(kind)) - 1
                return ir.EntryKey(self._key_value(node.value, kind) & mask, mask=mask)
            case s.RangeKeyset():
                self._needs_bits(kind, node.place, "..")
                low, high = self._key_value(node.low, kind), self._key_value(node.high, kind)
                if low > high:
                    raise P4Error(f"the range {low} .. {high} is empty", place=node.place)
                return ir.EntryKey(low, high=high)
        return ir.EntryKey(self._key_value(node, kind))

    def _needs_bits(self, kind: Type, place: Place, mark: str) -> None:
        if not isinstance(kind, Bits) and not (isinstance(kind, EnumType) and kind.underlying is not None):
            raise P4Error(f"{mark!r} needs numbers, and the key is {kind}", place=place)

    def _key_value(self, node: s.Expression, kind: Type) -> int:
        if isinstance(node, s.Name) and isinstance(self.scope.find(node.name), ValueSet):
            raise refuse("parser value sets", node.place)
        value = self.expression(node)
        if isinstance(kind, EnumType) and kind.underlying is not None and value.type != kind:
            kind = kind.underlying
        value = coerce(value, kind, "this key", self.state)
        if not is_literal(value):
            raise P4Error("a key must be known at compile time", place=node.place)
        return int(value.value)


class ParserChecker(KeysetChecker):
    """Checks one instance of a parser."""

    def __init__(self, state: State, scope: Scope, prefix: str) -> None:
        super().__init__(state, scope, "parser", prefix)

    def inner(
        self, declaration: d.Control | d.Parser, name: str, arguments: Sequence[s.Argument], place: Place
    ) -> ir.Control | ir.Parser:
        """Check a sub-parser."""
        if not isinstance(declaration, d.Parser):
            raise P4Error("a parser cannot hold a control", place=place)
        values = self.constructor_values(declaration, arguments, place)
        return ParserChecker(self.state, Scope(self.scope.top), name).parser(declaration, values)

    def parser(self, node: d.Parser, values: Sequence[Entity]) -> ir.Parser:
        """Check the parser with its constructor's values."""
        if node.states is None:
            raise P4Error(f"{node.name} is a parser's type, without states", place=node.place)
        self.state.used.add(node.name)
        self.state.make(node.name, node.place)
        self.bind_constructor(node.constructor, values)
        parameters = self.declare_parameters(node.parameters, "parser")
        self.scope = Scope(self.scope)
        local = [made for each in node.locals for made in self._local(each)]
        names: dict[str, Place] = {}
        for each in node.states:
            if each.name in FINAL:
                raise P4Error(f"the state {each.name} is P4's own", place=each.place)
            if each.name in names:
                hint = f"It was declared at {names[each.name]} first."
                raise P4Error(f"state {each.name} is declared twice", place=each.place, hint=hint)
            names[each.name] = each.place
        if "start" not in names:
            hint = closest("start", list(names)) or "Parsing starts there."
            raise P4Error(f"parser {node.name} has no state start", place=node.place, hint=hint)
        states = {each.name: self._state(each, list(names)) for each in node.states}
        self.state.making.pop()
        return ir.Parser(self.prefix, parameters, tuple(local), states, node.place)

    def _local(self, node: d.Declaration) -> list[ir.Statement]:
        match node:
            case s.Constant() | s.Variable() | s.Instantiation():
                return self.statements(node)
            case d.ValueSet():
                raise refuse("parser value sets", node.place)
        raise P4Error("this cannot be declared in a parser", place=node.place)

    def _state(self, node: d.State, names: list[str]) -> ir.State:
        self.scope = Scope(self.scope)
        self.depth += 1
        try:
            body = [made for each in node.body for made in self.statements(each)]
            outer, self.before = self.before, []
            following = self._transition(node, names)
            body += self.before
            self.before = outer
        finally:
            self.depth -= 1
            assert self.scope.parent is not None
            self.scope = self.scope.parent
        return ir.State(node.name, tuple(body), following, place=node.place)

    def _transition(self, node: d.State, names: list[str]) -> ir.Select | str:
        match node.transition:
            case None:
                return "reject"
            case d.Transition(state=state, place=place):
                return self._target(state, place, names)
            case d.Select() as select:
                return self._select(select, names)

    @staticmethod
    def _target(name: str, place: Place, names: list[str]) -> str:
        if name not in names and name not in FINAL:
            raise P4Error(f"there is no state {name}", place=place, hint=closest(name, [*names, *FINAL]))
        return name

    def _select(self, node: d.Select, names: list[str]) -> ir.Select:
        expressions = tuple(self.in_order(partial(self.expression, each) for each in node.expressions))
        for each in expressions:
            if not isinstance(each.type, Bits | Bool | EnumType | ErrorType):
                hint = "Give the constant a width." if str(each.type) == "int" else ""
                raise P4Error(
                    f"select takes numbers, bools, enums and errors, not {each.type}", place=each.place, hint=hint
                )
        kinds = [each.type for each in expressions]
        cases = tuple(
            (self.keyset(each.keyset, kinds, "select"), self._target(each.state, each.place, names))
            for each in node.cases
        )
        return ir.Select(expressions, cases, place=node.place)
