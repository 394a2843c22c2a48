"""Preprocessor: expands includes and macros with pcpp, and keeps each character's place in the source."""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from midflight.errors import P4Error, P4Warning, Place
from midflight.p4.bounded import INCLUDE, Preprocessor, PreprocessorError

__all__ = ["Line", "Source", "expand", "plain", "preprocess"]

_LINE_MARKER = re.compile(r'#line\s+(\d+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*$')


@dataclass(frozen=True, slots=True)
class Line:
    """A line of preprocessed text with its origin: file, line number (from 1) and original text.

    `start` is its offset in the preprocessed text. `bare` is the original without comments, in the same columns, and
    the same object as `text` where no macro changed the line. `before` and `after` count the characters at the ends of
    `text` that are the same as in `bare`.
    """

    start: int
    file: str
    number: int
    text: str
    original: str
    bare: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Source:
    """Preprocessed text without line markers, with the origin of each line.

    `starts` are the offsets of the lines in the text. `types` are the names of types that are declared before the text,
    and `warnings` are those of the preprocessor.
    """

    text: str
    lines: tuple[Line, ...]
    starts: tuple[int, ...] = field(repr=False)
    types: frozenset[str] = frozenset()
    warnings: tuple[P4Warning, ...] = ()

    def place(self, start: int, end: int) -> Place:
        """Return the place in the original source of the offsets `start` to `end` (exclusive) of the preprocessed text.

        At most the first line is covered. Text that a macro produced has the place of the macro's use.
        """
        line = self.lines[max(0, bisect_right(self.starts, start) - 1)]
        begin = start - line.start
        finish = min(max(end, start + 1) - line.start, max(len(line.text), begin + 1))
        if line.text is not line.bare:
            begin, finish = _unexpanded(line, begin, finish)
        return Place(line.file, line.number, begin + 1, max(1, finish - begin), line.original)


def _unchanged(new: str, old: str) -> tuple[int, int]:
    """Return the lengths of the common prefix and the common suffix of two lines, which do not overlap."""
    shortest = min(len(new), len(old))
    if new == old:
        return shortest, 0
    before = next((i for i in range(shortest) if new[i] != old[i]), shortest)
    limit = shortest - before
    return before, next((i for i in range(limit) if new[-1 - i] != old[-1 - i]), limit)


def _unexpanded(line: Line, begin: int, finish: int) -> tuple[int, int]:
    """Map columns of a line with expanded macros to the original line.

    Text before and after the expansions keeps its column. Text that a macro produced maps to the macro's use.
    """
    new, old = line.text, line.bare
    before, after = line.before, line.after
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


def preprocess(
    source: str,
    file: str = "<string>",
    include_dirs: Sequence[str | Path] = (),
    defines: Mapping[str, str] | None = None,
    *,
    confined: bool = False,
) -> Source:
    """Expand the includes and macros of a program, and return its text with the origin of each line.

    Quoted includes are searched for in the folder of the including file, in those of the files that include it (from
    the inside out), and then, like those in angle brackets, in `include_dirs` and last in Midflight's own folder. With
    `confined`, for untrusted sources, only the last is searched. `defines` are macros with their values.

    Raises P4Error for an include that is missing or cannot be read, `#error`, an unclosed comment, an invalid
    directive, and a source beyond the limits in bounded.py.
    """
    return expand(source, file, include_dirs, defines, confined=confined)[0]


def expand(
    source: str,
    file: str,
    include_dirs: Sequence[str | Path] = (),
    defines: Mapping[str, str] | None = None,
    *,
    confined: bool = False,
) -> tuple[Source, frozenset[str]]:
    """Expand the includes and macros of a program, and return (text, names of the macros defined at the end).

    The parameters are those of `preprocess`, and the text has the origin of each line. P4Error for a missing include,
    an invalid directive, and a source beyond the limits in bounded.py.
    """
    folders = [] if confined else [Path(each) for each in include_dirs]
    processor = Preprocessor([*folders, INCLUDE], defines or {}, confined=confined)
    output = io.StringIO()
    texts = processor.included
    try:
        try:
            processor.parse(processor.take(source, file), file)
            processor.write(output)
        except (IndexError, AttributeError) as error:  # raised by pcpp for an incomplete directive
            last = processor.directive
            at = (last.source, last.lineno) if last else (file, 1)
            raise PreprocessorError("this directive is incomplete", at[0], at[1], "") from error
    except PreprocessorError as error:
        place = _line_place(error.file or file, error.line, file, source, texts, error.needle)
        missing = error.needle and str(error).startswith("there is no file")
        hint = "Move it to this file's folder, or add its folder with -I." if missing else ""
        raise P4Error(str(error), place=place, hint=hint) from None
    warnings = [P4Warning(text, _line_place(where, line, file, source, texts)) for where, line, text in processor.notes]
    found = _with_lines(output.getvalue(), file, source, texts, processor.blanked)
    return replace(found, warnings=tuple(warnings)), frozenset(processor.macros)


def _line_place(where: str, number: int, file: str, source: str, texts: Mapping[str, str], needle: str = "") -> Place:
    """Return the place of a line, or of `needle` in it. `where` is the preprocessor's name of the file."""
    where = file if Path(where).resolve() == Path(file).resolve() else where
    lines = (source if where == file else texts.get(where, "")).split("\n")
    line = lines[number - 1] if 0 < number <= len(lines) else ""
    column = max(0, line.find(needle)) if needle else len(line) - len(line.lstrip())
    length = len(needle) or max(1, len(line.strip()))
    return Place(where, max(1, number), column + 1, length, line)


def plain(text: str, file: str, source: str, types: frozenset[str]) -> Source:
    """Return the Source of a text that needs no preprocessor, for example because its includes were cut out.

    `source` is the original, with as many lines, to be shown in messages. `types` are the names of types that are
    declared before the text.
    """
    lines: list[Line] = []
    start = 0
    for number, (each, original) in enumerate(zip(text.split("\n"), source.split("\n"), strict=True), 1):
        # Equal lines are the same object, so that comparing them need not look at each character.
        same = original if each == original else each
        lines.append(Line(start, file, number, same, original, same, len(each), 0))
        start += len(each) + 1
    return Source(text, tuple(lines), tuple(each.start for each in lines), types)


def _with_lines(output: str, file: str, source: str, included: Mapping[str, str], blanked: Mapping[str, str]) -> Source:
    originals = {file: (source.split("\n"), blanked[file].split("\n"))}
    own = Path(file).resolve()
    where, number = file, 1
    lines: list[Line] = []
    start = 0
    for text in output.split("\n"):
        if text.startswith("#line") and (marker := _LINE_MARKER.match(text)):
            number = int(marker[1])
            where = marker[2] or where
            where = file if Path(where).resolve() == own else where
            continue
        if where not in originals:
            originals[where] = included.get(where, "").split("\n"), blanked.get(where, "").split("\n")
        known, without = originals[where]
        original = known[number - 1].rstrip("\r") if 0 < number <= len(known) else text
        bare = without[number - 1].rstrip() if 0 < number <= len(without) else text
        same = bare if text == bare else text
        lines.append(Line(start, where, number, same, original, bare, *_unchanged(text, bare)))
        start += len(text) + 1
        number += 1
    return Source("\n".join(each.text for each in lines), tuple(lines), tuple(each.start for each in lines))
