"""`midflight compile`: a program as P4, with all that goes with it, from a Python file or the library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from midflight.primitives import Program
    from midflight.runtime.checked import CheckedProgram

__all__ = ["compile"]

EPILOG = """\b
Examples:
  midflight compile lab3.py                 prints the P4
  midflight compile lab3.py -o build        writes lab3.p4, lab3.p4info.txtpb, lab3.wire.json ... to build
  midflight compile lab3.py -o build --program edge
  midflight compile aggregate --set workers=8 --set lanes=32 -o build
                                            a primitive of the library: see midflight primitives
  midflight compile lab3.py --explain       each line of the kernels with the P4 it became
  midflight compile lab3.py --profile asic  refuses what the pipeline of a switch ASIC cannot do

\b
With -o, lab3.py becomes:
  lab3.p4            P4_16 for v1model       lab3.p4info.txtpb  its P4Info
  lab3.wire.json     the wire schema         lab3.html          a page with a picture of the pipeline
  lab3.lua           a Wireshark dissector   lab3_scapy.py      scapy layers
"""


@click.command(epilog=EPILOG)
@click.argument("source", metavar="FILE.py|NAME")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write everything to this folder, instead of printing the P4.",
)
@click.option("--program", "name", metavar="NAME", help="Which of the file's programs; `program` unless told.")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="A parameter of a library's primitive.")
@click.option("--profile", metavar="NAME", help="Hold the kernels to the rules of a kind of pipeline, such as asic.")
@click.option("--explain", is_flag=True, help="Write nothing; print each source line with the P4 that it became.")
@click.option("--json", "as_json", is_flag=True, help="Print what -o wrote as JSON.")
def compile(
    source: str,
    output: Path | None,
    name: str | None,
    settings: tuple[str, ...],
    profile: str | None,
    explain: bool,
    as_json: bool,
) -> int:
    """Compile a Python file's program, or a primitive of the library, to P4_16.

    Prints the P4; with -o, writes it and all that goes with it to a folder. A file is run, and its module attribute
    `program` is compiled. Nothing is printed or written where anything is wrong: with --profile every broken rule is
    told, with the lines that break it, and the exit status is 1.
    """
    from midflight.cli.output import write_files, write_json
    from midflight.runtime.checked import CheckedProgram
    from midflight.runtime.placement.rules import broken_rules

    if as_json and (explain or output is None):
        raise click.UsageError("--json tells what -o DIR writes: give -o, and not --explain")
    program, stem = _program(source, name, settings)
    checked = CheckedProgram(program.p4(), str((output or Path()) / f"{stem}.p4"))
    _ = checked.p4info  # nothing is written where anything is wrong
    if profile is not None and (broken := broken_rules(program, checked, profile)):
        for each in broken:
            click.echo(f"midflight: {each}", err=True)
        return 1
    if explain:
        _explain(program)
        return 0
    if output is None:
        click.echo(checked.text, nl=False)
        return 0
    files = _files(program, checked, output, stem)
    write_files(dict(files.values()))
    if as_json:
        written = {what: str(path) for what, (path, _) in files.items()}
        write_json({**written, "applications": {key: each.id for key, each in program.applications.items()}}, "-")
    else:
        for path, _ in files.values():
            click.echo(path)
    return 0


def _program(source: str, name: str | None, settings: tuple[str, ...]) -> tuple[Program, str]:
    """Return the program that is asked for, and what its files are called."""
    from midflight.cli.userfile import load_program
    from midflight.errors import MidflightError

    path = Path(source)
    if path.suffix == ".py" or path.exists():
        if settings:
            raise MidflightError("--set is for primitives of the library", hint="in a file, write the parameters there")
        return load_program(path, name), path.stem
    from midflight.primitives import Program
    from midflight.primitives.catalogue import instance

    pairs = {}
    for each in settings:
        key, equals, value = each.partition("=")
        if not equals:
            raise click.BadParameter(f"{each!r} is not KEY=VALUE", param_hint="--set")
        pairs[key] = value
    primitive = instance(source, pairs)
    return Program(primitive), primitive.name


def _files(program: Program, checked: CheckedProgram, output: Path, stem: str) -> dict[str, tuple[Path, str]]:
    import json

    from midflight.p4.p4info import to_text
    from midflight.primitives.exports.dissector import dissector
    from midflight.primitives.exports.page import page
    from midflight.primitives.exports.scapyfile import scapy_file

    schema = program.schema()
    return {
        "p4": (output / f"{stem}.p4", checked.text),
        "p4info": (output / f"{stem}.p4info.txtpb", to_text(checked.p4info)),
        "schema": (output / f"{stem}.wire.json", json.dumps(schema, indent=2) + "\n"),
        "page": (output / f"{stem}.html", page(program, checked.program, stem)),
        "dissector": (output / f"{stem}.lua", dissector(schema)),
        "scapy": (output / f"{stem}_scapy.py", scapy_file(schema)),
    }


def _explain(program: Program) -> None:
    from midflight.primitives.explain import explain

    shown = 12  # lines of P4 that one of the source may take: what lanes repeat is enough once
    where = ("", "")
    for each in explain(program):
        if where != (each.application, each.file):
            where = each.application, each.file
            click.secho(f"{each.application}: {each.file}", bold=True)
        click.echo(f"{each.number:>5}  {each.text}")
        for line in each.p4[:shown]:
            click.secho(f"       {line.number:>5}  {line.text}", fg="cyan")
        if len(each.p4) > shown:
            click.secho(f"              ... and {len(each.p4) - shown} lines more like these", fg="cyan")
