"""The capability matrix of the documentation: primitives by device, from the results of conformance runs.

Each device has a file with its column: a JSON object with `device`, `made_by` (the command), `versions` by name, and
`primitives`: by name, a `verdict` of `VERDICTS` with `detail`, such as a number of cases or a reason.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from midflight.errors import MidflightError
from midflight.testbed.conformance.report import matrix, versions
from midflight.testbed.conformance.run import Report, Verdict

__all__ = ["VERDICTS", "Column", "column", "load_columns", "rendered"]

VERDICTS = ("runs", "compiles", "fails", "refused")
"""What a primitive does on a device, in this order: it passes its cases; it is accepted by the device's compiler, but
was not run; its output differs; it is not accepted."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the capability matrix: the results of one device.

    `primitives` has a verdict of `VERDICTS` and its detail for each primitive by name, `made_by` the command that
    produced the results, and `versions` the versions of the software by name.
    """

    device: str
    made_by: str
    versions: Mapping[str, str]
    primitives: Mapping[str, tuple[str, str]]

    def json(self) -> dict[str, object]:
        """Return the column as data for JSON."""
        cells = {name: {"verdict": each[0], "detail": each[1]} for name, each in self.primitives.items()}
        return {
            "device": self.device, "made_by": self.made_by, "versions": dict(self.versions), "primitives": cells,
        }  # fmt: skip


def column(report: Report, device: str, made_by: str) -> Column:
    """Return the column of the capability matrix that follows from a conformance run: a verdict for each primitive.

    `device` is the device's name at the top of the column, and `made_by` the command of the run. A primitive "runs" if
    all of its cases are good, is "refused" if all end with an error or exceed the assumed sheet, and "fails" otherwise;
    the detail is then the first difference.
    """
    cells: dict[str, tuple[str, str]] = {}
    for name, by_device in matrix([report]).items():
        cell = by_device[report.device]
        results = [each for each in report.results if each.case.primitive == name]
        beyond = [each for each in results if each.verdict is Verdict.REFUSED]
        if len(beyond) == len(results):
            cells[name] = "refused", beyond[0].differences[0]
        elif cell["works"]:
            played = len(results) - len(beyond)
            cells[name] = "runs", "1 case" if played == 1 else f"{played} cases"
        else:
            first = next(each for each in results if not each.good)
            refused = all(each.verdict in (Verdict.ERROR, Verdict.REFUSED) for each in results)
            cells[name] = "refused" if refused else "fails", first.differences[0].splitlines()[0]
    kernel = f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}"
    return Column(device, made_by, {**versions(report.device, report.server), "system": kernel}, cells)


def load_columns(folder: Path) -> list[Column]:
    """Return the columns in a folder's JSON files (*.json), in the order of their file names.

    MidflightError, with the file, if one is malformed or has an unknown verdict.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            data = json.loads(path.read_text())
            cells = {name: (each["verdict"], each["detail"]) for name, each in data["primitives"].items()}
            found.append(Column(data["device"], data["made_by"], data["versions"], cells))
        except (ValueError, KeyError, TypeError) as error:
            raise MidflightError(f"{path} is not a column of the capability matrix: {error!r}") from None
        if unknown := sorted({verdict for verdict, _ in cells.values()} - {*VERDICTS}):
            raise MidflightError(f"{path} has an unknown verdict: {', '.join(unknown)}")
    return found


def rendered(columns: Sequence[Column]) -> str:
    """Return the capability matrix as Markdown: a table with a row for each primitive, the reasons why cases fail or
    are refused, and the command and versions of each column.
    """
    names = sorted({name for each in columns for name in each.primitives})
    lines = [
        "| | " + " | ".join(each.device for each in columns) + " |",
        "| --- |" + " --- |" * len(columns),
    ]
    notes: list[str] = []
    for name in names:
        cells = []
        for each in columns:
            verdict, detail = each.primitives.get(name, ("", ""))
            if verdict in ("fails", "refused"):
                notes.append(f"{len(notes) + 1}. {name} on {each.device}: {detail}")
                cells.append(f"{verdict} ({len(notes)})")
            else:
                cells.append(f"{verdict}, {detail}" if detail else verdict)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    counts = []
    for each in columns:
        verdicts = [verdict for verdict, _ in each.primitives.values()]
        counts.append(", ".join(f"{verdicts.count(of)} {of}" for of in VERDICTS if of in verdicts))
    lines.append("| **together** | " + " | ".join(counts) + " |")
    sources = [
        f"* {each.device}: `{each.made_by}`, with {', '.join(f'{name} {of}' for name, of in each.versions.items())}"
        for each in columns
    ]
    return "\n".join([*lines, "", *notes, *([""] if notes else []), *sources]) + "\n"
