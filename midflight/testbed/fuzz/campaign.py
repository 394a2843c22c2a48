"""Campaigns: the cases of many seeds, and what was wrong with some of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midflight.errors import MidflightError
from midflight.testbed.cluster import ordered_results
from midflight.testbed.fuzz.kept import keep
from midflight.testbed.fuzz.play import Bmv2, Finding, Host, Judge, UnsupportedCaseError
from midflight.testbed.fuzz.program import Case, draw_case
from midflight.testbed.fuzz.shrink import shrink

__all__ = ["JUDGES", "Campaign", "Found", "campaign"]

JUDGES: dict[str, Callable[[], Host | Bmv2]] = {"host": Host, "bmv2": Bmv2}
"""The devices that the embedded switch can be compared with: itself without optimisation, or BMv2."""

_PART = 4
"""How many seeds a worker gets at a time, and has to repeat if it dies."""


@dataclass(frozen=True, slots=True)
class Found:
    """A finding of a campaign: the seed of its case, its kind (as in `Finding`), what is wrong as text, and the folder
    in which the case is kept.
    """

    seed: int
    kind: str
    text: str
    folder: str


@dataclass(frozen=True, slots=True)
class Campaign:
    """The results of a campaign.

    programs: the number of programs that were generated
    packets: the number of packets that were compared
    refused: for each program that p4c refused, its seed and the reason
    findings: what was found to be wrong
    """

    programs: int
    packets: int
    refused: tuple[tuple[int, str], ...]
    findings: tuple[Found, ...]


def campaign(
    seeds: Iterable[int],
    device: str,
    folder: Path,
    *,
    packets: int = 40,
    tries: int = 300,
    progress: Callable[[int, int], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
    client: Any = None,
) -> Campaign:
    """Generate the case of each seed, and compare the embedded switch with `device`, "host" or "bmv2".

    packets: for each program
    tries: how many smaller variants of a case with a finding are tried
    folder: gets a folder for each finding, with the smallest case and how to repeat it
    progress: receives the number of cases done and of findings
    stop: called before each case; True ends the campaign
    client: a `distributed.Client` on whose workers cases are compared, None for this process; the result is the same

    MidflightError if there is no such device, or no worker can finish a case; DeviceError if BMv2 is missing, or a
    folder cannot be written.
    """
    if device not in JUDGES:
        raise MidflightError(f"programs cannot be compared on {device!r}", hint=f"the devices are {', '.join(JUDGES)}")
    done = compared = 0
    refused: list[tuple[int, str]] = []
    found: list[Found] = []
    if client is None:
        judged = _judge_all(seeds, device, packets, tries, stop)
    else:
        judged = _remote(client, [*seeds], device, packets, tries)
    with closing(judged):
        for each in judged:
            compared += each.packets
            if each.refused:
                refused.append((each.seed, each.refused))
            if each.found is not None:
                smallest, case, finding = each.found
                where = keep(folder / f"seed-{each.seed}", smallest, case, finding, device, each.seed)
                found.append(Found(each.seed, finding.kind, finding.text, str(where)))
            done += 1
            progress(done, len(found))
            if stop():
                break
    return Campaign(done, compared, tuple(refused), tuple(found))


@dataclass(frozen=True, slots=True)
class _Judged:
    """The result of one seed: the number of packets that were compared, or why p4c refused the program; and if there is
    a finding, the smallest case with it, the case as it was generated, and the finding of the smallest one.
    """

    seed: int
    packets: int = 0
    refused: str = ""
    found: tuple[Case, Case, Finding] | None = None


def _judge_all(
    seeds: Iterable[int], device: str, packets: int, tries: int, stop: Callable[[], bool]
) -> Generator[_Judged]:
    """Compare the case of each seed in this process, and yield each result."""
    with JUDGES[device]() as judge:
        for seed in seeds:
            if stop():
                break
            case = draw_case(seed, packets)
            try:
                finding = judge.judge(case)
            except UnsupportedCaseError as error:
                yield _Judged(seed, refused=str(error))
                continue
            made = None if finding is None else _smallest(judge, case, finding, tries, stop)
            yield _Judged(seed, len(case.packets), found=made)


def _part(seeds: tuple[int, ...], device: str, packets: int, tries: int) -> list[_Judged]:
    return [*_judge_all(seeds, device, packets, tries, lambda: False)]


def _remote(client: Any, seeds: Sequence[int], device: str, packets: int, tries: int) -> Generator[_Judged]:
    """Compare cases on workers, and yield the results in the order of the seeds."""
    parts = [(tuple(seeds[at : at + _PART]), device, packets, tries) for at in range(0, len(seeds), _PART)]
    name: Callable[[tuple[Any, ...]], str] = lambda unit: f"the programs from seed {unit[0][0]} on"  # noqa: E731
    with closing(ordered_results(client, _part, parts, name)) as arriving:
        for _, judged in arriving:
            yield from judged


def _smallest(
    judge: Judge, case: Case, finding: Finding, tries: int, stop: Callable[[], bool]
) -> tuple[Case, Case, Finding]:
    """Make a case smaller, and return the smallest one, the case itself, and the finding of the smallest."""

    def wrong(smaller: Case) -> bool:
        if stop():
            return False
        other = _judged(judge, smaller)
        return other is not None and other.signature == finding.signature

    smallest = shrink(case, wrong, tries)
    return smallest, case, _judged(judge, smallest) or finding  # a race may not happen again


def _judged(judge: Judge, case: Case) -> Finding | None:
    try:
        return judge.judge(case)
    except UnsupportedCaseError:
        return None
