"""Parser: from preprocessed text to the syntax tree, with diagnostics for syntax errors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from lark import Lark, UnexpectedToken
from lark.common import LexerConf
from lark.lexer import Lexer, Token

from midflight.cachefolder import cache_folder
from midflight.p4 import syntax as s
from midflight.p4.declaration_builder import Builder
from midflight.p4.declarations import Program
from midflight.p4.explain import explain
from midflight.p4.preprocess import Source, plain
from midflight.p4.tokens import tokenise, types_declared

__all__ = ["declared_types", "parse", "parse_body"]


class _Feed(Lexer):
    """Adapter that makes lark use Midflight's tokeniser."""

    def __init__(self, lexer_conf: LexerConf) -> None:
        self.names = {str(each.pattern.value): each.name for each in lexer_conf.terminals if each.pattern is not None}

    def lex(self, data: Source) -> Iterator[Token]:  # type: ignore[override]
        """Yield the tokens of a source. lark passes the argument of `parse` through."""
        return tokenise(data, self.names)


@cache
def _grammar() -> Lark:
    """Return the parser tables. They take 0.4 s to build, so the process and the user's cache folder keep them."""
    text = Path(__file__).with_name("grammar.lark").read_text(encoding="utf-8")
    return Lark(
        text,
        parser="lalr",
        start=["start", "body"],
        lexer=_Feed,
        maybe_placeholders=True,
        transformer=Builder(),
        cache=_cache_file() or False,
    )


def _cache_file() -> str | None:
    """Return the path of the cached tables, or None where no folder can be created. lark detects a stale file."""
    folder = cache_folder()
    if folder is None:
        return None
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return str(folder / f"p4-grammar-{version}.cache")


def parse(source: Source, file: str) -> Program:
    """Return the syntax tree of preprocessed text; `file` is the program's name.

    Raises P4Error for a syntax error, with its place in the original source. The first call reads or builds the parser
    tables, which may write to the user's cache folder.
    """
    grammar = _grammar()
    try:
        return Program(file, grammar.parse(source, "start"))  # type: ignore[arg-type]
    except UnexpectedToken as error:
        raise explain(error, source, _terminals(grammar)) from None


def parse_body(text: str, types: frozenset[str]) -> list[tuple[str, s.Expression]]:
    """Return the expressions in the body of an annotation, each with its key, which is empty in a list.

    `types` are the names of types that the expressions may use. Raises P4Error for a syntax error.
    """
    grammar, source = _grammar(), plain(text, "<annotation>", text, types)
    try:
        parsed: list[tuple[str, s.Expression]] = grammar.parse(source, "body")  # type: ignore[assignment]
    except UnexpectedToken as error:
        raise explain(error, source, _terminals(grammar)) from None
    return parsed


def declared_types(source: Source) -> frozenset[str]:
    """Return the names of the types that preprocessed text declares at its top level.

    Raises P4Error for invalid tokens.
    """
    return types_declared(source, _terminals(_grammar()))


def _terminals(grammar: Lark) -> dict[str, str]:
    return {str(each.pattern.value): each.name for each in grammar.terminals if each.pattern is not None}
