"""`midflight compile`: a Python file's program as P4, P4Info and wire schema."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["compile"]

EPILOG = """\b
Examples:
  midflight compile lab3.py                 writes lab3.p4, lab3.p4info.txtpb and lab3.wire.json here
  midflight compile lab3.py -o build
  midflight compile lab3.py -o build --program edge
  midflight compile lab3.py --profile asic  refuses what the pipeline of a switch ASIC cannot do
"""


@click.command(epilog=EPILOG)
@click.argument("file", metavar="FILE.py", type=click.Path(path_type=Path))
@click.option("-o", "--output", metavar="DIR", type=click.Path(path_type=Path), default=Path(), help="Where to write.")
@click.option("--program", "name", metavar="NAME", help="Which of the file's programs; `program` unless told.")
@click.option("--profile", metavar="NAME", help="Hold the kernels to the rules of a kind of pipeline, such as asic.")
@click.option("--json", "as_json", is_flag=True, help="Tell what was written as JSON.")
def compile(file: Path, output: Path, name: str | None, profile: str | None, as_json: bool) -> int:
    """Compile a Python file's program to P4_16, P4Info and wire schema.

    The file is run, and its module attribute `program` is compiled. Nothing is written where anything is wrong: with
    --profile every broken rule is told, with the lines that break it, and the exit status is 1.
    """
    import json

    from midflight.cli.output import write_files, write_json
    from midflight.cli.userfile import load_program
    from midflight.p4.frontend import check
    from midflight.p4.p4info import p4info, to_text
    from midflight.runtime.placement.rules import broken_rules

    program = load_program(file, name)
    source = program.p4()
    files = {
        "p4": output / f"{file.stem}.p4",
        "p4info": output / f"{file.stem}.p4info.txtpb",
        "schema": output / f"{file.stem}.wire.json",
    }
    checked = check(source, str(files["p4"]))
    if profile is not None and (broken := broken_rules(program, checked, profile)):
        for each in broken:
            click.echo(f"midflight: {each}", err=True)
        return 1
    texts = (source, to_text(p4info(checked)), json.dumps(program.schema(), indent=2) + "\n")
    write_files(dict(zip(files.values(), texts, strict=True)))
    if as_json:
        written = {what: str(path) for what, path in files.items()}
        write_json({**written, "applications": {key: each.id for key, each in program.applications.items()}}, "-")
    else:
        for path in files.values():
            click.echo(path)
    return 0
