"""Entry points of the front end: from P4_16 source to a typed program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4.bmv2json.emit import is_bmv2_json, to_p4
from midflight.p4.bounded import LARGEST
from midflight.p4.check.program import check_program
from midflight.p4.declarations import Program
from midflight.p4.parse import parse
from midflight.p4.prelude import split
from midflight.p4.preprocess import preprocess

__all__ = ["check", "check_file"]


def check(
    source: str,
    file: str = "<string>",
    include_dirs: Sequence[str | Path] = (),
    defines: Mapping[str, str] | None = None,
    *,
    confined: bool = False,
    runs: bool = True,
) -> ir.Program:
    """Check a v1model program, given as text, and return it as `ir.Program`.

    The text is P4_16, or BMv2's JSON, which is translated to P4 first. `file` names the source in messages, and quoted
    includes are searched for in its folder first, then in `include_dirs`. `defines` are macros with their values.
    `confined` is for untrusted sources: only Midflight's own core.p4 and v1model.p4 can be included. Without `runs`,
    most valid features that neither BMv2 nor our switch runs are accepted, as for a P4Info. Externs that v1model does
    not have cause a warning in either case (`ir.Program.foreign`). Raises P4Error for the first error or unsupported
    feature, with its place in the source.
    """
    if is_bmv2_json(source):
        source, file = to_p4(source, file), f"{file} as P4"
    parts = split(source, file, include_dirs, defines)
    if parts is None:
        expanded = preprocess(source, file, include_dirs, defines, confined=confined)
        checked = check_program(parse(expanded, file), source, runs=runs)
        return replace(checked, warnings=expanded.warnings + checked.warnings) if expanded.warnings else checked
    whole = Program(file, parts.declarations + parse(parts.rest, file).declarations)
    return check_program(whole, source, runs=runs)


def check_file(
    path: str | Path,
    include_dirs: Sequence[str | Path] = (),
    defines: Mapping[str, str] | None = None,
    *,
    runs: bool = True,
) -> ir.Program:
    """Read a file in UTF-8 with P4 or BMv2's JSON, check the program as `check` does, and return the typed program.

    Raises P4Error for the first mistake, with its place, and if the file cannot be read or is not UTF-8.
    """
    try:
        with Path(path).open(encoding="utf-8") as opened:
            source = opened.read(LARGEST + 1)  # enough for the preprocessor to find it too long
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
        raise P4Error(f"cannot read {path}: {reason}") from None
    return check(source, str(path), include_dirs, defines, runs=runs)
