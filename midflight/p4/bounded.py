"""pcpp within bounds: what it may read, how deep and how long it may work, and errors with their places."""

from __future__ import annotations

import copy
import io
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pcpp

from midflight.p4.conditions import ConditionError, evaluate

__all__ = ["INCLUDE", "LARGEST", "Preprocessor", "PreprocessorError"]

INCLUDE = Path(__file__).parents[1] / "p4src" / "include"
"""The folder with our core.p4 and v1model.p4, always searched last."""

LARGEST = 2 << 20
"""Characters of a program's source, with everything that it includes, as often as it does."""

DEEPEST = 50
"""How deep includes may nest."""

INCLUDES = 1000
"""How many times a program may include a file."""

MACRO_DEPTH = 100
"""How deep macros may expand within each other."""

MACRO_TOKENS = 10_000
"""Tokens in one macro's definition."""

MACRO_PARAMETERS = 127
"""Parameters of one macro."""

EXPANSION = 1 << 20
"""Tokens that all of a program's macros may expand to, counted each time one is copied."""

# Looking for the end of an unclosed comment or string starts again behind every beginning. Few may be left open.
_OPEN_COMMENTS = 10
_QUOTE_STEPS = 50_000_000
# Moving a token is this much cheaper than making one.
_MOVES = 1024


