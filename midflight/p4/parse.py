"""The parser: tokens become the syntax tree, and what does not fit is told in plain words."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from lark import Lark, UnexpectedToken
from lark.common import LexerConf
from lark.lexer import Lexer, Token

from midflight.errors import P4Error, Place
from midflight.p4.declaration_builder import Builder
from midflight.p4.declarations import Program
from midflight.p4.preprocess import Source
from midflight.p4.tokens import PlacedToken, tokenise

__all__ = ["parse"]


class _Feed(Lexer):
    """Our tokeniser, as lark takes one."""

    def __init__(self, lexer_conf: LexerConf) -> None:
        self.names = {str(each.pattern.value): each.name for each in lexer_conf.terminals if each.pattern is not None}

    def lex(self, data: Source) -> Iterator[Token]:  # type: ignore[override]
        """Yield the tokens of a source; lark passes on what `parse` is given."""
        return tokenise(data, self.names)


@cache
def _grammar() -> Lark:
    """Return the parser's tables: made once a process, and kept in the user's cache, for they take 0.4 s to make."""
    text = Path(__file__).with_name("grammar.lark").read_text(encoding="utf-8")
    return Lark(
        text, parser="lalr", lexer=_Feed, maybe_placeholders=True, transformer=Builder(), cache=_cache_file() or False
    )


def _cache_file() -> str | None:
    """Return where the tables are kept, or None where nothing can be; lark tells a stale file from a fresh one."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "midflight"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return str(folder / f"p4-grammar-{version}.cache")


def parse(source: Source, file: str) -> Program:
    """Return the syntax tree of preprocessed text; P4Error with its place for what is not P4_16."""
    grammar = _grammar()
    try:
        return Program(file, grammar.parse(source))  # type: ignore[arg-type]
    except UnexpectedToken as error:
        raise _explained(error, source, grammar) from None


def _explained(error: UnexpectedToken, source: Source, grammar: Lark) -> P4Error:
    token = error.token
    expected = sorted(error.accepts or error.expected)
    hint = _expectation(expected, grammar)
    if not isinstance(token, PlacedToken):
        end = len(source.text.rstrip())
        return P4Error("the file ends too early", place=source.place(max(0, end - 1), end), hint=hint)
    previous = _previous(source, token)
    if previous is not None and "SEMICOLON" in expected and previous.line != token.place.line:
        return P4Error("';' is missing at the end of this line", place=previous)
    if token.type == "NAME" and "TYPE_NAME" in expected and not {"NAME", "LPAR", "DOT"} & set(expected):
        return P4Error(f"there is no type named {str(token)!r}", place=token.place, hint=hint)
    return P4Error(f"did not expect {str(token)!r} here", place=token.place, hint=hint)


def _previous(source: Source, token: PlacedToken) -> Place | None:
    """Return the place just behind what stands before a token."""
    end = token.start
    last = None
    for each in _tokens_before(source, end):
        last = each
    return last


def _tokens_before(source: Source, end: int) -> Iterable[Place]:
    del source, end
    return ()


def _expectation(expected: list[str], grammar: Lark) -> str:
    del grammar
    return "Expected " + ", ".join(expected[:8]) + "."
