"""Conformance runs: the cases of every primitive on a device, and the self-test, which plays cases with broken
programs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path

from midflight.errors import DeviceError, MidflightError
from midflight.runtime.devices import open_device
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.devices.remote import RemoteDevice
from midflight.runtime.p4runtime.client.session import RequestError
from midflight.testbed.conformance.case import Case, load
from midflight.testbed.conformance.live import open_live, passes_links
from midflight.testbed.conformance.mutants import Mutant, mutants
from midflight.testbed.conformance.player import Player
from midflight.testbed.conformance.reached import ReachedDevice
from midflight.testbed.conformance.stage import Opening, Result, Stage, Verdict, alike
from midflight.testbed.conformance.subject import Subject, names, subject
from midflight.testbed.conformance.traces import Generator

__all__ = [
    "Cases", "Caught", "Opening", "Report", "Result", "Verdict", "cases", "check", "opening", "self_test", "unasked",
]  # fmt: skip

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Report:
    """The results of a conformance run on one kind of device, in the order of playing. `seed` is that of generated
    cases.

    `server` is the version that a remote device reports, empty for others. `left` is the number of cases that were not
    played, because the run was interrupted.
    """

    device: str
    seed: int
    results: tuple[Result, ...]
    server: str = ""
    """The version that a remote device reports."""
    left: int = 0
    """The number of cases that were not played because the run was stopped."""

    @property
    def good(self) -> bool:
        """Whether every case was played, and each passed or failed as expected."""
        return not self.left and all(each.good for each in self.results)


@dataclass(frozen=True, slots=True)
class Caught:
    """The result of the self-test for one broken program: the name of the case that detected it, and the first
    difference.

    `case` is None if no case detected it, and "(the compiler)" or "(the controller)" if the device rejected it.
    """

    mutant: Mutant
    case: str | None
    difference: str = ""


class Cases(Collection[Case]):
    """A collection of conformance cases, in the order of `makers`, each of which creates one.

    `programs` has what distinguishes the program of each case from others; those of the same program are next to each
    other. Generated cases are created each time the collection is iterated, and not kept.
    """

    def __init__(self, makers: Sequence[Callable[[], Case]], programs: Sequence[object]) -> None:
        self.makers = makers
        self.programs = programs

    def __len__(self) -> int:
        return len(self.makers)

    def __iter__(self) -> Iterator[Case]:
        return (make() for make in self.makers)

    def __contains__(self, case: object) -> bool:
        return any(each == case for each in self)


def cases(
    primitives: Sequence[str] = (),
    *,
    seed: int = 0,
    count: int = 20,
    folder: Path | None = None,
    live: bool = False,
    own: Mapping[str, Subject] | None = None,
) -> Cases:
    """Return the cases that ship with Midflight for these primitives (by default all), and `count` generated ones for
    each.

    The generated cases follow from `seed`. `folder` contains case files (*.json) to use instead of the shipped ones.
    With `live`, cases from files whose packets are too short for Ethernet are left out. `own` are subjects by the names
    of their primitives, which are used instead of the library's; then no cases ship with Midflight.
    MidflightError if a primitive is unknown, the folder does not exist or a file is malformed.
    """
    known = names() if own is None else tuple(own)
    for name in primitives:
        if name not in known:
            raise MidflightError(f"no primitive {name!r} has cases", hint=f"those with cases are {', '.join(known)}")
    chosen = tuple(primitives) or known
    written = folder if folder is not None or own is not None else Path(str(files(__package__) / "cases"))
    if written is not None and not written.is_dir():
        raise MidflightError(f"{written}: there is no such folder of cases")
    classes = {name: each.primitive for name, each in (own or {}).items()}
    loaded = [load(each, classes) for each in sorted(written.glob("*.json"))] if written is not None else []
    found: list[tuple[tuple[str, str], Callable[[], Case]]] = [
        (alike(each.primitive, each.parameters), partial(_same, each))
        for each in loaded
        if each.primitive in chosen and (not live or passes_links(each))
    ]
    for name in chosen:
        of = subject(name) if own is None else own[name]
        generator = Generator(name, None if own is None else of)
        found += [(alike(name, of.choice(number)), partial(generator.case, seed, number)) for number in range(count)]
    found.sort(key=lambda each: each[0])
    return Cases([make for _, make in found], [program for program, _ in found])


def opening(
    device: str,
    *,
    interfaces: Mapping[int, str] | None = None,
    device_id: int = 1,
    compiler: str = "",
    live: bool = False,
) -> Opening:
    """Return a function that opens a device for a run each time it is called.

    `device` is a kind that is started on this machine, or "grpc:ADDRESS" for a remote device. With `live`, a kind is
    started on veth pairs, and packets pass them. The other options are for a remote device: `interfaces` as in
    `ReachedDevice`, `device_id` and `compiler` as in `RemoteDevice`. MidflightError if options do not suit the device.
    """
    if device.startswith("grpc:"):
        if live:
            raise MidflightError(f"{device} is not started here, so --live does not apply", hint="use -i")
        return partial(_open_remote, device, interfaces, device_id, compiler)
    if interfaces or device_id != 1 or compiler:
        raise MidflightError(
            f"a {device} device is started here, so its interfaces, id and compiler cannot be chosen",
            hint="-i, --device-id and --compiler are for --device grpc:ADDRESS",
        )
    return partial(open_live if live else _packet_device, device)


def check(
    kind: str,
    tests: Collection[Case],
    *,
    seed: int = 0,
    progress: Progress | None = None,
    start: Opening | None = None,
    stop: Callable[[], bool] = lambda: False,
    sheet: Capabilities | None = None,
) -> Report:
    """Play cases on a kind of device and return the results. Failing cases are minimised.

    If the device dies, does not start, or refuses the program or a request, the verdict on the case is ERROR, and
    another device is started for the next one. No error of a device is raised. `seed` is only recorded in the
    report. `progress` is called before each case with the number of played and of all cases, and a text. `start` opens
    the device; by default `opening(kind)`. `stop` is called before each case; if it returns True the run ends, and the
    remaining cases are counted as `left`. Cases of programs that exceed `sheet` are not played, but refused.
    """
    notify = progress or (lambda *_: None)
    results: list[Result] = []
    bad = 0
    with Stage(kind, start or opening(kind), sheet) as stage:
        for case in tests:
            if stop():
                break
            notify(len(results), len(tests), f"{case.name}, {bad} failed" if bad else case.name)
            results.append(stage.play(case))
            if results[-1].verdict is Verdict.FAILED:
                results[-1] = stage.shrunk(results[-1], stop)
            bad += not results[-1].good
        notify(len(results), len(tests), "")
    return Report(kind, seed, tuple(results), stage.server, len(tests) - len(results))


def self_test(
    kind: str,
    *,
    seed: int = 0,
    count: int = 12,
    progress: Progress | None = None,
    start: Opening | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Caught, ...]:
    """Play cases with every broken program that ships with Midflight, to see whether they detect it.

    Returns a result for each. `count` is the number of generated cases for each primitive, from `seed`; shipped ones
    are played first. Other parameters are as in `check`, but programs instead of cases are counted. A broken program
    that the device's compiler or the controller rejects counts as detected. DeviceError if the device does not start or
    dies.
    """
    notify = progress or (lambda *_: None)
    found: list[Caught] = []
    broken = mutants()
    with (start or opening(kind))() as device:
        for number, mutant in enumerate(broken):
            if stop():
                break
            notify(number, len(broken), mutant.name)
            tests = [
                each
                for each in cases([mutant.primitive], seed=seed, count=count)
                if dict(each.parameters) == dict(mutant.parameters)
            ]
            found.append(_caught(mutant, tests, device))
    notify(len(found), len(broken), "")
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


def _packet_device(kind: str) -> PacketDevice:
    device = open_device(kind)
    if not isinstance(device, PacketDevice):
        device.close()
        raise DeviceError(f"packets cannot be sent to a {kind} device")
    return device


def _open_remote(name: str, interfaces: Mapping[int, str] | None, device_id: int, compiler: str) -> PacketDevice:
    device = open_device(name, device_id=device_id, compiler=compiler)
    assert isinstance(device, RemoteDevice)
    return ReachedDevice(device, interfaces)


def _same(case: Case) -> Case:
    return case


def unasked(results: Iterable[Result]) -> Iterator[str]:
    """Yield each text about something that could not be tested on the device, with the reason; once for all results."""
    yield from dict.fromkeys(reason for each in results for reason in each.unasked)
