"""Builders of types, expressions and statements: a method for each rule of grammar.lark.

lark calls the method named after a rule with the rule's children. The rule documents what the method builds, so the
methods have no docstrings.
"""
# ruff: noqa: D102

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from lark import Transformer, v_args

from midflight.errors import P4Error, Place
from midflight.p4 import syntax as s
from midflight.p4.tokens import PlacedToken, words

__all__ = ["Arguments", "SyntaxBuilder", "span"]

_PRECEDENCE = {
    operator: level
    for level, operators in enumerate(
        ["||", "&&", "== !=", "< > <= >=", "|", "^", "&", "<< >>", "++ + - |+| |-|", "* / %"]
    )
    for operator in operators.split()
}
_NUMBER = re.compile(r"(?:(\d+)([ws]))?(0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|0[dD][0-9_]+|[0-9][0-9_]*)$")
_WIDTH_DIGITS = 9
_BASES = {"0x": 16, "0b": 2, "0o": 8, "0d": 10}
_ANNOTATION = re.compile(r"@\s*([A-Za-z_]\w*)(.*)$", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_]\w*$")


def span(first: Place, last: Place) -> Place:
    """Return the place from the start of `first` to the end of `last`; `first` alone if they are on different lines."""
    if first.file != last.file or first.line != last.line or last.column < first.column:
        return first
    return Place(first.file, first.line, first.column, last.column + last.length - first.column, first.text)


@dataclass(frozen=True, slots=True)
class Arguments:
    """The parsed arguments of a call (`items`), and the place of the closing parenthesis (`end`)."""

    items: tuple[s.Argument, ...]
    end: Place


