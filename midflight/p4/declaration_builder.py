"""Builders of declarations: a method for each rule of grammar.lark.

lark calls the method named after a rule with the rule's children. The rule documents what the method builds, so the
methods have no docstrings.
"""
# ruff: noqa: D102

from __future__ import annotations

from typing import Any

from lark import v_args

from midflight.p4 import declarations as d
from midflight.p4 import syntax as s
from midflight.p4.builder import Arguments, SyntaxBuilder, span
from midflight.p4.tokens import PlacedToken

__all__ = ["Builder"]


@v_args(inline=True)
class Builder(SyntaxBuilder):
    """Builds the whole syntax tree: declarations, and everything that `SyntaxBuilder` builds. It has no state."""

    # Declarations ----------------------------------------------------------------------------------------------------

    def start(self, *declarations: d.Declaration) -> tuple[d.Declaration, ...]:
        return tuple(each for each in declarations if not isinstance(each, str))

    def parameters(self, *children: d.Parameter) -> tuple[d.Parameter, ...]:
        return children

    def parameter(
        self,
        annotations: s.Annotations | None,
        direction: PlacedToken | None,
        kind: s.Type,
        name: PlacedToken,
        default: s.Expression | None,
    ) -> d.Parameter:
        return d.Parameter(name.place, str(name), kind, str(direction or ""), default, annotations or ())

    def constant(
        self, annotations: s.Annotations | None, kind: s.Type, name: PlacedToken, value: s.Expression
    ) -> s.Constant:
        return s.Constant(name.place, str(name), kind, value, annotations or ())

    def variable(
        self, annotations: s.Annotations | None, kind: s.Type, name: PlacedToken, value: s.Expression | None
    ) -> s.Variable:
        return s.Variable(name.place, str(name), kind, value, annotations or ())

    def instantiation(
        self,
        annotations: s.Annotations | None,
        kind: s.Type,
        arguments: Arguments,
        name: PlacedToken,
        *body: Any,
    ) -> s.Instantiation:
        inner = tuple(each for each in body if isinstance(each, s.Node))
        given = inner if any(each is not None for each in body) else None
        return s.Instantiation(name.place, str(name), kind, arguments.items, annotations or (), given)

    def extern(
        self,
        annotations: s.Annotations | None,
        name: PlacedToken,
        parameters: tuple[str, ...] | None,
        *methods: d.Prototype,
    ) -> d.Extern:
        return d.Extern(name.place, str(name), parameters or (), methods, annotations or ())

    def extern_function(self, annotations: s.Annotations | None, prototype: d.Prototype) -> d.Function:
        return d.Function(prototype.place, prototype, None, annotations or ())

    def prototype(
        self,
        result: s.Type,
        name: PlacedToken,
        generic: tuple[str, ...] | None,
        parameters: tuple[d.Parameter, ...],
    ) -> d.Prototype:
        return d.Prototype(name.place, str(name), result, generic or (), parameters)

    def method(
        self, annotations: s.Annotations | None, abstract: PlacedToken | None, prototype: d.Prototype
    ) -> d.Prototype:
        p = prototype
        return d.Prototype(
            p.place, p.name, p.result, p.type_parameters, p.parameters, annotations or (), abstract is not None
        )

    def constructor(
        self, annotations: s.Annotations | None, name: PlacedToken, parameters: tuple[d.Parameter, ...]
    ) -> d.Prototype:
        return d.Prototype(name.place, str(name), None, (), parameters, annotations or ())

    def function(self, annotations: s.Annotations | None, prototype: d.Prototype, body: s.Block) -> d.Function:
        return d.Function(prototype.place, prototype, body, annotations or ())

    def action(
        self,
        annotations: s.Annotations | None,
        name: PlacedToken,
        parameters: tuple[d.Parameter, ...],
        body: s.Block,
    ) -> d.Action:
        return d.Action(name.place, str(name), parameters, body, annotations or ())

    def package(
        self,
        annotations: s.Annotations | None,
        name: PlacedToken,
        generic: tuple[str, ...] | None,
        parameters: tuple[d.Parameter, ...],
    ) -> d.Package:
        return d.Package(name.place, str(name), generic or (), parameters, annotations or ())

    def typedef(self, annotations: s.Annotations | None, kind: s.Type | d.Structure, name: PlacedToken) -> d.Typedef:
        return d.Typedef(name.place, str(name), kind, annotations or ())

    def newtype(self, annotations: s.Annotations | None, kind: s.Type, name: PlacedToken) -> d.NewType:
        return d.NewType(name.place, str(name), kind, annotations or ())

    def structure(
        self,
        annotations: s.Annotations | None,
        word: PlacedToken,
        name: PlacedToken,
        generic: tuple[str, ...] | None,
        *fields: d.Field,
    ) -> d.Structure:
        return d.Structure(name.place, str(word), str(name), generic or (), fields, annotations or ())

    def field(self, annotations: s.Annotations | None, kind: s.Type, name: PlacedToken) -> d.Field:
        return d.Field(name.place, str(name), kind, annotations or ())

    def enumeration(
        self, annotations: s.Annotations | None, underlying: s.Type | None, name: PlacedToken, *members: d.EnumMember
    ) -> d.Enumeration:
        return d.Enumeration(name.place, str(name), underlying, members, annotations or ())

    def enum_member(
        self, annotations: s.Annotations | None, name: PlacedToken, value: s.Expression | None
    ) -> d.EnumMember:
        del annotations
        return d.EnumMember(name.place, str(name), value)

    def error_declaration(self, word: PlacedToken, *names: PlacedToken) -> d.ErrorDeclaration:
        return d.ErrorDeclaration(word.place, tuple(s.Name(each.place, str(each)) for each in names))

    def match_kind_declaration(self, word: PlacedToken, *names: PlacedToken) -> d.MatchKindDeclaration:
        return d.MatchKindDeclaration(word.place, tuple(s.Name(each.place, str(each)) for each in names))

    # Parsers ---------------------------------------------------------------------------------------------------------

    def parser_type(
        self,
        annotations: s.Annotations | None,
        name: PlacedToken,
        generic: tuple[str, ...] | None,
        parameters: tuple[d.Parameter, ...],
    ) -> d.Parser:
        return d.Parser(name.place, str(name), generic or (), parameters, (), (), None, annotations or ())

    def parser(self, head: d.Parser, constructor: tuple[d.Parameter, ...] | None, *body: Any) -> d.Parser:
        states = tuple(each for each in body if isinstance(each, d.State))
        local = tuple(each for each in body if not isinstance(each, d.State))
        return d.Parser(
            head.place,
            head.name,
            head.type_parameters,
            head.parameters,
            constructor or (),
            local,
            states,
            head.annotations,
        )

    def value_set(self, annotations: s.Annotations | None, *rest: Any) -> d.ValueSet:
        _, kind, _, size, name = rest
        return d.ValueSet(name.place, str(name), kind, size, annotations or ())

    def state(self, annotations: s.Annotations | None, name: PlacedToken, *body: Any) -> d.State:
        *statements, transition = body
        return d.State(name.place, str(name), tuple(statements), transition, annotations or ())

    def transition(self, name: PlacedToken) -> d.Transition:
        return d.Transition(name.place, str(name))

    def select(self, word: PlacedToken, expressions: tuple[s.Expression, ...], *cases: d.SelectCase) -> d.Select:
        return d.Select(word.place, expressions, cases)

    def select_case(self, keyset: s.SimpleKeyset | s.TupleKeyset, name: PlacedToken) -> d.SelectCase:
        return d.SelectCase(name.place, keyset, str(name))

    def expressions(self, *children: s.Expression) -> tuple[s.Expression, ...]:
        return children

    def tuple_keyset(self, *children: s.SimpleKeyset) -> s.TupleKeyset:
        return s.TupleKeyset(span(children[0].place, children[-1].place), children)

    def mask_keyset(self, value: s.Expression, word: PlacedToken, mask: s.Expression) -> s.MaskKeyset:
        del word
        return s.MaskKeyset(span(value.place, mask.place), value, mask)

    def range_keyset(self, low: s.Expression, word: PlacedToken, high: s.Expression) -> s.RangeKeyset:
        del word
        return s.RangeKeyset(span(low.place, high.place), low, high)

    def default_keyset(self, word: PlacedToken) -> s.DefaultKeyset:
        return s.DefaultKeyset(word.place)

    # Controls --------------------------------------------------------------------------------------------------------

    def control_type(
        self,
        annotations: s.Annotations | None,
        name: PlacedToken,
        generic: tuple[str, ...] | None,
        parameters: tuple[d.Parameter, ...],
    ) -> d.Control:
        return d.Control(name.place, str(name), generic or (), parameters, (), (), None, annotations or ())

    def control(self, head: d.Control, constructor: tuple[d.Parameter, ...] | None, *rest: Any) -> d.Control:
        *local, body = rest
        return d.Control(
            head.place,
            head.name,
            head.type_parameters,
            head.parameters,
            constructor or (),
            tuple(local),
            body,
            head.annotations,
        )

    def table(self, annotations: s.Annotations | None, name: PlacedToken, *properties: d.Property) -> d.Table:
        return d.Table(name.place, str(name), properties, annotations or ())

    def table_key(self, word: PlacedToken, *keys: d.Key) -> d.TableKey:
        return d.TableKey(word.place, keys)

    def table_actions(
        self, annotations: s.Annotations | None, word: PlacedToken, *actions: d.ActionReference
    ) -> d.TableActions:
        del annotations
        return d.TableActions(word.place, actions)

    def table_entries(
        self, annotations: s.Annotations | None, const: PlacedToken | None, word: PlacedToken, *entries: d.Entry
    ) -> d.TableEntries:
        del annotations
        return d.TableEntries(word.place, entries, const is not None)

    def table_property(
        self, annotations: s.Annotations | None, const: PlacedToken | None, name: PlacedToken, value: s.Expression
    ) -> d.TableProperty:
        return d.TableProperty(name.place, str(name), value, const is not None, annotations or ())

    def key_element(self, expression: s.Expression, kind: PlacedToken, annotations: s.Annotations | None) -> d.Key:
        return d.Key(expression.place, expression, str(kind), kind.place, annotations or ())

    def listed_action(self, annotations: s.Annotations | None, action: d.ActionReference) -> d.ActionReference:
        return d.ActionReference(action.place, action.name, action.top, action.arguments, annotations or ())

    def action_reference(
        self, dot: PlacedToken | None, name: PlacedToken, arguments: Arguments | None
    ) -> d.ActionReference:
        given = None if arguments is None else arguments.items
        return d.ActionReference(name.place, str(name), dot is not None, given)

    def entry(
        self,
        const: PlacedToken | None,
        priority: s.Expression | None,
        keyset: s.SimpleKeyset | s.TupleKeyset,
        action: d.ActionReference,
        annotations: s.Annotations | None,
    ) -> d.Entry:
        return d.Entry(keyset.place, keyset, action, priority, const is not None, annotations or ())

    def entry_priority(self, value: Any) -> s.Expression:
        return self.number(value) if isinstance(value, PlacedToken) else value
