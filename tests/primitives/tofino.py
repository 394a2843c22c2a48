"""Every primitive through p4c's Tofino compiler: columns of the capability matrix, and a table beside our estimates.

python -m tests.primitives.tofino            writes docs/matrix/tofino*.json, and prints the table
python -m tests.primitives.tofino Bloom      does so for these primitives only; the others keep their verdicts
python -m tests.primitives.tofino --refused  writes what our emitter refuses; p4c-barefoot only gives its version
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from midflight import __version__
from midflight.errors import DeviceError, KernelError, MidflightError, P4Error
from midflight.primitives import Chain, Filter, HeavyHitter, Primitive, Program, Skyline, Threshold
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.sheetfile import named_sheet
from midflight.runtime.fit import fit
from midflight.runtime.fit.barefoot import COMPILER, Allocation, allocate
from midflight.testbed.conformance.columns import Column, load_columns
from midflight.testbed.conformance.subject import names, subject

__all__ = ["Compiled", "compiled", "small"]

DOCS = Path(__file__).parents[2] / "docs"
SHEETS = {"tna": "tofino", "t2na": "tofino2"}
SHORTER: dict[str, Callable[[], Primitive]] = {
    "Chain": lambda: Chain("app", Filter("hot", keep="value > 3"), Threshold("pressure", above=9, clear=8, sensors=8)),
    "HeavyHitter": lambda: HeavyHitter("app", above=100, window=8, rows=1, columns=8, slots=4, item_bits=32),
    "Skyline": lambda: Skyline("app", points=1, dimensions=2, width=8),
}
"""Parameters that suit the chip, where those of the conformance traces do not or take more than 20 stages."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """What became of a primitive: the compiler's allocation or the reason against it, and our estimate of stages."""

    name: str
    arch: str
    estimate: int
    allocation: Allocation | None
    reason: str = ""


def small(name: str, arch: str) -> tuple[Program | None, str]:
    """Return a program with a primitive, and the parameters in `SHORTER` or the first that can be emitted of its
    conformance traces.

    Otherwise None, and the reason against the first parameters.
    """
    if name in SHORTER:
        return Program(SHORTER[name]()), ""
    of, reason = subject(name), ""
    for number in range(len(of.parameters)):
        program = Program(of.make(number))
        try:
            program.p4(arch=arch)
        except KernelError as error:
            reason = reason or error.message
        else:
            return program, ""
    return None, reason


def compiled(arch: str, chosen: list[str]) -> Iterator[Compiled]:
    """Compile the primitives of these names one by one."""
    for name in chosen:
        program, reason = small(name, arch)
        if program is None:
            yield Compiled(name, arch, 0, None, reason)
            continue
        estimate = fit(CheckedProgram(program.p4(), f"{name}.p4"), named_sheet(SHEETS[arch])).stages
        try:
            yield Compiled(name, arch, estimate, allocate(program.p4(arch=arch), arch))
        except (P4Error, DeviceError) as error:
            yield Compiled(name, arch, estimate, None, error.message)


def refused(arch: str) -> Iterator[Compiled]:
    """Return the primitives that cannot be emitted, with the reasons."""
    for name in names():
        program, reason = small(name, arch)
        if program is None:
            yield Compiled(name, arch, 0, None, reason)


def column(arch: str, found: list[Compiled], version: str, before: Mapping[str, tuple[str, str]]) -> Column:
    """Return a column of the capability matrix with the results, and for other primitives the cells of `before`."""
    cells = dict(before)
    for each in found:
        if each.allocation is None:
            cells[each.name] = "refused", each.reason.splitlines()[0]
        else:
            stages = each.allocation.stages
            cells[each.name] = "compiles", f"{stages} stage{'s' * (stages != 1)}"
    versions = {"midflight": __version__, COMPILER: version}
    return Column(SHEETS[arch], "python -m tests.primitives.tofino", versions, dict(sorted(cells.items())))


def write(arch: str, found: list[Compiled]) -> None:
    """Write the results of an architecture to its column, and leave the others in it."""
    path = DOCS / "matrix" / f"{SHEETS[arch]}.json"
    known = [each for each in load_columns(path.parent) if each.device == SHEETS[arch]]
    made = column(arch, found, _version(), known[0].primitives if known else {})
    path.write_text(json.dumps(made.json(), indent=2) + "\n")


def main() -> None:
    if sys.argv[1:] == ["--refused"]:
        for arch in SHEETS:
            write(arch, [*refused(arch)])
        return
    rows = ["| | arch | stages | estimate | SRAM | TCAM | stateful ALUs | header vector |"]
    rows.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for arch in SHEETS:
        for each in compiled(arch, sys.argv[1:] or list(names())):
            write(arch, [each])
            it = each.allocation
            if it is None:
                _say(f"{each.name} {arch}: {each.reason}")
                continue
            parts = (it.stages, each.estimate, it.total("sram"), it.total("tcam"), it.total("register"))
            rows.append(f"| {each.name} | {arch} | {' | '.join(map(str, parts))} | {it.header_vector or ''} |")
            _say(rows[-1])
    _say("\n".join(rows))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _version() -> str:
    import subprocess

    from midflight.runtime.fit.barefoot import find

    done = subprocess.run([find(), "--version"], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return next((each.split()[-1] for each in lines if "ersion" in each), "unknown")


if __name__ == "__main__":
    try:
        main()
    except MidflightError as error:
        sys.exit(str(error))
