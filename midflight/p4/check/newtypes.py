"""New types, with the translation that a controller sees (P4Runtime specification 1.5, section 18.1)."""

from __future__ import annotations

import re
from dataclasses import replace

from midflight.errors import P4Error
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.annotated import annotation_values, evaluated
from midflight.p4.check.context import Context
from midflight.p4.types import Bits, Bool, EnumType, ErrorType, Integer, NewType, StringType, Type, Varbit
from midflight.stackless import Walk

__all__ = ["new_type"]

_BODY = re.compile(r'"((?:[^"\\]|\\.)*)" , (.+)$')
_BITS = re.compile(r"bit < (.+) >$")


def new_type(ctx: Context, node: d.NewType, kind: Type) -> Walk[Type]:
    """Return the type that a `type` declaration makes of `kind`.

    Only bit<W> and int<W> become types of their own. Other base types are returned unchanged, without the name and the
    annotations. Raises P4Error for a type that is not a base type, and, on bit<W> or int<W>, for a
    `@p4runtime_translation` other than ("uri", width), ("uri", bit<width>) or ("uri", string).
    """
    if not isinstance(kind, Bits):
        if not isinstance(kind, Bool | EnumType | ErrorType | StringType | Varbit):
            raise P4Error(f"a new type is made of a base type, not of {kind}", place=node.place)
        return kind
    translations = [each for each in node.annotations if each.name == "p4runtime_translation"]
    rest = tuple(each for each in node.annotations if each not in translations)
    annotations: dict[str, str] = yield evaluated(ctx, rest)
    if not translations:
        return replace(kind, new=NewType(node.name, annotations=annotations))
    uri, width = yield _translation(ctx, translations[0])
    return replace(kind, new=NewType(node.name, uri, width, annotations))


def _translation(ctx: Context, node: s.Annotation) -> Walk[tuple[str, int | None]]:
    match = _BODY.match(node.body)
    wrong = P4Error(
        "@p4runtime_translation takes a URI and a width",
        place=node.place,
        hint='Write @p4runtime_translation("uri", 32), or "string" in place of the width.',
    )
    if match is None:
        raise wrong
    uri, given = match.groups()
    if given == "string":
        return uri, None
    bits = _BITS.match(given)
    body = replace(node, body=bits[1] if bits else given)
    values: list[tuple[str, ir.Literal]] = yield annotation_values(ctx, body)
    match values:
        case [("", ir.Literal(value=int() as width, type=Bits() | Integer()))] if width > 0:
            return uri, width
    raise wrong
