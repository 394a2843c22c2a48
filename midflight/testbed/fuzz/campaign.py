"""Campaigns: the cases of many seeds, and what was wrong with some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from midflight.errors import MidflightError
from midflight.testbed.fuzz.kept import keep
from midflight.testbed.fuzz.play import Bmv2, Finding, Host, Judge, UnsupportedCaseError
from midflight.testbed.fuzz.program import Case, draw_case
from midflight.testbed.fuzz.shrink import shrink

__all__ = ["JUDGES", "Campaign", "Found", "campaign"]

JUDGES: dict[str, Callable[[], Host | Bmv2]] = {"host": Host, "bmv2": Bmv2}
"""The devices that the embedded switch can be compared with: itself without optimisation, or BMv2."""


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
) -> Campaign:
    """Generate the case of each seed, and compare the embedded switch with `device`, "host" or "bmv2".

    packets: for each program
    tries: how many smaller variants of a case with a finding are tried
    folder: gets a folder for each finding, with the smallest case and how to repeat it
    progress: receives the number of cases done and of findings
    stop: called before each case; True ends the campaign

    MidflightError if there is no such device; DeviceError if BMv2 is missing, or a folder cannot be written.
    """
    if device not in JUDGES:
        raise MidflightError(f"programs cannot be compared on {device!r}", hint=f"the devices are {', '.join(JUDGES)}")
    done = compared = 0
    refused: list[tuple[int, str]] = []
    found: list[Found] = []
    with JUDGES[device]() as judge:
        for seed in seeds:
            if stop():
                break
            case = draw_case(seed, packets)
            try:
                finding = judge.judge(case)
            except UnsupportedCaseError as error:
                refused.append((seed, str(error)))
            else:
                compared += len(case.packets)
                if finding is not None:
                    found.append(_kept(judge, seed, case, finding, folder, tries, device, stop))
            done += 1
            progress(done, len(found))
    return Campaign(done, compared, tuple(refused), tuple(found))


def _kept(
    judge: Judge,
    seed: int,
    case: Case,
    finding: Finding,
    folder: Path,
    tries: int,
    device: str,
    stop: Callable[[], bool],
) -> Found:
    """Make a case smaller, and keep it in a folder of its own."""

    def wrong(smaller: Case) -> bool:
        if stop():
            return False
        other = _judged(judge, smaller)
        return other is not None and other.signature == finding.signature

    smallest = shrink(case, wrong, tries)
    text = _judged(judge, smallest) or finding  # a race may not happen again
    where = keep(folder / f"seed-{seed}", smallest, case, text, device, seed)
    return Found(seed, text.kind, text.text, str(where))


def _judged(judge: Judge, case: Case) -> Finding | None:
    try:
        return judge.judge(case)
    except UnsupportedCaseError:
        return None
