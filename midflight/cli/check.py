"""`midflight check`: diagnostics of a P4 program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from midflight.cli.options import defines, p4_options

if TYPE_CHECKING:
    from midflight.errors import P4Error, P4Warning

__all__ = ["check"]

EPILOG = """\b
Examples:
  midflight check prog.p4
  midflight check prog.p4 -I include -D WORKERS=8
  midflight check prog.p4 --json            for editors: file, line and column of each diagnostic
"""


@click.command(epilog=EPILOG)
@p4_options
@click.option("--json", "as_json", is_flag=True, help="Print the diagnostics as JSON.")
def check(file: Path, include_dirs: tuple[Path, ...], definitions: tuple[str, ...], as_json: bool) -> int:
    """Check a P4_16 program for v1model.

    Each diagnostic shows file, line, column and a caret. The exit status is 1 if there is an error, and 0 if there are
    only warnings.
    """
    from midflight.cli.output import write_json
    from midflight.errors import P4Error
    from midflight.p4.frontend import check as check_source
    from midflight.p4.p4info import p4info
    from midflight.runtime.engine.pipeline import lower_program
    from midflight.userfiles import read_text

    source = read_text(file)
    try:
        program = check_source(source, str(file), include_dirs, defines(definitions))
        p4info(program)
        if not program.foreign:  # an error would hide the warnings about these externs
            lower_program(program)  # what the embedded switch refuses is refused here
    except P4Error as error:
        if not as_json:
            raise
        write_json({"file": str(file), "ok": False, "diagnostics": [_diagnostic("error", error)]}, "-")
        return 1
    if as_json:
        write_json(
            {"file": str(file), "ok": True, "diagnostics": [_diagnostic("warning", each) for each in program.warnings]},
            "-",
        )
    else:
        for each in program.warnings:
            click.echo(str(each), err=True)
        what = {"table": len(program.tables), "action": len(program.actions), "extern": len(program.instances)}
        counts = ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in what.items())
        number = len(program.warnings)
        warnings = f", {number} warning{'' if number == 1 else 's'}" if number else ""
        click.echo(f"{file}: no errors{warnings} ({counts})")
    return 0


def _diagnostic(severity: str, found: P4Error | P4Warning) -> dict[str, object]:
    place = found.place
    return {
        "severity": severity,
        "file": place.file if place else None,
        "line": place.line if place else None,
        "column": place.column if place else None,
        "length": place.length if place else None,
        "message": found.message,
        "hint": found.hint,
    }
