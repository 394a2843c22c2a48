"""A conformance run: every primitive's cases against a device, and every broken program against the cases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from importlib.resources import files
from itertools import groupby
from pathlib import Path

from midflight.errors import DeviceError, MidflightError
from midflight.runtime.devices import open_device
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.devices.remote import RemoteDevice
from midflight.runtime.p4runtime.session import RequestError
from midflight.testbed.conformance.case import Case, load
from midflight.testbed.conformance.mutants import Mutant, mutants
from midflight.testbed.conformance.player import Player
from midflight.testbed.conformance.reached import ReachedDevice
from midflight.testbed.conformance.shrink import shrink
from midflight.testbed.conformance.subject import names
from midflight.testbed.conformance.traces import generate

__all__ = ["Caught", "Opening", "Report", "Result", "Verdict", "cases", "check", "opening", "self_test", "unasked"]

Progress = Callable[[int, int, str], None]
Opening = Callable[[], PacketDevice]
"""Starts a device, or finds one, that can be given packets."""


class Verdict(Enum):
    """What a case came to."""

    PASSED = "passed"
    FAILED = "failed"
    EXPECTED_FAILURE = "expected failure"
    UNEXPECTED_PASS = "unexpected pass"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Result:
    """One case's verdict; `case` is the shrunk one where it failed, `log` the end of what the switch logged."""

    case: Case
    verdict: Verdict
    differences: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()
    log: str = ""

    @property
    def good(self) -> bool:
        """Whether the run may succeed with it: an expected failure that passes may not."""
        return self.verdict in (Verdict.PASSED, Verdict.EXPECTED_FAILURE)


@dataclass(frozen=True, slots=True)
class Report:
    """A run's results on one kind of device."""

    device: str
    seed: int
    results: tuple[Result, ...]
    server: str = ""
    """What a device that somebody else runs says about itself."""

    @property
    def good(self) -> bool:
        """Whether no case failed."""
        return all(each.good for each in self.results)


@dataclass(frozen=True, slots=True)
class Caught:
    """A broken program, and the case that caught it; None where none did."""

    mutant: Mutant
    case: str | None
    difference: str = ""


def cases(primitives: Sequence[str] = (), *, seed: int = 0, count: int = 20, folder: Path | None = None) -> list[Case]:
    """Return the shipped cases of these primitives (all where none is named), then `count` generated ones of each.

    `folder` has cases in files, instead of the shipped ones. MidflightError for a primitive that is not known.
    """
    known = names()
    for name in primitives:
        if name not in known:
            raise MidflightError(f"no primitive {name!r} has cases", hint=f"there is {', '.join(known)}")
    chosen = tuple(primitives) or known
    written = Path(str(files(__package__) / "cases")) if folder is None else folder
    if not written.is_dir():
        raise MidflightError(f"{written}: no folder of cases")
    found = [each for each in map(load, sorted(written.glob("*.json"))) if each.primitive in chosen]
    found += [generate(name, seed, number) for name in chosen for number in range(count)]
    return sorted(found, key=_kind)


def opening(
    device: str, *, interfaces: Mapping[int, str] | None = None, device_id: int = 1, compiler: str = ""
) -> Opening:
    """Return what opens a device: a kind that is started, or "grpc:ADDRESS", to which all the options belong.

    For those see `RemoteDevice` and `ReachedDevice`. MidflightError where they are given for a kind.
    """
    if device.startswith("grpc:"):
        return partial(_reach, device, interfaces, device_id, compiler)
    if interfaces or device_id != 1 or compiler:
        raise MidflightError(
            f"a {device} device is started here, and has its packets, id and compiler from here",
            hint="-i, --device-id and --compiler are for --device grpc:ADDRESS",
        )
    return partial(_packet_device, device)


