"""The architecture's own files at the start of a program, parsed once for the whole process.

Nearly every program starts by including core.p4 and v1model.p4. If it has no other directives and uses no macros, its
text needs no preprocessor, and the declarations of the two files are the same each time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from midflight.p4.bounded import LARGEST
from midflight.p4.declarations import Declaration
from midflight.p4.parse import declared_types, parse
from midflight.p4.preprocess import Source, expand, plain

__all__ = ["Parts", "split"]

# Possessive, so that a long row of comments is read once.
_SPACE = re.compile(r"(?>\s+|//[^\n]*\n|/\*.*?\*/)*+", re.DOTALL)
_INCLUDE = re.compile(r"#[ \t]*include[ \t]*<(core|v1model)\.p4>[ \t]*\r?\n")
_WORD = re.compile(r"[A-Za-z_]\w*")
_BUILT_IN = frozenset(["__LINE__", "__FILE__", "__DATE__", "__TIME__", "__COUNTER__"])


@dataclass(frozen=True, slots=True)
class Parts:
    """A program in two parts: the declarations of the files that it includes first, and the text of the rest."""

    declarations: tuple[Declaration, ...]
    rest: Source


@dataclass(frozen=True, slots=True)
class _Prelude:
    """Included files: their declarations, the names of types in them, and the macros that they leave defined."""

    declarations: tuple[Declaration, ...]
    types: frozenset[str]
    macros: frozenset[str]


def split(
    source: str, file: str, include_dirs: Sequence[str | Path], defines: Mapping[str, str] | None
) -> Parts | None:
    """Return a program in two parts, which need no preprocessor; None if the program does need it.

    It does not if it starts by including core.p4, v1model.p4 or both, has no other `#`, uses no macro, is no longer
    than half of the preprocessor's limit and has no backslash or `??`, and if the user has given no folders or defines.
    The parameters are those of `check`.
    """
    if defines or include_dirs or "\\" in source or "??" in source or len(source) > LARGEST // 2:
        return None
    files: dict[str, None] = {}
    kept: list[str] = []
    done, at = 0, _after_space(source, 0)
    while found := _INCLUDE.match(source, at):
        files[found[1]] = None
        kept.append(source[done:at])
        done = found.end() - 1  # the end of the line stays
        at = _after_space(source, found.end())
    if not files or "#" in source[at:]:
        return None
    prelude = _prepare(tuple(files))
    if not prelude.macros.isdisjoint(_WORD.findall(source)):
        return None
    text = "".join([*kept, source[done:]])
    return Parts(prelude.declarations, plain(text, file, source, prelude.types))


def _after_space(source: str, at: int) -> int:
    """Return the offset after white space and comments."""
    found = _SPACE.match(source, at)
    assert found is not None
    return found.end()


@cache
def _prepare(files: tuple[str, ...]) -> _Prelude:
    """Parse included files, at most four combinations. The process keeps them, like the parser's tables."""
    source, macros = expand("".join(f"#include <{each}.p4>\n" for each in files), "<included>")
    return _Prelude(parse(source, "<included>").declarations, declared_types(source), macros | _BUILT_IN)