class Preprocessor(pcpp.Preprocessor):  # type: ignore[misc]
    """pcpp with our rules: keep comments for the columns' sake, raise instead of print, and keep within bounds.

    With `confined` it includes files of our own folder alone, whatever else there may be.
    """

    def __init__(self, folders: Sequence[Path], defines: Mapping[str, str], *, confined: bool) -> None:
        super().__init__()
        self.included: dict[str, str] = {}
        self.directive: Any = None
        self.expand_filemacro = not confined
        self._confined = confined
        self._room = LARGEST
        self._includes = 0
        self._budget = EXPANSION
        self._lists: list[int] = []  # the length of each token list that is being expanded, the outermost first
        self._uses = 0  # how often the macro that is being expanded puts each of its arguments in
        self.rewrite_paths: list[Any] = []
        for folder in folders:
            self.add_path(str(folder))
        for name, value in defines.items():
            self.define(f"{name} {value}")

    def on_comment(self, _tok: Any) -> bool:
        """Keep comments: the tokeniser skips them."""
        return True

    def take(self, text: str, file: str) -> str:
        """Count a file's text against the bounds and return it."""
        self._room -= len(text)
        if self._room < 0:
            line = text.count("\n", 0, len(text) + self._room) + 1
            raise PreprocessorError(f"a program has at most {LARGEST} characters, includes with it", file, line, "")
        _check_lexable(text, file)
        return text

    def include(self, tokens: Any, original_line: Any) -> Iterator[Any]:
        """Remember where an include stands, for what may go wrong with it."""
        self.directive = tokens[0] if tokens else None
        self._includes += 1
        if self._includes > INCLUDES:
            self._fail(f"a program includes at most {INCLUDES} files", "")
        if len(self.temp_path) > DEEPEST:
            self._fail("includes go too deep: does a file include itself?", "")
        yield from super().include(tokens, original_line)

    def on_file_open(self, is_system_include: bool, includepath: str) -> Any:
        """Open an include and remember its text for the carets; OSError where the next folder is to be tried."""
        del is_system_include
        path = Path(includepath)
        if self._confined and path.parent != INCLUDE:
            raise FileNotFoundError(includepath)
        try:
            text = _read(path, self._room)
        except (UnicodeDecodeError, ValueError) as error:
            reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
            self._fail(f"cannot include {path.name}: {reason}", path.name)
            raise  # for mypy: _fail raises
        self.included[includepath] = text
        return io.StringIO(self.take(text, includepath))

    def define(self, tokens: Any) -> None:
        """Define a macro of a bounded size."""
        if not isinstance(tokens, str) and len(tokens) > MACRO_TOKENS:
            where = tokens[0]
            raise PreprocessorError(
                f"a macro's definition has at most {MACRO_TOKENS} tokens", where.source, where.lineno, where.value
            )
        super().define(tokens)

    def macro_prescan(self, macro: Any) -> None:
        """Look over a macro with parameters, of which it has a bounded number."""
        if len(macro.arglist) > MACRO_PARAMETERS:
            self.on_error(self.source, self.linemacro, f"a macro has at most {MACRO_PARAMETERS} parameters")
        super().macro_prescan(macro)

    def expand_macros(self, tokens: Any, expanding_from: Any = ()) -> Any:
        """Expand macros as deep and to as many tokens as the bounds allow."""
        if not self._lists:
            self._lists.append(len(tokens))
            try:
                return super().expand_macros(tokens, list(expanding_from))
            finally:
                self._lists.pop()
        uses, self._uses = self._uses, 0
        where = tokens[0] if tokens else None
        if len(self._lists) > MACRO_DEPTH:
            self._exceed(f"macros expand at most {MACRO_DEPTH} deep", where)
        self._spend(len(tokens) + self._lists[-1] // _MOVES, where)
        self._lists.append(len(tokens))
        try:
            expanded = super().expand_macros(tokens, list(expanding_from))
        finally:
            self._lists.pop()
        self._spend(len(expanded) * max(uses, 1), where)
        self._lists[-1] += len(expanded)
        return expanded

    def macro_expand_args(self, macro: Any, args: Any) -> Any:
        """Put arguments into a macro, unless that makes more of them than the bounds allow."""
        where = macro.value[0] if macro.value else None
        joins = 1 + sum(each.value == "##" for each in macro.value)
        copies = len(macro.patch) + len(macro.str_patch)
        characters = sum(len(each.value) for arg in args for each in arg)
        self._spend(characters * copies * joins // _MOVES, where)
        self._uses = copies
        try:
            return super().macro_expand_args(macro, args)
        finally:
            self._uses = 0

    def collect_args(self, tokenlist: Any, ignore_errors: bool = False) -> Any:
        """Find a macro's arguments in a copy of all that follows, which costs its share."""
        self._spend(len(tokenlist) // _MOVES, tokenlist[0] if tokenlist else None)
        return super().collect_args(tokenlist, ignore_errors)

    def evalexpr(self, tokens: Any) -> Any:
        """Return the value of a condition, and None for pcpp: nothing of it is left to others."""
        where = tokens[0] if tokens else self.directive
        tokens = self._settled(self.expand_macros(self._settled(tokens)))
        try:
            return evaluate(each.value for each in self._plain(tokens)), None
        except ConditionError as error:
            file, line = (where.source, where.lineno) if where else (self.source, 1)
            raise PreprocessorError(f"the condition cannot be evaluated: {error}", file, line, "") from None

    def _plain(self, tokens: Any) -> Iterator[Any]:
        return (each for each in tokens if each.type not in self.t_WS and each.type not in self.t_COMMENT)

    def _settled(self, tokens: Any) -> list[Any]:
        """Return the tokens with each `defined(NAME)` and `defined NAME` replaced by 1 or 0."""
        left = list(self._plain(tokens))
        settled: list[Any] = []
        at = 0
        while at < len(left):
            token = left[at]
            at += 1
            if token.value == "defined":
                bracket = at < len(left) and left[at].value == "("
                name = left[at + bracket] if at + bracket < len(left) else None
                at += 1 + 2 * bracket
                closed = not bracket or (at <= len(left) and left[at - 1].value == ")")
                if name is None or name.type != self.t_ID or not closed:
                    self.on_error(token.source, token.lineno, "defined takes a name: defined(NAME)")
                    return settled
                token = copy.copy(token)
                token.type, token.value = self.t_INTEGER, "1" if name.value in self.macros else "0"
            settled.append(token)
        return settled

    def _spend(self, tokens: int, where: Any) -> None:
        self._budget -= tokens
        if self._budget < 0:
            self._exceed(f"macros expand to more than {EXPANSION} tokens", where)

    def _exceed(self, message: str, where: Any) -> None:
        file, line = (where.source, self.linemacro or where.lineno) if where else (self.source, self.linemacro or 1)
        raise PreprocessorError(message, file, line, "")

    def on_include_not_found(self, is_malformed: bool, is_system_include: bool, curdir: str, includepath: str) -> None:
        """Refuse an include that is not there, naming it."""
        del curdir
        mark = f"<{includepath}>" if is_system_include else f'"{includepath}"'
        message = f"malformed #include {includepath}" if is_malformed else f"there is no file {mark} to include"
        if self._confined:
            ours = " and ".join(f"<{each}>" for each in _own_files())
            message = f"{mark} cannot be included: a program that comes over the network includes {ours} alone"
        self._fail(message, includepath)

    def on_directive_handle(self, directive: Any, toks: Any, ifpassthru: bool, precedingtoks: Any) -> Any:
        """Raise for #error what pcpp would print, and let #warning pass."""
        self.directive = directive
        if directive.value == "error":
            text = "".join(each.value for each in toks).strip()
            raise PreprocessorError(text or "#error", directive.source, directive.lineno, "")
        return (
            None
            if directive.value == "warning"
            else super().on_directive_handle(directive, toks, ifpassthru, precedingtoks)
        )

    def on_error(self, file: str, line: int, msg: str) -> None:
        """Raise what pcpp would print."""
        raise PreprocessorError(msg[:1].lower() + msg[1:], file, line, "")

    def _fail(self, message: str, needle: str) -> None:
        where = self.directive
        raise PreprocessorError(message, where.source if where else "", where.lineno if where else 1, needle)


class PreprocessorError(Exception):
    """What went wrong, in which file and line, and what to point at there."""

    def __init__(self, message: str, file: str, line: int, needle: str) -> None:
        super().__init__(message)
        self.file, self.line, self.needle = file, line, needle


def _own_files() -> list[str]:
    return sorted(each.name for each in INCLUDE.iterdir() if each.suffix == ".p4")


def _read(path: Path, room: int) -> str:
    """Return a file's text, or as much of it as is certain to be too much; ValueError for what is not a file."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a regular file")
    with path.open(encoding="utf-8") as file:
        return file.read(room + 1)


def _check_lexable(text: str, file: str) -> None:
    """Refuse text over which pcpp's tokeniser would take quadratic time."""
    closed = text.rfind("*/") + 2 if "*/" in text else 0
    if text.count("/*", closed) > _OPEN_COMMENTS:
        line = text.count("\n", 0, text.index("/*", closed)) + 1
        raise PreprocessorError("this comment is not closed", file, line, "/*")
    if '\\"' in text or "\\'" in text:
        number = 1
        for line_ in re.split(r"(?<!\\)\n", text):
            quotes = line_.count('\\"') + line_.count("\\'")
            if quotes * len(line_) > _QUOTE_STEPS:
                raise PreprocessorError("this line has too many escaped quotes", file, number, "")
            number += line_.count("\n") + 1
