"""Tokeniser: from text to tokens for an LALR(1) grammar.

P4 cannot be parsed without knowing which names are types: `(a) - b` is a cast or a subtraction, and `a < b` may start
type arguments. The tokeniser therefore tracks declarations and scopes, gives names of types a token of their own, and
marks the angle brackets of type arguments. It splits `>>` where it closes two of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from lark import Token

from midflight.errors import P4Error, Place
from midflight.p4.preprocess import Line, Source

__all__ = ["KEYWORDS", "PlacedToken", "tokenise", "types_declared", "words"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


KEYWORDS = _words(
    "abstract action actions apply bit bool break const continue control default else entries enum error exit extern "
    "false for header header_union if in inout int key list match_kind out package parser priority return select state "
    "string struct switch table this transition true tuple type typedef varbit value_set void"
)
"""All keywords of the grammar. The grammar also accepts some of them as names."""

_TOKEN = re.compile(
    r"""
    (?P<skip>\s+|//[^\n]*|/\*.*?\*/)
  | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<number>[0-9][0-9A-Za-z_]*)
  | (?P<string>"(?:[^"\\\n]|\\.)*")
  | (?P<annotation>@)
  | (?P<mark>\|\+\|=|\|-\|=|\|\+\||\|-\||<<=|>>=|&&&|\.\.\.|\{\#\}|\.\.|\+\+|\+=|-=|\*=|/=|%=|&=|\|=|\^=
            |<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^~!<>=?:;,.(){}\[\]])
  | (?P<wrong>.)
    """,
    re.VERBOSE | re.DOTALL,
)

# The opening bracket of an annotation's body, which may follow white space and comments.
_BODY = re.compile(r"(?>\s+|//[^\n]*|/\*.*?\*/)*+([(\[])", re.DOTALL)

_OPERATORS = _words("* / % ++ |+| |-| << >> <= >= == != & ^ | && || < >")
_ASSIGNMENTS = _words("+= -= *= /= %= &= |= ^= <<= >>= |+|= |-|=")
_TYPE_WORDS = _words("bit int varbit bool error string tuple list void match_kind")
_TAKES_ANGLES = _words("bit int varbit tuple list value_set")
_NAMES_A_TYPE = _words("header header_union struct package control parser")
_SOFT = _words("actions apply entries key priority state type")
_AFTER_DECLARATOR = _words("; = , ) { (")


_ARGUMENTS = 1000  # the most tokens of a name's type arguments, so that a chain of comparisons takes linear time

MOST_TOKENS = 1 << 18
"""The largest number of tokens of a program. Comments count as none, and an annotation as one."""


class PlacedToken(Token):
    """A token of the grammar that knows its offsets in the preprocessed `source`: from `start` to `end`, exclusive.

    `origin` is the line on which it starts.
    """

    source: Source
    origin: Line
    start: int
    end: int

    @cached_property
    def place(self) -> Place:
        """The token's place in the original file. Text that a macro produced has the place of the macro's use."""
        line, begin = self.origin, self.start - self.origin.start
        if line.text is line.bare and begin + len(self) <= len(line.text):
            return Place(line.file, line.number, begin + 1, len(self), line.original)
        return self.source.place(self.start, self.end)


@dataclass(slots=True)
class _Raw:
    """A token before names are classified. `kind` is word, number, string, annotation or mark."""

    kind: str
    text: str
    start: int
    end: int


@dataclass(slots=True)
class _Scope:
    """The names that a scope declares. `opened` is set once its opening brace has been read."""

    names: dict[str, None]
    opened: bool


def tokenise(source: Source, names: dict[str, str]) -> Iterator[PlacedToken]:
    """Yield the grammar's tokens of a preprocessed text, with names classified as types or other names.

    `names` gives the terminal's name for each literal token, such as LPAR for `(`. Raises P4Error, for text anywhere in
    the source, before the first token is yielded: for text that is not a token, such as a string or comment without an
    end, for an annotation without a name or a closing bracket, and beyond MOST_TOKENS.
    """
    return _Classifier(source, names).run()


def types_declared(source: Source, names: dict[str, str]) -> frozenset[str]:
    """Return the names of the types that a preprocessed text declares at its top level, and of `source.types`.

    `source.types` are declared before the text. `names` gives the terminal's name for each literal token, such as LPAR
    for `(`. P4Error for text that is not a token, for an annotation without a name or a closing bracket, and beyond
    MOST_TOKENS.
    """
    classifier = _Classifier(source, names)
    for _ in classifier.run():
        pass
    return frozenset(name for name in classifier.types if classifier.is_type(name))


def _scan(source: Source) -> list[_Raw]:
    """Split the text into tokens. An annotation with its body is one token."""
    text, position = source.text, 0
    raws: list[_Raw] = []
    while position < len(text):
        if len(raws) > MOST_TOKENS:
            place = source.place(raws[-1].start, raws[-1].end)
            raise P4Error(f"a program has at most {MOST_TOKENS} tokens", place=place)
        match = _TOKEN.match(text, position)
        assert match is not None
        kind, end = match.lastgroup or "", match.end()
        if kind == "annotation":
            end = _annotation_end(source, position)
        if kind == "wrong":
            place = source.place(position, end)
            if match[0] == '"':
                raise P4Error("this string is not closed on its line", place=place)
            if text.startswith("/*", position):
                raise P4Error("this comment is not closed", place=source.place(position, position + 2))
            raise P4Error(f"{match[0]!r} is not a P4 token", place=place)
        if text.startswith("/*", position) and kind == "mark":
            raise P4Error("this comment is not closed", place=source.place(position, position + 2))
        if kind != "skip":
            raws.append(_Raw(kind, text[position:end], position, end))
        position = end
    return raws


def _annotation_end(source: Source, start: int) -> int:
    """Return the end of the annotation that starts with the `@` at `start`, including its body."""
    text = source.text
    match = re.compile(r"@\s*([A-Za-z_]\w*)").match(text, start)
    if match is None:
        raise P4Error("an annotation needs a name after '@'", place=source.place(start, start + 1))
    end = match.end()
    if match[1] == "pragma":
        newline = text.find("\n", end)
        return len(text) if newline < 0 else newline
    opening = _BODY.match(text, end)
    if opening is None:
        return end
    # An unstructured annotation may contain any tokens between its brackets, even unpaired brackets of other kinds.
    begins, ends = ("(", ")") if opening[1] == "(" else ("([{", ")]}")
    depth, position = 0, opening.start(1)
    while position < len(text):
        token = _TOKEN.match(text, position)
        assert token is not None
        if token[0] in begins:
            depth += 1
        elif token[0] in ends:
            depth -= 1
            if depth == 0:
                return token.end()
        position = token.end()
    raise P4Error("the annotation's bracket is not closed", place=source.place(start, match.end()))


def words(text: str) -> str:
    """Return a text's tokens joined by single spaces, without comments, as p4c keeps an annotation's body."""
    return " ".join(each[0] for each in _TOKEN.finditer(text) if each.lastgroup != "skip")


class _Classifier:
    """Classifies tokens in one pass, tracking scopes and open angle brackets."""

    OPENING: ClassVar[dict[str, str]] = {"(": ")", "[": "]", "{": "}"}

    def __init__(self, source: Source, names: dict[str, str]) -> None:
        self.source = source
        self.names = names
        self.raws = _scan(source)
        self.scopes = [_Scope(dict.fromkeys(source.types), True)]
        # By name, innermost scope last: True for a type, False for another declaration that hides a type.
        self.types: dict[str, list[bool]] = {each: [True] for each in source.types}
        self.brackets: list[str] = []
        self.declared = -1  # index of the token that names the type being declared
        self.typedef_name = -1  # the same for a typedef, whose name is valid only after it

    def run(self) -> Iterator[PlacedToken]:
        before = ""  # the previous token's terminal
        lines, starts, at = self.source.lines, self.source.starts, 0
        last = len(lines) - 1
        for index, raw in enumerate(self.raws):
            while at < last and starts[at + 1] <= raw.start:
                at += 1
            for kind, text, offset in self.classify(index, raw, before):
                token = PlacedToken(kind, text)
                token.source, token.origin = self.source, lines[at]
                token.start = raw.start + offset
                token.end = token.start + len(text)
                before = kind
                yield token

    def classify(self, index: int, raw: _Raw, before: str) -> Sequence[tuple[str, str, int]]:
        match raw.kind:
            case "word":
                return ((self.word(index, raw.text, before), raw.text, 0),)
            case "mark":
                return self.mark(index, raw.text, before)
            case _:
                return ((raw.kind.upper(), raw.text, 0),)

    def text_at(self, index: int) -> str:
        return self.raws[index].text if 0 <= index < len(self.raws) else ""

    def is_type(self, name: str) -> bool:
        known = self.types.get(name)
        return known[-1] if known else False

    def declare(self, name: str, is_type: bool = True) -> None:
        known = self.types.setdefault(name, [])
        if name in self.scopes[-1].names:
            known[-1] = is_type
        else:
            self.scopes[-1].names[name] = None
            known.append(is_type)

    def leave(self) -> None:
        """Close the innermost scope."""
        for name in self.scopes.pop().names:
            self.types[name].pop()

    # Words ---------------------------------------------------------------------------------------------------

    def word(self, index: int, text: str, before: str) -> str:
        if text == "_":
            return self.names["_"]
        after = self.text_at(index + 1)
        if text in KEYWORDS:
            if text not in _SOFT or before != "DOT":
                self.keyword(index, text, before)
            return self.names[text]
        if before == "DOT" and self.member_dot(index - 1):
            return "NAME"
        if index == self.declared:
            return "NAME"
        if before in ("ACTION", "TABLE", "STATE", "TRANSITION"):
            if self.is_type(text):
                self.declare(text, False)
            self.open_container(text, index, before)
            return "NAME"
        if index == self.typedef_name:
            self.declare(text)
            return "NAME"
        type_before = before in _TYPE_ENDS
        if self.is_type(text):
            if (type_before and after in _AFTER_DECLARATOR) or (before == "RPAR" and after in (";", "=")):
                declares = not (before == "RPAR" and self.text_at(index - 1) != ")")
                if declares and before != "EXTERN":
                    self.declare(text, False)
                    self.open_container(text, index, "FUNCTION" if after == "(" else "")
                    return "NAME"
            return "TYPE_NAME"
        if (type_before or before in ("NAME", "VOID")) and after in ("(", "<"):
            self.open_container(text, index, "FUNCTION")
        return "NAME"

    def open_container(self, text: str, index: int, kind: str) -> None:
        """Open the scope of a declaration with parameters, which ends with its body or its semicolon."""
        del text
        if kind not in ("ACTION", "FUNCTION") or (self.brackets and self.brackets[-1] == "("):
            return
        self.scopes.append(_Scope({}, False))
        self.type_parameters(index + 1)

    def type_parameters(self, index: int) -> None:
        if self.text_at(index) != "<":
            return
        while (index := index + 1) < len(self.raws) and self.text_at(index) != ">":
            if self.raws[index].kind == "word":
                self.declare(self.text_at(index))

    def member_dot(self, index: int) -> bool:
        """Return whether the dot at `index` follows a value, as opposed to starting a global name."""
        before = self.raws[index - 1] if index else None
        return before is not None and (before.kind == "word" or before.text in (")", "]", "}", ">"))

    def keyword(self, index: int, text: str, before: str) -> None:
        if text in _NAMES_A_TYPE:
            if self.raws[index + 1 : index + 2] and self.raws[index + 1].kind == "word":
                self.declare(self.text_at(index + 1))
                self.declared = index + 1
                self.scopes.append(_Scope({}, False))
                self.type_parameters(index + 2)
        elif text == "extern":
            name, after = self.text_at(index + 1), self.text_at(index + 2)
            if after == "{" or after == ";" or (after == "<" and not self.is_type(name) and name not in KEYWORDS):
                self.declare(name)
                self.declared = index + 1
                self.scopes.append(_Scope({}, False))
                self.type_parameters(index + 2)
        elif text == "enum":
            end = index + 1
            while self.text_at(end) not in ("{", ";", ""):
                end += 1
            self.declare(self.text_at(end - 1))
            self.declared = end - 1
        elif text == "typedef" or (text == "type" and self.starts_type(index + 1) and before in _STATEMENT_ENDS):
            end = index + 1
            while self.text_at(end) not in (";", ""):
                end += 1
            self.typedef_name = end - 1

    def starts_type(self, index: int) -> bool:
        text = self.text_at(index)
        return text in _TYPE_WORDS or self.is_type(text)

    # Marks ---------------------------------------------------------------------------------------------------

    def mark(self, index: int, text: str, before: str) -> Sequence[tuple[str, str, int]]:
        if text == "<" and self.opens_angles(index, before):
            self.brackets.append("<")
            return (("LESS_ARGUMENTS", text, 0),)
        if text in (">", ">>") and self.brackets and self.brackets[-1] == "<":
            self.brackets.pop()
            if text == ">":
                return (("MORE_ARGUMENTS", text, 0),)
            if self.brackets and self.brackets[-1] == "<":
                self.brackets.pop()
                return (("MORE_ARGUMENTS", ">", 0), ("MORE_ARGUMENTS", ">", 1))
            return (("MORE_ARGUMENTS", ">", 0), ("OPERATOR", ">", 1))
        if text in _OPERATORS:
            return (("OPERATOR", text, 0),)
        if text in _ASSIGNMENTS:
            return (("ASSIGNMENT", text, 0),)
        self.bracket(text)
        return ((self.names[text], text, 0),)

    def bracket(self, text: str) -> None:
        if text in self.OPENING:
            if text == "{":
                if self.scopes[-1].opened:
                    self.scopes.append(_Scope({}, True))
                else:
                    self.scopes[-1].opened = True
            self.brackets.append(text)
        elif text in (")", "]", "}"):
            while self.brackets and self.OPENING.get(self.brackets[-1]) != text:
                self.brackets.pop()
            if self.brackets:
                self.brackets.pop()
            if text == "}" and len(self.scopes) > 1:
                while len(self.scopes) > 2 and not self.scopes[-1].opened:
                    self.leave()
                self.leave()
        elif text == ";" and not self.scopes[-1].opened and "(" not in self.brackets[-1:]:
            self.leave()

    def opens_angles(self, index: int, before: str) -> bool:
        previous = self.text_at(index - 1)
        if previous in _TAKES_ANGLES or before == "TYPE_NAME":
            return True
        if before not in {"NAME"} | {self.names[each] for each in _SOFT}:
            return False
        return self.holds_types(index)

    def holds_types(self, index: int) -> bool:
        """Return whether the `<` at `index` encloses type arguments of a call, as opposed to being a comparison.

        Expressions occur there only in square brackets, and in the brackets of a width, such as `bit<(W + 1)>`.
        """
        depth, inner, typed = 1, [""], False
        for end in range(index + 1, min(len(self.raws), index + _ARGUMENTS)):
            raw = self.raws[end]
            if raw.text in ("(", "["):
                if raw.text == "(" and depth == 1:
                    return False
                inner.append(raw.text)
            elif raw.text in (")", "]"):
                if inner.pop() != {")": "(", "]": "["}[raw.text]:
                    return False
            elif inner[-1]:
                continue
            elif raw.text == "<":
                depth += 1
            elif raw.text in (">", ">>"):
                depth -= len(raw.text)
                if depth <= 0:
                    return typed and self.text_at(end + 1) in ("(", "{")
            elif raw.kind == "word":
                typed |= raw.text in _TYPE_WORDS or raw.text == "_" or self.is_type(raw.text)
            elif not (raw.text in (",", ".") or (raw.kind == "number" and depth > 1)):
                return False
        return False


_TYPE_ENDS = frozenset(
    ["TYPE_NAME", "MORE_ARGUMENTS", "RSQB", "BIT", "BOOL", "INT", "ERROR", "STRING_TYPE", "VARBIT", "VOID"]
)
_STATEMENT_ENDS = frozenset(["", "SEMICOLON", "RBRACE", "ANNOTATION"])