@v_args(inline=True)
class SyntaxBuilder(Transformer[Any, Any]):
    """Builds types, expressions and statements of the syntax tree. It has no state.

    lark calls the method named after a rule of the grammar with the rule's children. Raises P4Error for a number that
    is malformed or too large, and for a `@pragma` without a name.
    """

    # Names and types -------------------------------------------------------------------------------------------------

    def name(self, token: PlacedToken) -> PlacedToken:
        return token

    value_name = member_name = property_name = direction = operator = name

    def annotations(self, *tokens: PlacedToken) -> s.Annotations:
        return tuple(_annotation(token) for token in tokens)

    def body(self, expressions: tuple[s.Expression, ...]) -> list[tuple[str, s.Expression]]:
        return [("", each) for each in expressions]

    def body_pairs(self, *pairs: tuple[str, s.Expression]) -> list[tuple[str, s.Expression]]:
        return [*pairs]

    def base_type(self, word: PlacedToken, *rest: Any) -> s.BaseType:
        if not rest:
            return s.BaseType(word.place, str(word))
        _, width, end = rest
        return s.BaseType(span(word.place, end.place), str(word), width)

    def type_name(self, dot: PlacedToken | None, token: PlacedToken) -> s.TypeName:
        return s.TypeName(token.place, str(token), dot is not None)

    def specialised(self, base: s.TypeName, arguments: tuple[s.Type, ...]) -> s.SpecialisedType:
        return s.SpecialisedType(base.place, base, arguments)

    def stack_type(self, element: s.Type, size: s.Expression) -> s.StackType:
        return s.StackType(element.place, element, size)

    def tuple_type(self, arguments: tuple[s.Type, ...]) -> s.TupleType:
        place = arguments[0].place if arguments else Place("", 1, 1)
        return s.TupleType(place, arguments)

    def list_type(self, arguments: tuple[s.Type, ...]) -> s.TupleType:
        return s.TupleType(arguments[0].place, arguments, True)

    def type_arguments(self, *children: Any) -> tuple[s.Type, ...]:
        return children[1:-1]

    def unknown_type(self, token: PlacedToken) -> s.TypeName:
        return s.TypeName(token.place, str(token))

    def void(self, token: PlacedToken) -> s.BaseType:
        return s.BaseType(token.place, str(token))

    any_type = void

    def type_parameters(self, *children: Any) -> tuple[str, ...]:
        return tuple(map(str, children[1:-1]))

    # Expressions -----------------------------------------------------------------------------------------------------

    def number(self, token: PlacedToken) -> s.Number:
        match = _NUMBER.match(token)
        if match is None:
            hint = "Write 10, 0xA, 0b1010, 8w10 (bit<8>) or 8s10 (int<8>)."
            raise P4Error(f"{str(token)!r} is not a number", place=token.place, hint=hint)
        digits = match[3].replace("_", "")
        base = _BASES.get(digits[:2].lower(), 10)
        if len(match[1] or "") > _WIDTH_DIGITS:
            raise P4Error("this width is out of range", place=token.place)
        digits = digits[2:] if digits[:2].lower() in _BASES else digits
        # Python converts at most 4,300 decimal digits, in time that grows with the square of their number.
        value = int(digits, base) if len(digits) <= s.LARGEST else None
        if value is None or value.bit_length() > s.LARGEST:
            raise P4Error(f"this number has more than {s.LARGEST} bits", place=token.place)
        return s.Number(token.place, value, int(match[1]) if match[1] else None, match[2] == "s")

    def string(self, token: PlacedToken) -> s.Text:
        return s.Text(token.place, re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), token[1:-1]))

    def true(self, token: PlacedToken) -> s.Boolean:
        return s.Boolean(token.place, True)

    def false(self, token: PlacedToken) -> s.Boolean:
        return s.Boolean(token.place, False)

    def value(self, token: PlacedToken) -> s.Name:
        return s.Name(token.place, str(token))

    def global_value(self, dot: PlacedToken, token: PlacedToken) -> s.Name:
        del dot
        return s.Name(token.place, str(token), True)

    def dots(self, token: PlacedToken) -> s.Default:
        return s.Default(token.place)

    def invalid(self, token: PlacedToken) -> s.InvalidHeader:
        return s.InvalidHeader(token.place)

    def parenthesised(self, left: PlacedToken, inner: s.Expression, right: PlacedToken) -> s.Expression:
        return replace(inner, place=span(left.place, right.place))

    def list(self, left: PlacedToken, elements: tuple[s.Expression, ...], right: PlacedToken) -> s.ListExpression:
        return s.ListExpression(span(left.place, right.place), elements)

    def record(self, left: PlacedToken, *rest: Any) -> s.Record:
        *pairs, dots, right = rest
        return s.Record(span(left.place, right.place), tuple(pairs), dots is not None)

    def pair(self, name: PlacedToken, value: s.Expression) -> tuple[str, s.Expression]:
        return str(name), value

    def type_member(self, kind: s.TypeName, name: PlacedToken) -> s.TypeMember:
        return s.TypeMember(span(kind.place, name.place), kind, str(name))

    def error_member(self, word: PlacedToken, name: PlacedToken) -> s.ErrorMember:
        return s.ErrorMember(span(word.place, name.place), str(name))

    def construct(self, kind: s.Type, arguments: Arguments) -> s.Construct:
        return s.Construct(span(kind.place, arguments.end), kind, arguments.items)

    def member(self, base: s.Expression, name: PlacedToken) -> s.Member:
        return s.Member(span(base.place, name.place), base, str(name), name.place)

    def index(self, base: s.Expression, index: s.Expression, end: PlacedToken) -> s.Index:
        return s.Index(span(base.place, end.place), base, index)

    def slice(self, base: s.Expression, high: s.Expression, low: s.Expression, end: PlacedToken) -> s.Slice:
        return s.Slice(span(base.place, end.place), base, high, low)

    def call(self, callee: s.Expression, *rest: Any) -> s.Call:
        *types, arguments = rest
        return s.Call(span(callee.place, arguments.end), callee, types[0] if types else (), arguments.items)

    def arguments(self, *children: Any) -> Arguments:
        *items, end = children
        given = tuple(each if isinstance(each, s.Argument) else s.Argument(each.place, each) for each in items)
        return Arguments(given, end.place)

    def named_argument(self, name: PlacedToken, value: Any) -> s.Argument:
        return s.Argument(name.place, None if isinstance(value, PlacedToken) else value, str(name))

    def omitted(self, token: PlacedToken) -> s.Argument:
        return s.Argument(token.place, None)

    def prefix(self, operator: PlacedToken, operand: s.Expression) -> s.Unary:
        return s.Unary(span(operator.place, operand.place), str(operator), operand)

    def cast(self, left: PlacedToken, kind: s.Type, operand: s.Expression) -> s.Cast:
        return s.Cast(span(left.place, operand.place), kind, operand)

    def ternary(self, condition: s.Expression, yes: s.Expression, no: s.Expression) -> s.Ternary:
        return s.Ternary(span(condition.place, no.place), condition, yes, no)

    def row(self, *children: Any) -> s.Expression:
        """Build a tree from operands and operators by precedence. All operators are left-associative."""
        operands: list[s.Expression] = [children[0]]
        waiting: list[str] = []

        def reduce() -> None:
            right = operands.pop()
            left = operands.pop()
            operands.append(s.Binary(span(left.place, right.place), waiting.pop(), left, right))

        for operator, operand in zip(children[1::2], children[2::2], strict=True):
            while waiting and _PRECEDENCE[waiting[-1]] >= _PRECEDENCE[operator]:
                reduce()
            waiting.append(str(operator))
            operands.append(operand)
        while waiting:
            reduce()
        return operands[0]

    # Statements ------------------------------------------------------------------------------------------------------

    def empty(self, token: PlacedToken) -> s.Empty:
        return s.Empty(token.place)

    def assign(self, target: s.Expression, value: s.Expression) -> s.Assign:
        return s.Assign(target.place, target, value)

    def assign_operator(self, target: s.Expression, operator: PlacedToken, value: s.Expression) -> s.Assign:
        return s.Assign(target.place, target, value, operator[:-1])

    def call_statement(self, callee: s.Expression, *rest: Any) -> s.CallStatement:
        call = self.call(callee, *rest)
        return s.CallStatement(call.place, call)

    def direct_application(self, kind: s.Type, word: PlacedToken, arguments: Arguments) -> s.DirectApplication:
        del word
        return s.DirectApplication(span(kind.place, arguments.end), kind, arguments.items)

    def conditional(self, condition: s.Expression, yes: s.Statement, no: s.Statement | None) -> s.If:
        return s.If(condition.place, condition, yes, no)

    parser_if = conditional

    def switch(self, subject: s.Expression, *cases: s.SwitchCase) -> s.Switch:
        return s.Switch(subject.place, subject, cases)

    def switch_case(self, label: Any, block: s.Block | None) -> s.SwitchCase:
        return s.SwitchCase(label.place, None if isinstance(label, PlacedToken) else label, block)

    def block(self, annotations: s.Annotations | None, brace: PlacedToken, *body: s.Statement) -> s.Block:
        return s.Block(brace.place, body, annotations or ())

    def returning(self, word: PlacedToken, value: s.Expression | None) -> s.Return:
        return s.Return(word.place, value)

    def loop(
        self,
        annotations: s.Annotations | None,
        word: PlacedToken,
        first: tuple[s.Statement, ...] | None,
        condition: s.Expression,
        step: tuple[s.Statement, ...] | None,
        body: s.Statement,
    ) -> s.For:
        del annotations
        return s.For(word.place, first or (), condition, step or (), body)

    def loop_steps(self, *steps: s.Statement) -> tuple[s.Statement, ...]:
        return steps

    def loop_variable(
        self, annotations: s.Annotations | None, kind: s.Type, name: PlacedToken, value: s.Expression | None
    ) -> s.Variable:
        return s.Variable(name.place, str(name), kind, value, annotations or ())

    def loop_in(self, *children: Any) -> s.ForIn:
        _, word, _, kind, name, _, values, *last, body = children
        return s.ForIn(word.place, kind, str(name), values, last[-1] if last else None, body)

    def breaking(self, word: PlacedToken) -> s.Break:
        return s.Break(word.place)

    def continuing(self, word: PlacedToken) -> s.Continue:
        return s.Continue(word.place)

    def exiting(self, word: PlacedToken) -> s.Exit:
        return s.Exit(word.place)


def _annotation(token: PlacedToken) -> s.Annotation:
    match = _ANNOTATION.match(token)
    assert match is not None
    name, body = match.groups()
    if name == "pragma":
        name, _, body = words(body).partition(" ")
        if not _WORD.match(name):
            raise P4Error("@pragma needs a name", place=token.place)
        return s.Annotation(token.place, name, body)
    body = words(body)
    return s.Annotation(token.place, name, body[1:-1].strip(), body.startswith("["))
