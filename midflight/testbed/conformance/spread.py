"""Conformance runs on the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any

from midflight.runtime.devices.capabilities import Capabilities
from midflight.testbed.cluster import ordered_results
from midflight.testbed.conformance.run import Cases, Progress, Report, Result, cases, check

__all__ = ["check_on_workers"]


def check_on_workers(
    client: Any,
    kind: str,
    primitives: Sequence[str] = (),
    *,
    seed: int = 0,
    count: int = 20,
    folder: Path | None = None,
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
    sheet: Capabilities | None = None,
) -> Report:
    """Play cases on a kind of device, which workers start, and return the same results as `check` with `cases`.

    `client` is a `distributed.Client`. A worker plays all cases of one program, and only these are played again if it
    dies. The workers read `folder` under the same path. `stop` is called after the cases of each program. Other
    parameters are those of `cases` and `check`. MidflightError as for `results` and `cases`.
    """
    tests = cases(primitives, seed=seed, count=count, folder=folder)
    drawn = (tuple(primitives), seed, count, folder)
    units = [(kind, drawn, first, last, sheet) for first, last in _ranges(tests)]
    found: list[Result] = []
    bad, server = 0, ""
    with closing(ordered_results(client, _part, units, lambda unit: f"cases {unit[2] + 1} to {unit[3]}")) as arriving:
        for _, report in arriving:
            found += report.results
            server = server or report.server
            bad += sum(not each.good for each in report.results)
            progress(len(found), len(tests), f"{bad} failed" if bad else "")
            if stop():
                break
    return Report(kind, seed, tuple(found), server, len(tests) - len(found))


def _ranges(tests: Cases) -> list[tuple[int, int]]:
    """Return the numbers of the first case of each program, and that after its last case."""
    found, at = [], 0
    for _, those in groupby(tests.programs):
        count = len([*those])
        found.append((at, at + count))
        at += count
    return found


def _part(
    kind: str,
    drawn: tuple[tuple[str, ...], int, int, Path | None],
    first: int,
    last: int,
    sheet: Capabilities | None,
) -> Report:
    primitives, seed, count, folder = drawn
    tests = cases(primitives, seed=seed, count=count, folder=folder)
    return check(kind, Cases(tests.makers[first:last], tests.programs[first:last]), seed=seed, sheet=sheet)
