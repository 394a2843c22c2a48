"""Values of expressions in the bodies of annotations (P4_16, section 20.2)."""

from __future__ import annotations

import json
from collections.abc import Container

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.context import Context
from midflight.p4.check.expressions import constant, expression
from midflight.p4.check.scope import Named
from midflight.p4.parse import parse_body
from midflight.p4.types import BOOL, Bits, Bool, Integer, StringType, Type
from midflight.stackless import Walk

__all__ = ["annotation_numbers", "annotation_values", "evaluated"]


def evaluated(ctx: Context, annotations: s.Annotations, pairs: Container[str] = ()) -> Walk[dict[str, str]]:
    """Return annotations by name, with the text between their brackets.

    The expressions in a structured annotation (`@name[...]`), and in those whose names are in `pairs`, are evaluated:
    such an annotation is returned under the name `[name]`, and its text is a JSON list of keys and values. Raises
    P4Error, with the annotation's place, for an expression that is invalid or not known at compile time.
    """
    made: dict[str, str] = {}
    for each in annotations:
        if each.structured or each.name in pairs:
            values: list[tuple[str, ir.Literal]] = yield annotation_values(ctx, each)
            made[f"[{each.name}]"] = json.dumps(
                [[key, bool(value.value) if value.type == BOOL else value.value] for key, value in values]
            )
        else:
            made.setdefault(each.name, each.body)  # as in p4c, the first `@name` counts
    return made


def annotation_numbers(ctx: Context, node: s.Annotation, wanted: Type) -> Walk[list[int]]:
    """Return the values of an annotation's body, which is a list of constant expressions of type `wanted`.

    Raises P4Error, with the annotation's place, for anything else.
    """
    numbers: list[int] = []
    for _, each in _parsed(ctx, node):
        made: ir.Expression
        try:
            made = yield constant(ctx, each, wanted, f"@{node.name}")
        except P4Error as error:
            raise _at(error, node) from None
        assert isinstance(made, ir.Literal)
        numbers.append(int(made.value))
    return numbers


def annotation_values(ctx: Context, node: s.Annotation) -> Walk[list[tuple[str, ir.Literal]]]:
    """Return the literals in the body of a structured annotation, each with its key, which is empty in a list.

    Each literal is a number, a string or a bool (P4_16, section 20.2). P4Error, with the annotation's place, for any
    other value, for one that is not known at compile time, and for a syntax error.
    """
    values: list[tuple[str, ir.Literal]] = []
    for key, each in _parsed(ctx, node):
        made: ir.Expression
        try:
            made = yield expression(ctx, each)
        except P4Error as error:
            raise _at(error, node) from None
        if not isinstance(made, ir.Literal):
            raise P4Error(f"@{node.name} takes values that are known at compile time", place=node.place)
        if not isinstance(made.type, Bits | Integer | Bool | StringType):
            raise P4Error(f"@{node.name} takes numbers, strings and bools, not values of {made.type}", place=node.place)
        values.append((key, made))
    return values


def _parsed(ctx: Context, node: s.Annotation) -> list[tuple[str, s.Expression]]:
    types = {name for name, entity in ctx.scope.visible() if isinstance(entity, Named)}
    try:
        return parse_body(node.body, frozenset(types))
    except P4Error as error:
        raise _at(error, node) from None


def _at(error: P4Error, node: s.Annotation) -> P4Error:
    """Return an error in an annotation's body with the place of the annotation, because its parts have no places."""
    return P4Error(f"@{node.name}: {error.message}", place=node.place, hint=error.hint)
