"""The preprocessor pcpp with limits on input, nesting and expansion, and with errors that have a place."""

from __future__ import annotations

import copy
import io
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pcpp

from midflight.p4.comments import OpenCommentError, blank
from midflight.p4.conditions import ConditionError, evaluate

__all__ = ["INCLUDE", "LARGEST", "Preprocessor", "PreprocessorError"]

INCLUDE = Path(__file__).parents[1] / "p4src" / "include"
"""The folder with Midflight's core.p4 and v1model.p4, which is always searched last."""

LARGEST = 2 << 20
"""The largest size of a program's source in characters. An included file counts each time it is included."""

DEEPEST = 50
"""The largest depth to which includes may nest."""

INCLUDES = 1000
"""The largest number of includes in a program."""

MACRO_DEPTH = 100
"""The largest depth to which macro expansions may nest."""

MACRO_TOKENS = 10_000
"""The largest number of tokens in a macro's definition."""

MACRO_PARAMETERS = 127
"""The largest number of parameters of a macro."""

EXPANSION = 1 << 20
"""The largest number of tokens that all macro expansions of a program may produce, counting each copy."""

# pcpp's tokeniser searches for the end of an unclosed string from each of its possible starts, which is quadratic.
_QUOTE_STEPS = 50_000_000
# Moving this many tokens costs as much as creating one.
_MOVES = 1024


