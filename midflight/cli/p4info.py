"""`midflight p4info`: write the P4Info of a P4 program."""

from __future__ import annotations

from pathlib import Path

import click

from midflight.cli.options import defines, p4_options

__all__ = ["p4info"]

EPILOG = """\b
Examples:
  midflight p4info prog.p4
  midflight p4info prog.p4 -o build/prog.p4info.txtpb
"""


@click.command(epilog=EPILOG)
@p4_options
@click.option("-o", "--output", metavar="FILE", default="-", help="The output file; - is standard output.")
def p4info(file: Path, include_dirs: tuple[Path, ...], definitions: tuple[str, ...], output: str) -> None:
    """Write a P4 program's P4Info in protobuf's text format. Its ids are the same as p4c's.

    The program may use externs that the embedded switch does not have. Fails, with the place, if it is not valid P4.
    """
    from midflight.cli.output import write_files
    from midflight.p4.frontend import check
    from midflight.p4.p4info import p4info as p4info_of
    from midflight.p4.p4info import to_text
    from midflight.userfiles import read_text

    text = to_text(p4info_of(check(read_text(file), str(file), include_dirs, defines(definitions), runs=False)))
    if output == "-":
        click.echo(text, nl=False)
    else:
        write_files({Path(output): text})
