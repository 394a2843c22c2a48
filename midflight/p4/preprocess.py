"""The preprocessor: includes and macros expanded by pcpp, every character still knowing where it was written."""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pcpp

from midflight.errors import P4Error, Place

__all__ = ["INCLUDE", "Source", "preprocess"]

INCLUDE = Path(__file__).parents[1] / "p4src" / "include"
"""The folder with our core.p4 and v1model.p4, always searched last."""

DEEPEST = 50
"""How deep includes may nest."""

_LINE_MARKER = re.compile(r'#line\s+(\d+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*$')


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of preprocessed text: where it came from, and how it read there."""

    start: int
    file: str
    number: int
    text: str
    original: str


@dataclass(frozen=True, slots=True)
class Source:
    """Preprocessed text with its line markers taken out."""

    text: str
    lines: tuple[_Line, ...]
    starts: tuple[int, ...] = field(repr=False)

    def place(self, start: int, end: int) -> Place:
        """Return the place in the user's own file of a stretch of the preprocessed text."""
        line = self.lines[max(0, bisect_right(self.starts, start) - 1)]
        begin = start - line.start
        finish = min(max(end, start + 1) - line.start, max(len(line.text), begin + 1))
        if line.text != line.original:
            begin, finish = _unexpanded(line, begin, finish)
        return Place(line.file, line.number, begin + 1, max(1, finish - begin), line.original)


def _unexpanded(line: _Line, begin: int, finish: int) -> tuple[int, int]:
    """Carry columns over from a line with expanded macros to the line as written.

    What stands before or after the expansions keeps its column; what came out of a macro points at its use.
    """
    new, old = line.text, line.original
    shortest = min(len(new), len(old))
    before = next((i for i in range(shortest) if new[i] != old[i]), shortest)
    limit = shortest - before
    after = next((i for i in range(limit) if new[-1 - i] != old[-1 - i]), limit)
    if finish <= before:
        return begin, finish
    if begin >= len(new) - after:
        shift = len(old) - len(new)
        return begin + shift, finish + shift
    token = new[begin:finish]
    if token and old.count(token, before) == 1:
        found = old.index(token, before)
        return found, found + len(token)
    while before > 0 and (old[before - 1].isalnum() or old[before - 1] == "_"):
        before -= 1
    use = re.compile(r"\w+").match(old, before)
    return before, use.end() if use else before + 1


class _Preprocessor(pcpp.Preprocessor):  # type: ignore[misc]
    """pcpp with our rules: keep comments for the columns' sake, and raise instead of print."""

    def __init__(self, folders: Sequence[Path], defines: Mapping[str, str]) -> None:
        super().__init__()
        self.included: dict[str, str] = {}
        self.directive: Any = None
        self.rewrite_paths: list[Any] = []
        for folder in folders:
            self.add_path(str(folder))
        for name, value in defines.items():
            self.define(f"{name} {value}")

    def on_comment(self, _tok: Any) -> bool:
        """Keep comments: the tokeniser skips them."""
        return True

    def include(self, tokens: Any, original_line: Any) -> Iterator[Any]:
        """Remember where an include stands, for what may go wrong with it."""
        self.directive = tokens[0] if tokens else None
        if len(self.temp_path) > DEEPEST:
            self._fail("includes go too deep: does a file include itself?", "")
        yield from super().include(tokens, original_line)

    def on_file_open(self, is_system_include: bool, includepath: str) -> Any:
        """Open an include and remember its text for the carets."""
        del is_system_include
        text = Path(includepath).read_text(encoding="utf-8")
        self.included[includepath] = text
        return io.StringIO(text)

    def on_include_not_found(self, is_malformed: bool, is_system_include: bool, curdir: str, includepath: str) -> None:
        """Refuse an include that is not there, naming it."""
        del curdir
        mark = f"<{includepath}>" if is_system_include else f'"{includepath}"'
        message = f"malformed #include {includepath}" if is_malformed else f"there is no file {mark} to include"
        self._fail(message, includepath)

    def on_directive_handle(self, directive: Any, toks: Any, ifpassthru: bool, precedingtoks: Any) -> Any:
        """Raise for #error what pcpp would print, and let #warning pass."""
        if directive.value == "error":
            text = "".join(each.value for each in toks).strip()
            raise _PreprocessorError(text or "#error", directive.source, directive.lineno, "")
        return (
            None
            if directive.value == "warning"
            else super().on_directive_handle(directive, toks, ifpassthru, precedingtoks)
        )

    def on_error(self, file: str, line: int, msg: str) -> None:
        """Raise what pcpp would print."""
        raise _PreprocessorError(msg[:1].lower() + msg[1:], file, line, "")

    def _fail(self, message: str, needle: str) -> None:
        where = self.directive
        raise _PreprocessorError(message, where.source if where else "", where.lineno if where else 1, needle)


class _PreprocessorError(Exception):
    """What went wrong, in which file and line, and what to point at there."""

    def __init__(self, message: str, file: str, line: int, needle: str) -> None:
        super().__init__(message)
        self.file, self.line, self.needle = file, line, needle


def preprocess(
    source: str,
    file: str = "<string>",
    include_dirs: Sequence[str | Path] = (),
    defines: Mapping[str, str] | None = None,
) -> Source:
    """Expand includes and macros.

    Includes in quotes are looked for beside the including file, then like those in angle brackets in
    `include_dirs` and last among our own. Raises P4Error with its place for a missing include or a bad directive.
    """
    folders = [Path(each) for each in include_dirs]
    processor = _Preprocessor([*folders, INCLUDE], defines or {})
    output = io.StringIO()
    texts = processor.included
    try:
        processor.parse(source, file)
        processor.write(output)
    except _PreprocessorError as error:
        where = error.file or file
        where = file if where == str(Path(file).absolute()) else where
        text = source if where == file else texts.get(where, "")
        lines = text.split("\n")
        line = lines[error.line - 1] if 0 < error.line <= len(lines) else ""
        column = max(0, line.find(error.needle)) if error.needle else len(line) - len(line.lstrip())
        length = len(error.needle) or max(1, len(line.strip()))
        place = Place(where, max(1, error.line), column + 1, length, line)
        hint = "Put it beside this file, or name its folder with -I." if error.needle else ""
        raise P4Error(str(error), place=place, hint=hint) from None
    return _with_lines(output.getvalue(), file, source, texts)


def _with_lines(output: str, file: str, source: str, included: Mapping[str, str]) -> Source:
    originals = {file: source.split("\n")}
    absolute = str(Path(file).absolute())
    where, number = file, 1
    lines: list[_Line] = []
    start = 0
    for text in output.split("\n"):
        if text.startswith("#line") and (marker := _LINE_MARKER.match(text)):
            number = int(marker[1])
            where = marker[2] or where
            where = file if where == absolute else where
            continue
        if where not in originals:
            originals[where] = included.get(where, "").split("\n")
        known = originals[where]
        original = known[number - 1].rstrip("\r") if 0 < number <= len(known) else text
        lines.append(_Line(start, where, number, text, original))
        start += len(text) + 1
        number += 1
    return Source("\n".join(each.text for each in lines), tuple(lines), tuple(each.start for each in lines))
