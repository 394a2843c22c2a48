"""Diagnostics for syntax errors: what was found, what was expected, and where the mistake most likely is."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from difflib import get_close_matches

from lark import UnexpectedToken

from midflight.errors import P4Error, Place
from midflight.p4.preprocess import Source
from midflight.p4.tokens import KEYWORDS, PlacedToken, tokenise

__all__ = ["explain"]

_EXPRESSION = frozenset(
    [
        "NUMBER",
        "STRING",
        "NAME",
        "TYPE_NAME",
        "TRUE",
        "FALSE",
        "BANG",
        "TILDE",
        "MINUS",
        "PLUS",
        "LPAR",
        "LBRACE",
        "DOT",
        "DOTS",
        "INVALID",
        "ERROR",
        "THIS",
    ]
)
_TYPE = frozenset(
    ["BIT", "INT", "BOOL", "VARBIT", "ERROR", "STRING_TYPE", "MATCH_KIND", "TUPLE", "LIST", "TYPE_NAME", "DOT", "VOID"]
)
_NAME = frozenset(["NAME", "TYPE_NAME", "ACTIONS", "APPLY", "ENTRIES", "KEY", "PRIORITY", "STATE", "TYPE"])
_GOES_ON = frozenset(["OPERATOR", "PLUS", "MINUS", "QMARK", "DOT", "LSQB", "LPAR", "LESS_ARGUMENTS"])
_STATEMENT = frozenset(["IF", "SWITCH", "RETURN", "EXIT", "CONST", "SEMICOLON", "LBRACE", "THIS"])
_VALUE_ENDS = frozenset(["NUMBER", "STRING", "NAME", "TRUE", "FALSE", "RPAR", "RSQB", "RBRACE"])
_PLENTY = 6


def explain(error: UnexpectedToken, source: Source, names: Mapping[str, str]) -> P4Error:
    """Return the P4Error, to be raised, for a syntax error that lark found, with its place and what was expected.

    `source` is the preprocessed text. `names` gives the terminal's name for each literal token, such as LPAR for `(`.
    """
    token = error.token
    expected = set(error.accepts or error.expected) - {"$END"}
    hint = _expectation(expected, {name: text for text, name in names.items()})
    if not isinstance(token, PlacedToken):
        end = len(source.text.rstrip())
        return P4Error("the file ends within a declaration", place=source.place(max(0, end - 1), end), hint=hint)
    before, types = _before(token, source, dict(names))
    if token.type == "NAME" and not expected & {"NAME"} and {"BIT", "BOOL"} <= expected:
        return _no_type(str(token), token.place, types)
    if before is not None and before.type == "NAME" and token.type == "NAME" and "EQUAL" in expected:
        return _no_type(str(before), before.place, types)
    if token.type == "QMARK" and before is not None and before.type in _VALUE_ENDS:
        hint = "p4c reads it as (a ? x : b) ? y : z. Write a ? x : (b ? y : z)."
        return P4Error("a '?:' after another one needs brackets", place=token.place, hint=hint)
    if before is not None and expected - _GOES_ON - {"ANNOTATION"} == {"SEMICOLON"}:
        return P4Error("';' is missing here", place=_behind(before.place))
    if "NAME" in expected and str(token) in KEYWORDS and not expected & {"NUMBER", "BIT"}:
        return P4Error(f"{str(token)!r} is a keyword and cannot be a name", place=token.place)
    return P4Error(f"{_shown(token)} is not expected here", place=token.place, hint=hint)


def _before(token: PlacedToken, source: Source, names: dict[str, str]) -> tuple[PlacedToken | None, set[str]]:
    """Return the token before another, and the names of the types declared up to there."""
    last: PlacedToken | None = None
    types: set[str] = set()
    for each in tokenise(source, names):
        if each.start >= token.start:
            break
        if each.type == "TYPE_NAME":
            types.add(str(each))
        last = each
    return last, types


def _no_type(name: str, place: Place, types: Set[str]) -> P4Error:
    close = get_close_matches(name, [*sorted(types), "bit", "bool", "int", "varbit", "error"], 1)
    return P4Error(f"there is no type named {name}", place=place, hint=f"Did you mean {close[0]}?" if close else "")


def _behind(place: Place) -> Place:
    return replace(place, column=place.column + place.length - 1, length=1)


def _shown(token: PlacedToken) -> str:
    match token.type:
        case "ANNOTATION":
            return "an annotation"
        case "NUMBER":
            return f"the number {token}"
        case "STRING":
            return "a string"
    return repr(str(token))


def _expectation(expected: set[str], texts: Mapping[str, str]) -> str:
    """Return a hint with what the grammar would accept, or an empty string where that is too much to list."""
    words: list[str] = []
    rest = set(expected) - {"ANNOTATION"}
    if {"CONTROL", "HEADER"} <= rest:
        return "Expected a declaration."
    if {"IF", "EXIT"} <= rest:
        return "Expected a statement" + (" or '}'." if "RBRACE" in rest else ".")
    if {"NUMBER", "BANG"} <= rest:
        words.append("an expression")
        rest -= _EXPRESSION
    elif {"BIT", "BOOL"} <= rest:
        words.append("a type")
        rest -= _TYPE
    if "NAME" in rest:
        words.append("a name")
        rest -= _NAME
    if "OPERATOR" in rest:
        rest -= _GOES_ON
        if not rest:
            words.append("an operator")
    if "MORE_ARGUMENTS" in rest:
        words.append("'>'")
    words += sorted(repr(texts[name]) for name in rest if name in texts)
    if not words or len(words) > _PLENTY:
        return ""
    return f"Expected {_listed(words)}."


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
