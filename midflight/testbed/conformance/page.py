"""The HTML report of a conformance run: one file without outside resources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from midflight.testbed.conformance.report import matrix, versions
from midflight.testbed.conformance.run import Caught, Report, Result

__all__ = ["page"]

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --bad: #b3261e; --good: #1b6e3c; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --good: #7fd6a0; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } th, td { border: 1px solid var(--line); padding: .3rem .7rem; text-align: left; }
pre { overflow-x: auto; border: 1px solid var(--line); padding: .7rem; }
.bad { color: var(--bad); } .good { color: var(--good); }
"""


def page(reports: Sequence[Report], caught: Sequence[Caught] = ()) -> str:
    """Return conformance runs as an HTML page: a table of primitives and devices, the failures with their differences,
    and the trace of the first packet that differs. `caught` are the results of the self-test.
    """
    good = all(each.good for each in reports) and all(each.case for each in caught)
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Conformance</title><style>{_STYLE}</style></head><body><main>",
            f'<h1>Conformance: <span class="{"good" if good else "bad"}">{"good" if good else "failed"}</span></h1>',
            *_table(reports),
            *(line for report in reports for line in _failures(report)),
            *_self_test(caught),
            *_versions(reports),
            "</main></body></html>\n",
        ]
    )


def _table(reports: Sequence[Report]) -> Iterator[str]:
    heads = "".join(f'<th scope="col">{escape(each.device)}</th>' for each in reports)
    yield f'<table><thead><tr><th scope="col">program</th>{heads}</tr></thead><tbody>'
    for name, cells in matrix(reports).items():
        yield f'<tr><th scope="row">{escape(name)}</th>'
        for report in reports:
            cell = cells.get(report.device)
            if cell is None:
                yield "<td></td>"
                continue
            of_it = [each for each in report.results if each.case.primitive == name]
            failed = sum(not each.good for each in of_it)
            words = f"{failed} of {len(of_it)} cases fail" if failed else f"{len(of_it)} cases pass"
            yield f'<td class="{"bad" if failed else "good"}">{words}</td>'
        yield "</tr>"
    yield "</tbody></table>"


def _failures(report: Report) -> Iterator[str]:
    failed = [each for each in report.results if not each.good]
    if report.left:
        yield f"<p>{escape(report.device)}: interrupted; {report.left} cases were not played.</p>"
    if failed:
        yield f"<h2>Failures on {escape(report.device)}</h2>"
    for number, each in enumerate(failed):
        heading = f"{escape(each.case.name)}: {each.verdict.value}"
        yield f"<details{' open' if number == 0 else ''}><summary>{heading}</summary>"
        yield f"<p>{escape(_about(each))}</p>"
        yield f"<pre>{escape(chr(10).join(each.differences))}</pre>"
        if each.trace:
            yield f"<p>The first packet that differs:</p><pre>{escape(each.trace)}</pre>"
        yield "</details>"


def _about(result: Result) -> str:
    parameters = ", ".join(f"{name}={value!r}" for name, value in result.case.parameters.items())
    left = len(result.case.steps)
    said = f"{result.case.primitive}({parameters}), {result.packets} packets"
    return f"{said}, of which {left} are enough" if 0 < left < result.packets else said


def _self_test(caught: Sequence[Caught]) -> Iterator[str]:
    if caught:
        missed = [each.mutant.name for each in caught if each.case is None]
        yield f"<h2>Broken programs</h2><p>{len(caught) - len(missed)} of {len(caught)} are caught.</p>"
        if missed:
            yield "<p>Missed:</p><ul>"
            yield from (f"<li><code>{escape(each)}</code></li>" for each in missed)
            yield "</ul>"


def _versions(reports: Sequence[Report]) -> Iterator[str]:
    yield "<h2>Versions</h2><ul>"
    for report in reports:
        used = ", ".join(f"{name} {version}" for name, version in versions(report.device, report.server).items())
        yield f"<li>{escape(report.device)}: {escape(used)}</li>"
    yield "</ul>"
