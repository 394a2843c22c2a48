"""`midflight conformance`: test whether a device runs the primitives correctly, packet by packet."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from midflight.cli.options import (
    cluster_options,
    json_file_option,
    junit_option,
    sheet_option,
    writable,
    writable_folder,
)

if TYPE_CHECKING:
    from rich.console import Console

    from midflight.testbed.conformance.run import Caught, Report

__all__ = ["conformance"]

EPILOG = """\b
Examples:
  midflight conformance
  midflight conformance --device bmv2 --junit bmv2.xml --json bmv2.json
  midflight conformance --device host --device bmv2 --primitive Aggregate --cases 100
  midflight conformance my_primitive.py --device bmv2 --self-test    a primitive of your own
  midflight conformance my_primitive.py --cases cases/ --cases 100 --junit out.xml --html out.html
  midflight conformance --p4 prog.p4 --cases tests/ --device host --device bmv2 --self-test
  midflight conformance --device bmv2 --cases 1000 --seed 7 --json bmv2.json      takes about an hour
  midflight conformance --cases 1000 --workers 4      on four processes of a Dask cluster
  midflight conformance --self-test        also check that broken programs are caught
  sudo midflight conformance --device xdp --live
  midflight conformance --device grpc:127.0.0.1:9559
  sudo midflight conformance --device grpc:unix:/run/s1 -i 1@h1 -i 2@h2 -i 3@h3 -i 4@h4
