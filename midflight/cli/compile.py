"""`midflight compile`: compile a Python file's program, or a primitive of the library, to P4 and related files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from midflight.cli.options import writable_folder

if TYPE_CHECKING:
    from midflight.primitives import Program
    from midflight.runtime.checked import CheckedProgram

__all__ = ["compile", "program_of"]

EPILOG = """\b
Examples:
  midflight compile lab3.py                 print the P4
  midflight compile lab3.py -o build        write lab3.p4, lab3.p4info.txtpb, lab3.wire.json ... to build
  midflight compile lab3.py -o build --program edge
  midflight compile aggregate --set workers=8 --set lanes=32 -o build
                                            a primitive of the library: see midflight primitives
  midflight compile lab3.py --explain       show each line of the kernels with the P4 that it became
  midflight compile lab3.py --arch tna      print the P4 for Tofino
  midflight compile lab3.py --profile asic  also reject what the pipeline of a switch ASIC cannot do

\b
With -o, lab3.py is compiled to:
  lab3.p4            P4_16 for v1model       lab3.p4info.txtpb  its P4Info
  lab3.wire.json     the wire schema         lab3.html          a page with a picture of the pipeline
  lab3.lua           a Wireshark dissector   lab3_scapy.py      scapy layers
  For other architectures than v1model there are no P4Info and no page.
"""


@click.command(epilog=EPILOG)
@click.argument("source", metavar="FILE.py|NAME")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    callback=writable_folder,
    help="Write all files to this folder, instead of printing the P4.",
)
@click.option("--program", "name", metavar="NAME", help="The program, if the file has several.  [default: program]")
@click.option(
    "--set", "settings", metavar="KEY=VALUE", multiple=True, help="A parameter of a primitive of the library."
)
@click.option("--profile", metavar="NAME", help="Also check the kernels against the rules of a pipeline, such as asic.")
@click.option(
    "--arch",
    type=click.Choice(["v1model", "tna", "t2na"]),
    default="v1model",
    show_default=True,
    help="The P4 architecture: v1model, or that of Tofino (tna) or Tofino 2 (t2na).",
)
@click.option("--explain", is_flag=True, help="Print each source line with the P4 that it became; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the paths of the files that -o writes as JSON.")
def compile(
    source: str,
    output: Path | None,
    name: str | None,
    settings: tuple[str, ...],
    profile: str | None,
    arch: str,
    explain: bool,
    as_json: bool,
) -> int:
    """Compile a Python program, or a library primitive, to P4_16.

    Prints the P4, or with -o writes it and related files to a folder. A Python file is executed, and the Program in its
    global variable `program`, or its only Program, is compiled; --program names another. In case of errors, nothing is
    written. With --profile, if the program violates its rules, these are printed with the lines that violate them, and
    the exit status is 1.
    """
    from midflight.cli.output import write_files, write_json
    from midflight.runtime.checked import CheckedProgram
    from midflight.runtime.placement.rules import broken_rules

    if as_json and (explain or output is None):
        raise click.UsageError("--json prints what -o DIR writes: use it with -o and without --explain")
    program, stem = program_of(source, name, settings)
    text = program.p4(arch=arch)
    checked = CheckedProgram(program.p4(), str((output or Path()) / f"{stem}.p4"))
    _ = checked.p4info  # raises errors before anything is written
    if profile is not None and (broken := broken_rules(program, checked, profile)):
        for each in broken:
            click.echo(f"midflight: {each}", err=True)
        return 1
    if explain:
        _explain(program, arch)
        return 0
    if output is None:
        click.echo(text, nl=False)
        return 0
    files = _files(program, checked if arch == "v1model" else text, output, stem)
    write_files(dict(files.values()))
    if as_json:
        written = {what: str(path) for what, (path, _) in files.items()}
        write_json({**written, "applications": {key: each.id for key, each in program.applications.items()}}, "-")
    else:
        for path, _ in files.values():
            click.echo(path)
    return 0


def program_of(source: str, name: str | None, settings: tuple[str, ...]) -> tuple[Program, str]:
    """Return the program in a Python file, or of a library primitive, and the stem of its files' names.

    MidflightError if there is no such program, or if a setting does not fit; BadParameter if one is not KEY=VALUE.
    """
    from midflight.cli.userfile import load_program
    from midflight.errors import MidflightError

    path = Path(source)
    if path.suffix == ".py" or path.exists():
        if settings:
            raise MidflightError(
                "--set is only for primitives of the library", hint="change the parameters in the file instead"
            )
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


def _files(program: Program, checked: CheckedProgram | str, output: Path, stem: str) -> dict[str, tuple[Path, str]]:
    """Return the paths and contents of all files. `checked` is the text of P4 for other architectures than v1model."""
    import json

    from midflight.p4.p4info import to_text
    from midflight.primitives.exports.dissector import dissector
    from midflight.primitives.exports.page import page
    from midflight.primitives.exports.scapyfile import scapy_file

    schema = program.schema()
    files = {"p4": (output / f"{stem}.p4", checked if isinstance(checked, str) else checked.text)}
    if not isinstance(checked, str):
        files["p4info"] = (output / f"{stem}.p4info.txtpb", to_text(checked.p4info))
    files["schema"] = (output / f"{stem}.wire.json", json.dumps(schema, indent=2) + "\n")
    if not isinstance(checked, str):
        files["page"] = (output / f"{stem}.html", page(program, checked.program, stem))
    if program.applications:  # a program that only steers has no messages of its own
        files["dissector"] = (output / f"{stem}.lua", dissector(schema))
        files["scapy"] = (output / f"{stem}_scapy.py", scapy_file(schema))
    return files


def _explain(program: Program, arch: str) -> None:
    from midflight.primitives.explain import explain

    shown = 12  # lines of P4 for each source line; more are repetitions for further lanes
    where = ("", "")
    for each in explain(program, arch=arch):
        if where != (each.application, each.file):
            where = each.application, each.file
            click.secho(f"{each.application}: {each.file}", bold=True)
        click.echo(f"{each.number:>5}  {each.text}")
        for line in each.p4[:shown]:
            click.secho(f"       {line.number:>5}  {line.text}", fg="cyan")
        if len(each.p4) > shown:
            click.secho(f"              ... and {len(each.p4) - shown} more lines like these", fg="cyan")