def check(
    kind: str,
    tests: Sequence[Case],
    *,
    seed: int = 0,
    progress: Progress | None = None,
    start: Opening | None = None,
) -> Report:
    """Play cases on a device of a kind. A device that dies fails its case, and another is started for the next."""
    start = start or opening(kind)
    server = ""
    tell = progress or (lambda *_: None)
    results: list[Result] = []
    with ExitStack() as stack:
        device: PacketDevice | None = None
        for _, group in groupby(tests, _kind):
            of_one_kind = list(group)
            player: Player | None = None
            for case in of_one_kind:
                tell(len(results), len(tests), case.name)
                try:
                    if device is None:
                        device = stack.enter_context(start())
                        server = getattr(device, "server", "")
                        player = None
                    if player is None:
                        player = stack.enter_context(Player(device, of_one_kind[0]))
                    results.append(_result(case, kind, device, player))
                except MidflightError as error:
                    results.append(Result(case, Verdict.ERROR, (str(error),), log=_log(device)))
                    stack.close()
                    device = player = None
            if player is not None:
                player.close()
    tell(len(tests), len(tests), "")
    return Report(kind, seed, tuple(results), server)


def self_test(
    kind: str, *, seed: int = 0, count: int = 12, progress: Progress | None = None, start: Opening | None = None
) -> tuple[Caught, ...]:
    """Run every broken program that ships against its primitive's cases; return which case caught each.

    A broken program that the device's compiler or the controller cannot take is caught too.
    """
    tell = progress or (lambda *_: None)
    found: list[Caught] = []
    broken = mutants()
    with (start or opening(kind))() as device:
        for number, mutant in enumerate(broken):
            tell(number, len(broken), mutant.name)
            tests = [
                each
                for each in cases([mutant.primitive], seed=seed, count=count)
                if dict(each.parameters) == dict(mutant.parameters)
            ]
            found.append(_caught(mutant, tests, device))
    tell(len(broken), len(broken), "")
    return tuple(found)


def _caught(mutant: Mutant, tests: Sequence[Case], device: PacketDevice) -> Caught:
    broken = mutant.apply(tests[0].program().p4())
    try:
        player = Player(device, tests[0], broken)
    except DeviceError:
        raise
    except MidflightError as error:
        return Caught(mutant, "(the compiler)", error.message)
    with player:
        for case in tests:
            try:
                played = player.play(case)
            except RequestError as error:
                return Caught(mutant, "(the controller)", error.message)
            if not played.passed:
                return Caught(mutant, case.name, played.differences[0])
    return Caught(mutant, None)


def _result(case: Case, kind: str, device: PacketDevice, player: Player) -> Result:
    played = player.play(case)
    expected = case.expected_failures.get(kind)
    if played.passed:
        if expected is None:
            return Result(case, Verdict.PASSED, unasked=played.unasked)
        return Result(case, Verdict.UNEXPECTED_PASS, (f"this was known to fail: {expected}",))
    if expected is not None:
        return Result(case, Verdict.EXPECTED_FAILURE, (expected,))
    small, again = shrink(case, partial(_fails, player)), played
    if small is not case:
        small = replace(small, name=f"{case.name}-shrunk")
        again = player.play(small)
    if again.passed:  # It fails now and then only: the whole case tells more.
        small, again = case, played
    return Result(small, Verdict.FAILED, again.differences, again.unasked, _log(device))


def _fails(player: Player, case: Case) -> bool:
    return not player.play(case).passed


def _packet_device(kind: str) -> PacketDevice:
    device = open_device(kind)
    if not isinstance(device, PacketDevice):
        device.close()
        raise DeviceError(f"a {kind} device cannot be given packets")
    return device


def _reach(name: str, interfaces: Mapping[int, str] | None, device_id: int, compiler: str) -> PacketDevice:
    device = open_device(name, device_id=device_id, compiler=compiler)
    assert isinstance(device, RemoteDevice)
    return ReachedDevice(device, interfaces)


def _log(device: PacketDevice | None) -> str:
    log = getattr(device, "log", None)
    return str(log())[-4000:] if callable(log) else ""


def _kind(case: Case) -> tuple[str, str]:
    return case.primitive, repr(sorted(case.parameters.items()))


def unasked(results: Iterable[Result]) -> Iterator[str]:
    """Yield, once each, what the device could not be asked, and why."""
    yield from dict.fromkeys(reason for each in results for reason in each.unasked)
