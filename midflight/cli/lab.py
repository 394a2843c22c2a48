"""`midflight lab`: course labs that grade themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from midflight.labs.catalogue import Lab
    from midflight.labs.grading import Grade

__all__ = ["lab"]

PRACTICE = 1
"""The seed of `check`, which students know."""

EPILOG = """\b
Examples:
  midflight lab list
  midflight lab start forwarding            a folder with the text and a starter
  midflight lab check forwarding            run the tests on your files
  midflight lab hint forwarding --number 2
  midflight lab grade submissions/ada --lab forwarding --seed 7351 --out ada.json
  midflight lab export --students handout/  everything but solutions and tests
"""

folder_argument = click.argument(
    "folder", metavar="[DIR]", type=click.Path(path_type=Path, exists=True, file_okay=False), default=Path()
)
lab_option = click.option("--lab", "name", metavar="NAME", help="The lab; by default, that of DIR.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(epilog=EPILOG)
def lab() -> None:
    """Work on course labs, check them, and grade them.

    A lab has a text, a starter, hints, tests and a reference solution. All of it runs on the embedded switch in this
    computer, without root and without a network. docs/labs.md has more for instructors.
    """


@lab.command("list", epilog="\b\nExample:\n  midflight lab list --json | jq '.labs[].name'")
@json_option
def list_(as_json: bool) -> None:
    """List all labs, in the order of a course, with level, minutes and summary."""
    from midflight.cli.output import write_json
    from midflight.cli.terminal import console_beside, table
    from midflight.labs.catalogue import labs

    found = labs()
    if as_json:
        fields = ("name", "title", "summary", "level", "minutes", "files")
        write_json({"labs": [{name: getattr(each, name) for name in fields} for each in found]}, "-")
        return
    console = console_beside(None)
    rows = table(console, "", ("lab", "level", "minutes", ""))
    rows.columns[1].justify = rows.columns[3].justify = "left"
    for each in found:
        rows.add_row(each.name, each.level, str(each.minutes), each.summary)
    console.print(rows)


@lab.command(epilog="\b\nExamples:\n  midflight lab start forwarding\n  midflight lab start forwarding lab1/")
@click.argument("name")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), required=False)
def start(name: str, folder: Path | None) -> None:
    """Create a folder for a lab, with its text and a starter that runs.

    DIR is the name of the lab by default. Fails, without writing, if one of the files exists already.
    """
    from midflight.cli.output import write_files
    from midflight.errors import MidflightError
    from midflight.labs.catalogue import find_lab
    from midflight.labs.workspace import workspace

    found = find_lab(name)
    folder = folder or Path(name)
    files = {folder / each: text for each, text in workspace(found).items()}
    if there := [each for each in files if each.exists()]:
        raise MidflightError(f"{there[0]}: exists already", hint="choose another folder: midflight lab start NAME DIR")
    write_files(files)
    click.echo(f"{found.title}: read {folder / 'README.md'}")
    click.echo(f"Edit {', '.join(str(folder / each) for each in found.files)}; then: midflight lab check {folder}")


@lab.command(epilog="\b\nExamples:\n  midflight lab check\n  midflight lab check forwarding --json")
@folder_argument
@lab_option
@json_option
def check(folder: Path, name: str | None, as_json: bool) -> int:
    """Run a lab's tests on your files, and show what is wrong.

    The tests are those of the grade, with other packets. The exit status is 0 with all points, and 1 otherwise.
    """
    from midflight.cli.output import write_json
    from midflight.cli.terminal import console_beside
    from midflight.labs.reports import summary
    from midflight.labs.student import Isolation

    console = console_beside("-" if as_json else None)
    result = _grade(folder, name, PRACTICE, Isolation.PROCESS, console)
    if as_json:
        write_json(summary(result), "-")
    else:
        _print(result, console)
    return 0 if result.points == result.most else 1


@lab.command(
    epilog="\b\nExamples:\n"
    "  midflight lab grade ada/ --lab forwarding --seed 7351 --out ada.json\n"
    "  midflight lab grade . --lab ecmp --seed 9 --out /autograder/results/results.json --format gradescope"
)
@folder_argument
@lab_option
@click.option("--seed", metavar="N", type=click.IntRange(0), envvar="MIDFLIGHT_LAB_SEED", required=True,
              help="The seed of the hidden packets. MIDFLIGHT_LAB_SEED sets it, too.")  # fmt: skip
@click.option("--out", metavar="FILE", required=True, help="The file for the results; - is standard output.")
@click.option("--format", "form", type=click.Choice(["json", "gradescope", "otter", "nbgrader"]), default="json",
              show_default=True, help="The form of the results.")  # fmt: skip
@click.option("--student", metavar="ID", default="", help="The student's id, for otter and nbgrader.")
@click.option(
    "--unconfined", is_flag=True, help="Run a submission's Python even if this system cannot confine its process."
)
def grade(folder: Path, name: str | None, seed: int, out: str, form: str, student: str, unconfined: bool) -> None:
    """Grade a submission with hidden packets, and write the results.

    The same seed gives the same file. A submission runs in a process of its own, which has neither the tests nor the
    seed. The exit status does not depend on the points.
    """
    from midflight.cli.output import check_writable, write_files
    from midflight.cli.terminal import console_beside
    from midflight.labs.reports import report
    from midflight.labs.student import Isolation

    check_writable(out)
    console = console_beside("-" if out == "-" else None)
    result = _grade(folder, name, seed, Isolation.PROCESS if unconfined else Isolation.REQUIRED, console)
    text = report(result, form, student)
    if out == "-":
        click.echo(text, nl=False)
    else:
        write_files({Path(out): text})
        console.print(f"{result.lab}: {result.points} of {result.most} points, written to {out}", soft_wrap=True)


@lab.command(epilog="\b\nExamples:\n  midflight lab hint forwarding\n  midflight lab hint forwarding --number 3")
@click.argument("name")
@click.option("--number", metavar="N", type=click.IntRange(1), default=1, show_default=True, help="Which hint.")
def hint(name: str, number: int) -> None:
    """Print a hint of a lab, by default the first.

    Fails if the lab has fewer hints than N.
    """
    from midflight.errors import MidflightError
    from midflight.labs.catalogue import find_lab

    hints = find_lab(name).hints
    if number > len(hints):
        raise MidflightError(f"{name} has {len(hints)} hints", hint="the last step is `midflight lab solution`")
    click.echo(hints[number - 1])
    if number < len(hints):
        click.echo(f"\nThe next one: midflight lab hint {name} --number {number + 1}")


@lab.command(epilog="\b\nExamples:\n  midflight lab solution forwarding\n  midflight lab solution forwarding --to sol/")
@click.argument("name")
@click.option("--to", "folder", metavar="DIR", type=click.Path(path_type=Path), help="Write the files to a folder.")
def solution(name: str, folder: Path | None) -> None:
    """Print the reference solution of a lab.

    With --to, write its files to a folder instead. Files of the same names there are replaced.
    """
    from midflight.cli.output import write_files
    from midflight.labs.catalogue import find_lab

    files = find_lab(name).solution()
    if folder is not None:
        write_files({folder / each: text for each, text in files.items()})
        return
    for each, text in files.items():
        click.echo(f"==> {each} <==\n{text}")


@lab.command(epilog="\b\nExample:\n  midflight lab export --students handout/")
@click.option("--students", "folder", metavar="DIR", type=click.Path(path_type=Path), required=True,
              help="The folder to write. It must be empty or not exist.")  # fmt: skip
@click.option("--lab", "names", metavar="NAME", multiple=True, help="Only this lab. May be repeated.")
def export(folder: Path, names: tuple[str, ...]) -> None:
    """Write the handout of a course: texts, starters and hints, without solutions, tests and mutants.

    Fails, without writing, if the folder is not empty.
    """
    from midflight.cli.output import write_files
    from midflight.errors import MidflightError
    from midflight.labs.catalogue import find_lab, labs
    from midflight.labs.workspace import handout

    chosen = [find_lab(each) for each in names] if names else labs()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise MidflightError(f"{folder}: is not an empty folder")
    files = handout(chosen)
    write_files({folder / each: text for each, text in files.items()})
    click.echo(f"{len(chosen)} labs, {len(files)} files: {folder}")


def _grade(folder: Path, name: str | None, seed: int, isolation: object, console: Console) -> Grade:
    from midflight.cli.terminal import bar
    from midflight.labs.catalogue import find_lab
    from midflight.labs.grading import grade, read_submission
    from midflight.labs.student import Isolation
    from midflight.labs.workspace import lab_of

    assert isinstance(isolation, Isolation)
    found: Lab = find_lab(name) if name is not None else lab_of(folder)
    files = read_submission(found, folder)
    with bar(console, f"{found.name}:") as progress:
        return grade(found, files, seed, isolation=isolation, progress=progress)


def _print(result: Grade, console: Console) -> None:
    for each in result.results:
        mark = "ok  " if not each.reason else "FAIL"
        console.print(f"{mark} {each.points:3}/{each.most:<3} {each.title}", soft_wrap=True, markup=False)
        for line in each.reason.splitlines():
            console.print(f"             {line}", soft_wrap=True, markup=False)
    console.print(f"{result.points} of {result.most} points", soft_wrap=True)