class Preprocessor(pcpp.Preprocessor):  # type: ignore[misc]
    """pcpp with Midflight's rules: it has limits, raises PreprocessorError where pcpp prints, and skips what p4c skips.

    `folders` are searched for included files in order, and `defines` are macros by name. With `confined`, for untrusted
    sources, only files in INCLUDE can be included. `included` has the text of each included file by path, `blanked` the
    text of each file without comments, and `notes` the file, line and text of each `#warning`.
    """

    def __init__(self, folders: Sequence[Path], defines: Mapping[str, str], *, confined: bool) -> None:
        super().__init__()
        self.included: dict[str, str] = {}
        self.blanked: dict[str, str] = {}
        self.notes: list[tuple[str, int, str]] = []
        self.directive: Any = None
        self.expand_filemacro = not confined
        self._confined = confined
        self._room = LARGEST
        self._includes = 0
        self._budget = EXPANSION
        self._lists: list[int] = []  # the length of each token list being expanded, outermost first
        self._uses = 0  # how often the macro being expanded uses its arguments
        self.rewrite_paths: list[Any] = []
        for folder in folders:
            self.add_path(str(folder))
        for name, value in defines.items():
            self.define(f"{name} {value}")

    def take(self, text: str, file: str) -> str:
        """Count a file's text against LARGEST and return it without comments, in the same lines and columns.

        `file` names it in errors. Raises PreprocessorError if all files together exceed LARGEST, for a comment that is
        not closed, and for a line with too many escaped quotes.
        """
        self._room -= len(text)
        if self._room < 0:
            line = text.count("\n", 0, len(text) + self._room) + 1
            raise PreprocessorError(f"a program and its includes have at most {LARGEST} characters", file, line, "")
        try:
            blanked = self.blanked[file] = blank(text)
        except OpenCommentError as error:
            line = text.count("\n", 0, error.start) + 1
            raise PreprocessorError("this comment is not closed", file, line, "/*") from None
        _check_lexable(blanked, file)
        return blanked

    def include(self, tokens: Any, original_line: Any) -> Iterator[Any]:
        """Expand an `#include` directive, as pcpp calls it, and yield the tokens of the file.

        Raises PreprocessorError beyond INCLUDES or DEEPEST.
        """
        self.directive = tokens[0] if tokens else None
        self._includes += 1
        if self._includes > INCLUDES:
            self._fail(f"a program includes at most {INCLUDES} files", "")
        if len(self.temp_path) > DEEPEST:
            self._fail("includes nest too deeply; does a file include itself?", "")
        yield from super().include(tokens, original_line)

    def on_file_open(self, is_system_include: bool, includepath: str) -> Any:
        """Open a file to include, as pcpp calls it, and return its text without comments as a stream.

        The original text is recorded in `included`. Raises FileNotFoundError where pcpp has to try the next folder, and
        PreprocessorError for a file that is not regular or not UTF-8, and beyond LARGEST.
        """
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
        """Define a macro, as pcpp calls it for `#define`.

        Raises PreprocessorError if the definition exceeds MACRO_TOKENS.
        """
        if not isinstance(tokens, str) and len(tokens) > MACRO_TOKENS:
            where = tokens[0]
            raise PreprocessorError(
                f"a macro's definition has at most {MACRO_TOKENS} tokens", where.source, where.lineno, where.value
            )
        super().define(tokens)

    def macro_prescan(self, macro: Any) -> None:
        """Prepare a macro with parameters, as pcpp calls it. Raises PreprocessorError beyond MACRO_PARAMETERS."""
        if len(macro.arglist) > MACRO_PARAMETERS:
            self.on_error(self.source, self.linemacro, f"a macro has at most {MACRO_PARAMETERS} parameters")
        super().macro_prescan(macro)

    def expand_macros(self, tokens: Any, expanding_from: Any = ()) -> Any:
        """Return the tokens with all macros expanded, as pcpp calls it.

        Raises PreprocessorError beyond MACRO_DEPTH or EXPANSION.
        """
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
        """Return a macro's tokens with its arguments substituted, as pcpp calls it; count the work for EXPANSION.

        Raises PreprocessorError beyond that limit.
        """
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
        """Return a macro's arguments, as pcpp calls it.

        pcpp copies the remaining tokens for this, which EXPANSION includes; PreprocessorError if it is used up.
        """
        self._spend(len(tokenlist) // _MOVES, tokenlist[0] if tokenlist else None)
        return super().collect_args(tokenlist, ignore_errors)

    def evalexpr(self, tokens: Any) -> Any:
        """Return (value, None) for the condition of `#if` or `#elif`; pcpp expects remaining tokens as second element.

        Raises PreprocessorError if the condition cannot be evaluated, for example for a division by zero.
        """
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
        """Raise PreprocessorError for an `#include` that names no file, or with `confined` one that is not allowed."""
        del curdir
        mark = f"<{includepath}>" if is_system_include else f'"{includepath}"'
        message = f"malformed #include {includepath}" if is_malformed else f"there is no file {mark} to include"
        if self._confined:
            ours = " and ".join(f"<{each}>" for each in _own_files())
            message = f"{mark} cannot be included: a program from the network may include only {ours}"
        self._fail(message, includepath)

    def on_directive_handle(self, directive: Any, toks: Any, ifpassthru: bool, precedingtoks: Any) -> Any:
        """Record a directive as the place of later errors, and return what pcpp does with it.

        `#pragma` alone is removed. pcpp also calls this for directives in a branch that is not taken.
        """
        self.directive = directive
        if directive.value == "pragma" and not toks:
            raise pcpp.OutputDirective(pcpp.Action.IgnoreAndRemove)
        return super().on_directive_handle(directive, toks, ifpassthru, precedingtoks)

    def on_directive_unknown(self, directive: Any, toks: Any, ifpassthru: bool, precedingtoks: Any) -> Any:
        """Handle a directive that pcpp does not know: #error raises PreprocessorError, #warning is recorded in `notes`.

        Both and all others are removed, except #line, which stays in the output.
        """
        del ifpassthru, precedingtoks
        text = "".join(each.value for each in toks).strip()
        if directive.value == "error":
            raise PreprocessorError(text or "#error", directive.source, directive.lineno, "")
        if directive.value == "warning":
            self.notes.append((directive.source, directive.lineno, text or "#warning"))
        return None if directive.value == "line" else True

    def on_error(self, file: str, line: int, msg: str) -> None:
        """Raise PreprocessorError with a message that pcpp, the base class, would print."""
        raise PreprocessorError(msg[:1].lower() + msg[1:], file, line, "")

    def _fail(self, message: str, needle: str) -> None:
        where = self.directive
        raise PreprocessorError(message, where.source if where else "", where.lineno if where else 1, needle)


class PreprocessorError(Exception):
    """An error of the preprocessor: message, file, line (from 1), and the text in that line to underline.

    An empty `needle` underlines the whole line.
    """

    def __init__(self, message: str, file: str, line: int, needle: str) -> None:
        super().__init__(message)
        self.file, self.line, self.needle = file, line, needle


def _own_files() -> list[str]:
    return sorted(each.name for each in INCLUDE.iterdir() if each.suffix == ".p4")


def _read(path: Path, room: int) -> str:
    """Return a file's first `room` + 1 characters, enough to detect one that is too long.

    ValueError if the path is not a regular file.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a regular file")
    with path.open(encoding="utf-8") as file:
        return file.read(room + 1)


def _check_lexable(text: str, file: str) -> None:
    """Raise PreprocessorError for text on which pcpp's tokeniser would take quadratic time."""
    if '\\"' in text or "\\'" in text:
        number = 1
        for line_ in re.split(r"(?<!\\)\n", text):
            quotes = line_.count('\\"') + line_.count("\\'")
            if quotes * len(line_) > _QUOTE_STEPS:
                raise PreprocessorError("this line has too many escaped quotes", file, number, "")
            number += line_.count("\n") + 1