"""


@click.command(epilog=EPILOG)
@click.argument("file", metavar="[FILE.py]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--device",
    "devices",
    metavar="KIND",
    multiple=True,
    default=("host",),
    show_default=True,
    help="host, bmv2 or xdp, which are started, or grpc:ADDRESS for a running switch. May be repeated.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Start the device on veth pairs in a network namespace, and send packets through them. Needs root.",
)
@click.option(
    "-i",
    "--interface",
    "interfaces",
    metavar="PORT@INTERFACE",
    multiple=True,
    help="For grpc:ADDRESS: the interface at the far end of a port, for each of the ports 1 to 4. Needs root.",
)
@click.option(
    "--device-id",
    metavar="N",
    type=click.IntRange(1, 2**64 - 1),
    default=1,
    show_default=True,
    help="The device id of grpc:ADDRESS.",
)
@click.option(
    "--compiler",
    metavar="COMPILER",
    default="",
    help="For grpc:ADDRESS: p4c; or midflight, which passes programs on as text; or a command line with {p4}, {p4info} "
    "and {config}. The default depends on the device's server.",
)
@sheet_option
@click.option("--primitive", "primitives", metavar="NAME", multiple=True, help="Play only the cases of this primitive.")
@click.option(
    "--seed", metavar="N", type=click.IntRange(0), default=0, show_default=True, help="Seed of generated cases."
)
@click.option(
    "--cases",
    "wanted",
    metavar="N|DIR",
    multiple=True,
    help="Number of generated cases for each primitive, besides those in files, 20 by default; or, like --case-dir, a "
    "folder of cases. May be given twice.",
)
@click.option(
    "--case-dir",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Read case files from this folder, instead of those that come with Midflight.",
)
@click.option(
    "--p4",
    "p4",
    metavar="PROG.p4",
    type=click.Path(path_type=Path),
    help="Test this P4 program, by the STF tests in the folder of --cases.",
)
@click.option(
    "--reference",
    metavar="KIND|FILE.py",
    default="",
    help="For --p4: what generated traces are compared with, a kind of device (by default host) or the function "
    "`reference` of a Python file.",
)
@cluster_options()
@click.option("--self-test", is_flag=True, help="Also play the cases on broken programs, all of which must be caught.")
@click.option("--schema", "show_schema", is_flag=True, help="Print the JSON Schema of case files and exit.")
@junit_option
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=writable,
    help="Write a report as a page, with the trace of the first packet that differs.",
)
@json_file_option("results")
@click.option(
    "--column",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=writable,
    help="Write the results by primitive as JSON, as a column of docs/capability-matrix.md. For a single --device.",
)
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("midflight-conformance"),
    show_default=True,
    callback=writable_folder,
    help="Folder for failing cases, shrunk, each with its seed, P4, packets and the switch's log.",
)
def conformance(
    file: Path | None, devices: tuple[str, ...], live: bool, interfaces: tuple[str, ...], device_id: int,
    compiler: str, sheet: str | None, primitives: tuple[str, ...], seed: int, wanted: tuple[str, ...],
    folder: Path | None, p4: Path | None, reference: str,
    workers: int, cluster: str | None, self_test: bool, show_schema: bool, junit: Path | None, html: Path | None,
    json_to: str | None, column: Path | None, keep: Path,
) -> int:  # fmt: skip
    """Test whether devices run the primitives correctly.

    Plays traces of packets from files and from a generator, and compares every packet, alert and register with the
    result of the kernel in Python. The exit status is 1 if a case fails, if a case that is known to fail passes, or if
    the self-test misses a broken program. After an interrupt (Ctrl-C), the current case is finished, the results so far
    are printed and written, and the exit status is 130. With --sheet, programs that exceed the sheet are refused, which
    is not a failure.

    FILE.py has a primitive of yours: a class derived from Primitive, a Program, or Subjects. Its traces are generated,
    and the reference is the executed kernel. If the file has a function `oracle(parameters, requests)`, the kernel is
    compared with its answers as well, and --self-test shows which faulty variants of the kernel it would miss. See
    docs/conformance.md.

    --p4 tests a P4 program of yours instead: by STF tests, by generated traces that are compared with a reference, and
    with --self-test by mutants of the program, which the tests have to detect.

    With --workers or --cluster, the workers of a Dask cluster start devices, and each plays all cases of a program. The
    results are the same, and a worker that is killed costs only the cases that it was playing.

    To test a switch that you run yourself, give its P4Runtime server: --device grpc:HOST:PORT, or grpc:unix:PATH.
    Packets go through the interfaces at the far ends of its ports 1 to 4. Without interfaces, packets enter and leave
    through the controller's port, which has to be 510. The program of the last case remains on the switch.
    """
    from json import dumps

    from midflight.cli.output import write_files, write_json
    from midflight.cli.p4conformance import play_p4
    from midflight.cli.terminal import bar, console_beside, interrupts
    from midflight.cli.userfile import load_module
    from midflight.runtime.devices import load_sheet
    from midflight.runtime.engine.ports.spec import parse_ports
    from midflight.testbed.cluster import local_cluster
    from midflight.testbed.conformance import columns, run
    from midflight.testbed.conformance import report as reports
    from midflight.testbed.conformance.case import schema
    from midflight.testbed.conformance.mutantcheck import self_test_own
    from midflight.testbed.conformance.oracle import check_oracle
    from midflight.testbed.conformance.own import subjects_in
    from midflight.testbed.conformance.page import page
    from midflight.testbed.conformance.spread import check_on_workers

    if show_schema:
        write_json(schema(), "-")
        return 0
    count, folder = _wanted(wanted, folder)
    if p4 is not None and (file or primitives or live or column or workers > 1 or cluster or interfaces):
        raise click.UsageError("--p4 goes with --device, --cases, --reference, --sheet, --self-test and reports only")
    if reference and p4 is None:
        raise click.UsageError("--reference is for --p4")
    assumed = None if sheet is None else load_sheet(sheet)
    if column is not None and len(devices) != 1:
        raise click.UsageError("--column is for a single --device")
    ports = parse_ports(list(interfaces))
    options = {"interfaces": ports, "device_id": device_id, "compiler": compiler, "live": live}
    opened = {each: run.opening(each, **options) for each in devices}  # type: ignore[arg-type]
    console = console_beside(json_to)
    own = None
    if file is not None:
        own = subjects_in(vars(load_module(file, file.parent)), str(file))
    subjects = None if own is None else {name: each.subject for name, each in own.items()}
    tests = None if p4 else run.cases(primitives, seed=seed, count=count, folder=folder, live=live, own=subjects)
    chosen = [] if own is None else [own[each] for each in primitives or own]
    found: list[Report] = []
    caught: tuple[Caught, ...] = ()
    on_workers = bool(cluster) or workers > 1
    if on_workers and (live or any(each.startswith("grpc:") for each in devices)):
        raise click.UsageError("workers start devices of their own, without --live and grpc:ADDRESS")
    if on_workers and file is not None:
        raise click.UsageError("workers play the cases of the library, not those of a file")
    with ExitStack() as stack:
        client = stack.enter_context(local_cluster(workers, cluster or "")) if on_workers else None
        interrupted = stack.enter_context(interrupts())
        if p4 is not None:
            found, caught = play_p4(
                p4, folder, devices, console, interrupted, reference=reference, seed=seed, count=count, sheet=assumed,
                self_test=self_test,
            )  # fmt: skip
        for each in chosen:
            if each.independent and not interrupted():
                with bar(console, "Kernel and oracle:") as progress:
                    found.append(
                        check_oracle(each.subject, seed=seed, count=count, progress=progress, stop=interrupted)
                    )
        for device, start in opened.items() if tests is not None else ():
            with bar(console, f"Cases on {device}:") as progress:
                if client is not None:
                    cases = folder and folder.absolute()
                    made = check_on_workers(
                        client, device, primitives, seed=seed, count=count, folder=cases, progress=progress,
                        stop=interrupted, sheet=assumed,
                    )  # fmt: skip
                else:
                    assert tests is not None
                    made = run.check(
                        device, tests, seed=seed, progress=progress, start=start, stop=interrupted, sheet=assumed
                    )
                found.append(made)
            if interrupted():
                break
        if self_test and own is not None and not interrupted():
            written = list(run.cases(primitives, count=0, folder=folder, own=subjects))
            for each in chosen:
                with bar(console, "Broken kernels:") as progress:
                    caught += self_test_own(
                        each, written, seed=seed, count=max(count, 20), progress=progress, stop=interrupted
                    )
        elif self_test and p4 is None and not interrupted():
            with bar(console, "Broken programs:") as progress:
                of, start = next(iter(opened.items()))
                caught = run.self_test(of, seed=seed, progress=progress, start=start, stop=interrupted)
    _print(found, caught, console)
    summary = reports.summary(found, caught)
    if junit:
        write_files({junit: reports.junit(found, caught)})
    if html:
        write_files({html: page(found, caught)})
    if json_to:
        write_json(summary, json_to)
    if column is not None:
        command = f"midflight conformance --device {devices[0]}{' --live' if live else ''} --cases {count}"
        name = f"{devices[0]}, on veth" if live else devices[0]
        if sheet is not None:
            command, name = f"{command} --sheet {sheet}", f"{name}, with the sheet {sheet}"
        write_files({column: dumps(columns.column(found[0], name, command).json(), indent=2) + "\n"})
    kept = {keep / path: data for each in found for path, data in reports.keep(each).items()}
    if kept:
        write_files(kept)
        console.print(f"Failing cases: {keep}", soft_wrap=True)
    if interrupted():
        return 130
    return 0 if summary["good"] else 1


def _wanted(wanted: tuple[str, ...], folder: Path | None) -> tuple[int, Path | None]:
    """Return the number of generated cases and the folder of cases, which --cases may both give.

    click.BadParameter for anything else.
    """
    count = 20
    for each in wanted:
        if each.isdecimal():
            count = int(each)
        elif Path(each).is_dir():
            folder = Path(each)
        else:
            raise click.BadParameter(f"{each!r} is neither a number nor a folder", param_hint="--cases")
    return count, folder


def _print(found: list[Report], caught: tuple[Caught, ...], console: Console) -> None:
    from midflight.cli.terminal import table
    from midflight.testbed.conformance.report import matrix, versions
    from midflight.testbed.conformance.run import Verdict, unasked

    made = table(console, "Conformance", ("primitive", *(each.device for each in found)))
    for primitive, by_device in matrix(found).items():
        cells = []
        for each in found:
            cell = by_device[each.device]
            reasons = cell["reasons"]
            assert isinstance(reasons, list)
            those = [it for it in each.results if it.case.primitive == primitive]
            refused = sum(1 for it in those if it.verdict is Verdict.REFUSED)
            failed, played = len(reasons) - refused, len(those) - refused
            words = f"{played} cases, {failed} fail" if failed else f"{played} cases pass"
            cells.append(words if not refused else f"{words}, {refused} refused" if played else f"{refused} refused")
        made.add_row(primitive, *cells)
    console.print(made)
    refusals: dict[str, None] = {}
    for report in found:
        for result in report.results:
            if result.verdict is Verdict.REFUSED:
                reason = f"{report.device}: {result.case.primitive} is refused: {result.differences[0]}"
                refusals.setdefault(reason)
            elif not result.good:
                flaky = ", but passed when it was repeated: flaky" if result.flaky else ""
                console.print(f"{report.device}: {result.case.name}: {result.verdict.value}{flaky}", soft_wrap=True)
                console.print(f"  {result.differences[0]}", soft_wrap=True, highlight=False)
    for reason in refusals:
        console.print(reason, soft_wrap=True, highlight=False)
    for report in found:
        if report.left:
            console.print(f"{report.device}: interrupted, {report.left:,} cases were not played", soft_wrap=True)
        for reason in unasked(report.results):
            console.print(f"{report.device}: not tested: {reason}", soft_wrap=True, highlight=False)
    if caught:
        missed = [each.mutant.name for each in caught if each.case is None]
        console.print(f"Self-test: {len(caught) - len(missed)} of {len(caught)} broken programs caught.")
        if missed:
            console.print(f"Missed: {', '.join(missed)}")
    for report in found:
        used = ", ".join(f"{name} {version}" for name, version in versions(report.device, report.server).items())
        console.print(f"{report.device}: {used}", soft_wrap=True, highlight=False)
