"""`midflight fit`: what a program takes of a device, stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from midflight.cli.options import SvgFile, json_file_option, writable

if TYPE_CHECKING:
    from rich.console import Console

    from midflight.primitives import Program
    from midflight.runtime.checked import CheckedProgram
    from midflight.runtime.fit import Fit
    from midflight.runtime.fit.barefoot import Allocation
    from midflight.runtime.fit.sizes import Change

__all__ = ["fit"]

EPILOG = """\b
Examples:
  midflight fit lab3.py --device tofino             a table of what each stage holds
  midflight fit lab3.py --device mine.toml          a sheet of your own
  midflight fit aggregate --set workers=8 --set lanes=16 --set slots=max --device tofino2
                                                    the largest number of slots that fits
  midflight fit lab3.py --device tofino2 --with p4c-barefoot
                                                    p4c's allocation beside the estimate
  midflight fit prog.p4 --picture stages.svg        a picture, and any P4 program for v1model
"""


@click.command(epilog=EPILOG)
@click.argument("source", metavar="FILE.py|FILE.p4|NAME")
@click.option(
    "--device",
    "--sheet",
    "device",
    metavar="SHEET",
    default="tofino",
    show_default=True,
    help="The capability sheet: a name such as tofino or tofino2, or a TOML file.",
)
@click.option("--program", "name", metavar="NAME", help="The program, if the file has several.  [default: program]")
@click.option(
    "--set", "settings", metavar="KEY=VALUE", multiple=True, help="A parameter of a primitive of the library."
)
@click.option(
    "--with",
    "compiler",
    type=click.Choice(["p4c-barefoot"]),
    help="Also compile the program with p4c's Tofino back end, and show what it allocates beside the estimate.",
)
@json_file_option("costs")
@click.option(
    "--picture",
    metavar="FILE.svg",
    type=SvgFile(),
    callback=writable,
    help="Save a picture of the stages, as SVG.",
)
def fit(
    source: str,
    device: str,
    name: str | None,
    settings: tuple[str, ...],
    compiler: str | None,
    json_to: str | None,
    picture: Path | None,
) -> int:
    """Show what a program takes of a device, and whether it fits.

    Assigns the tables, registers and computations of the program to the fewest pipeline stages, within what the
    device's sheet says a stage has. If the program does not fit, the exit status is 1, and the messages say what it
    needs, where in the source, and which parameter would make it fit. A parameter with the value "max" gets the largest
    power of two that fits; values above 1,048,576 (2^20) are not tried.

    With --with p4c-barefoot, the exit status is that of the compiler: 1 if it refuses the program, whose messages are
    then printed. It needs p4lang/p4c built with its Tofino back end.
    """
    from midflight.cli.output import write_files, write_json
    from midflight.cli.terminal import console_beside
    from midflight.runtime.checked import CheckedProgram
    from midflight.runtime.devices import load_sheet
    from midflight.runtime.fit import fit as measure
    from midflight.runtime.fit.drawing import stages
    from midflight.runtime.fit.sizes import advice, with_largest

    sheet = load_sheet(device)
    program, checked = _program(source, name, settings)
    chosen: tuple[Change, ...] = ()
    changes: tuple[Change, ...] = ()

    def made(each: Program) -> CheckedProgram:
        return CheckedProgram(each.p4(), checked.file)

    if program is not None and any(each.primitive.largest for each in program.applications.values()):
        program, chosen = with_largest(program, sheet, made)
        checked = made(program)
    found = measure(checked, sheet)
    if program is not None and not found.fits:
        changes = advice(program, found, made)
    console = console_beside(json_to)
    _print(found, program, chosen, changes, console)
    allocated = None if compiler is None else _allocated(found, program, console)
    if picture is not None:
        write_files({picture: stages(found)})
        console.print(f"Picture: {picture}", soft_wrap=True)
    if json_to:
        listed = [
            {"application": each.application, "parameter": each.parameter, "now": each.now, "fits": each.fits}
            for each in changes
        ]
        largest = {f"{each.application}.{each.parameter}": each.fits for each in chosen}
        compiled = {} if allocated is None else {"compiler": allocated.json()}
        write_json({**found.json(), "largest": largest, "changes": listed, **compiled}, json_to)
    return 0 if found.fits or allocated is not None else 1


def _allocated(found: Fit, program: Program | None, console: Console) -> Allocation:
    """Compile a program for the chip of the sheet, and print what the compiler allocates beside the estimate."""
    from midflight.cli.terminal import table
    from midflight.runtime.fit.barefoot import COMPILER, TARGETS, allocate

    chips = {target: architecture for architecture, target in TARGETS.items()}
    if program is None:
        raise click.UsageError(f"--with {COMPILER} is for primitives and Python files, not for P4 of v1model")
    if found.device not in chips:
        raise click.UsageError(f"--with {COMPILER} is for --device {' and '.join(chips)}, not {found.device}")
    allocated = allocate(program.p4(arch=chips[found.device]), chips[found.device])
    made = table(console, f"{COMPILER} beside the estimate", ("", COMPILER, "estimate"))
    made.add_row("stages", str(allocated.stages), str(found.stages))
    for resource, words in (("sram", "SRAM blocks"), ("tcam", "TCAM blocks"), ("register", "stateful ALUs")):
        made.add_row(words, f"{allocated.total(resource):,}", f"{found.total(resource):,}")
    if allocated.header_vector is not None:
        made.add_row("header vector, bits", f"{allocated.header_vector:,}", f"{found.vector.bits:,}")
    console.print(made)
    return allocated


def _program(source: str, name: str | None, settings: tuple[str, ...]) -> tuple[Program | None, CheckedProgram]:
    from midflight.cli.compile import program_of
    from midflight.runtime.checked import CheckedProgram
    from midflight.userfiles import read_text

    if Path(source).suffix == ".p4":
        if settings or name is not None:
            raise click.UsageError("--set and --program are for primitives and Python files")
        return None, CheckedProgram(read_text(Path(source)), source)
    if Path(source).suffix not in ("", ".py"):
        raise click.UsageError(f"{source!r} is not FILE.py, FILE.p4 or a primitive; see midflight primitives")
    program, stem = program_of(source, name, settings)
    return program, CheckedProgram(program.p4(), f"{stem}.p4")


def _print(
    found: Fit, program: Program | None, chosen: tuple[Change, ...], changes: tuple[Change, ...], console: Console
) -> None:
    from midflight.cli.terminal import table
    from midflight.primitives.kernel.primitive import LARGEST
    from midflight.runtime.devices.capabilities import RESOURCES
    from midflight.runtime.fit.source import place_of

    limit = f" of {found.sheet.stages}" if found.sheet.stages is not None else ""
    proof = "" if found.optimal else ", perhaps fewer"
    shown = [each for each in RESOURCES if each in found.sheet.per_stage and found.total(each)]
    if found.sheet.stages is not None:
        words = ("stage", *(each.replace("_", " ") for each in shown), "operations")
        made = table(console, f"{found.stages}{limit} stages on {found.device}{proof}", words)
        for number, used in enumerate(found.used, 1):
            here = [each for each in found.placed if each.first <= number <= each.last]
            amounts = (f"{used.get(each, 0):,}/{found.sheet.per_stage[each]:,}" for each in shown)
            made.add_row(str(number), *amounts, str(len(here)))
        console.print(made)
    else:
        console.print(f"{found.device} has no pipeline stages: a packet passes {len(found.placed)} operations")
    vector, room = found.vector, found.sheet.header_vector_bits
    console.print(
        f"Header vector: {vector.bits:,}{f' of {room:,}' if room else ''} bits"
        f" ({vector.header_bits:,} of headers, {vector.metadata_bits:,} of metadata)",
        soft_wrap=True,
    )
    console.print(
        f"Parser: {found.parser.transitions} transitions of {found.parser.states} states, {found.parser.bits:,} bits",
        soft_wrap=True,
    )
    if found.critical and found.sheet.stages is not None:
        console.print(f"Longest chain: {' -> '.join(found.critical)}", soft_wrap=True, markup=False)
    for each in chosen:
        largest = "is tried" if each.fits == LARGEST else "fits"
        console.print(
            f"{each.application}: {each.parameter} = {each.fits:,} is the largest that {largest}", soft_wrap=True
        )
    for problem in found.problems:
        place = place_of(program, problem) if program is not None else problem.place
        console.print(f"{f'{place}: ' if place else ''}{problem}", soft_wrap=True, markup=False)
        if place and (caret := place.caret()):
            console.print(caret, soft_wrap=True, markup=False)
    for change in changes:
        console.print(f"It fits with {change}", soft_wrap=True)
    console.print("It fits." if found.fits else "It does not fit.")
