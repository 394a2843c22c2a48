"""Reports of a conformance run: JUnit for CI, JSON for programs, and a folder with every failing case."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from midflight import __version__
from midflight.errors import DeviceError
from midflight.runtime.devices.toolchain import P4C, SIMPLE_SWITCH_GRPC
from midflight.runtime.engine.ports.pcap import HEADER, record
from midflight.testbed.conformance.run import Caught, Report, Result, Verdict, unasked

__all__ = ["junit", "keep", "matrix", "summary", "versions"]


def versions(device: str, server: str = "") -> dict[str, str]:
    """Return the versions of everything that a run on this kind of device used, by name: Midflight, Python, compilers.

    `device` is a kind or "grpc:ADDRESS". `server` is the version that a remote device reports; empty if unknown.
    """
    found = {"midflight": __version__, "python": platform.python_version(), "system": platform.platform()}
    if device == "host":
        from llvmlite import binding

        found["llvm"] = ".".join(map(str, binding.llvm_version_info))
    if server:
        found["server"] = server
    if device == "bmv2" or (device.startswith("grpc:") and not P4C.missing):
        for tool in (P4C, SIMPLE_SWITCH_GRPC) if device == "bmv2" else (P4C,):
            try:
                found[Path(tool.find()).name] = tool.version()
            except DeviceError as error:
                found[tool.names[0]] = error.message
    return found


def matrix(reports: Sequence[Report]) -> dict[str, dict[str, dict[str, object]]]:
    """Return a table of the results, by primitive and then by device, as mappings for JSON.

    Each cell has "works" (whether all cases are good), "cases" (their number), "reasons" (a text for each difference)
    and "unasked" (what could not be tested, and why).
    """
    table: dict[str, dict[str, dict[str, object]]] = {}
    for report in reports:
        for primitive in dict.fromkeys(each.case.primitive for each in report.results):
            of_it = [each for each in report.results if each.case.primitive == primitive]
            reasons = [
                f"{each.case.name}: {each.differences[0]}{' (flaky)' if each.flaky else ''}"
                for each in of_it
                if each.differences
            ]
            table.setdefault(primitive, {})[report.device] = {
                "works": all(each.good for each in of_it),
                "cases": len(of_it),
                "reasons": reasons,
                "unasked": list(unasked(of_it)),
            }
    return table


def summary(reports: Sequence[Report], caught: Sequence[Caught] = ()) -> dict[str, object]:
    """Return conformance runs as data for JSON: versions, the matrix, every result, and the broken programs (`caught`).

    "good" is True if every case was played and none failed, and every broken program was detected.
    """
    return {
        "good": all(each.good for each in reports) and all(each.case for each in caught),
        "versions": {report.device: versions(report.device, report.server) for report in reports},
        "seed": reports[0].seed if reports else None,
        "left": {report.device: report.left for report in reports},
        "matrix": matrix(reports),
        "results": [
            {
                "device": report.device,
                "case": each.case.name,
                "primitive": each.case.primitive,
                "verdict": each.verdict.value,
                "flaky": each.flaky,
                "differences": list(each.differences),
                "unasked": list(each.unasked),
                "trace": each.trace,
            }
            for report in reports
            for each in report.results
        ],
        "mutants": [
            {
                "name": each.mutant.name,
                "primitive": each.mutant.primitive,
                "caught_by": each.case,
                "how": each.difference,
            }
            for each in caught
        ],
    }


def junit(reports: Sequence[Report], caught: Sequence[Caught] = ()) -> str:
    """Return conformance runs as JUnit XML: a suite for each device with a test for each case, and one for broken
    programs.
    """
    root = ElementTree.Element("testsuites", name="midflight conformance")
    for report in reports:
        bad = [each for each in report.results if not each.good]
        found = versions(report.device, report.server) | ({"left": f"{report.left} cases"} if report.left else {})
        suite = _suite(root, report.device, len(report.results), len(bad), found)
        suite.set("time", f"{sum(each.seconds for each in report.results):.6f}")
        for each in report.results:
            test = ElementTree.SubElement(
                suite,
                "testcase",
                classname=f"{report.device}.{each.case.primitive}",
                name=each.case.name,
                time=f"{each.seconds:.6f}",
            )
            if not each.good:
                tag = "error" if each.verdict is Verdict.ERROR else "failure"
                message = f"{'flaky: ' if each.flaky else ''}{each.differences[0]}"[:200]
                failure = ElementTree.SubElement(test, tag, message=message, type=each.verdict.value)
                failure.text = "\n".join([*each.differences, *_shrunk(each), *([each.trace] if each.trace else [])])
            elif each.differences:
                ElementTree.SubElement(test, "skipped", message=each.differences[0])
            if each.log:
                ElementTree.SubElement(test, "system-out").text = each.log
    if caught:
        missed = [each for each in caught if each.case is None]
        suite = _suite(root, "self-test", len(caught), len(missed), {})
        for mutant in caught:
            test = ElementTree.SubElement(
                suite, "testcase", classname=f"self-test.{mutant.mutant.primitive}", name=mutant.mutant.name
            )
            if mutant.case is None:
                ElementTree.SubElement(test, "failure", message="no case caught this broken program")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def keep(report: Report) -> dict[Path, str | bytes]:
    """Return files for the failed cases of a run, contents by path: each with its JSON, P4, packets and the switch's
    log.

    Nothing is written.
    """
    kept: dict[Path, str | bytes] = {}
    for each in report.results:
        if not each.good:
            folder = Path(re.sub(r"[^\w.]+", "-", report.device)) / each.case.name
            kept |= {folder / name: text for name, text in each.files.items()}
            if each.case.steps:
                kept[folder / "case.json"] = each.case.json()
                kept[folder / "program.p4"] = each.case.program().p4()
                # One microsecond apart, so that every viewer shows them in order.
                sent = (record(1000 * number, step.packet) for number, step in enumerate(each.case.steps))
                kept[folder / "packets.pcap"] = HEADER + b"".join(sent)
            kept[folder / "differences.txt"] = "\n".join([*each.differences, *_shrunk(each)]) + "\n"
            if each.trace:
                kept[folder / "trace.txt"] = each.trace + "\n"
            if each.log:
                kept[folder / "switch.log"] = each.log
    return kept


def _shrunk(result: Result) -> list[str]:
    """Return a line that says how many packets of a failed case are enough to make it fail, if they are fewer."""
    left = len(result.case.steps)
    return [f"minimised to {left} of {result.packets} packets"] if 0 < left < result.packets else []


def _suite(
    root: ElementTree.Element, name: str, tests: int, failures: int, properties: Mapping[str, str]
) -> ElementTree.Element:
    suite = ElementTree.SubElement(root, "testsuite", name=name, tests=str(tests), failures=str(failures))
    if properties:
        found = ElementTree.SubElement(suite, "properties")
        for key, value in properties.items():
            ElementTree.SubElement(found, "property", name=key, value=value)
    return suite
