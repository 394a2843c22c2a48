"""Conformance tests of a user's P4 program: STF tests, generated traces beside a reference, and mutants."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from types import TracebackType

from midflight.errors import DeviceError, MidflightError
from midflight.p4 import ir
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.devices.registry import open_device
from midflight.runtime.devices.tracing import open_tracer
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.entities import Difference
from midflight.runtime.p4runtime.entryfiles.steps import SessionTarget, apply
from midflight.testbed.conformance.case import Case
from midflight.testbed.conformance.mutants import Mutant
from midflight.testbed.conformance.p4mutants import text_mutants
from midflight.testbed.conformance.run import Caught, Progress, Report, Result, Verdict
from midflight.testbed.conformance.shrink import fewest
from midflight.testbed.stf import play as stf
from midflight.testbed.stf.entries import Entries
from midflight.testbed.stf.fielddiff import Pattern, differences
from midflight.testbed.stf.fields import layout
from midflight.testbed.stf.syntax import Add, Command, Line, Packet, Remove, SetDefault, parse
from midflight.userfiles import read_text

__all__ = ["P4Cases", "Reference", "Test", "check_p4", "load_tests", "self_test_p4"]

Sent = tuple[int, bytes]
"""A packet with the port that it arrives or leaves by."""

Reference = Callable[[Sequence[Sent]], Sequence[Sequence[Sent]]]
"""A function that returns what must leave for each packet of a trace, from the program's initial state.

It must return as many results as there are packets.
"""

_CONTROL = Add | SetDefault | Remove | Command
_VERDICTS = {
    stf.Verdict.PASS: Verdict.PASSED,
    stf.Verdict.FAIL: Verdict.FAILED,
    stf.Verdict.UNSUPPORTED: Verdict.REFUSED,
}
_EQUIVALENT = "equivalent.txt"
_TRACES = 8


@dataclass(frozen=True, slots=True)
class Test:
    """A test in an STF file: its name, its text, and its lines."""

    name: str
    file: str
    text: str
    lines: tuple[Line, ...]

    @property
    def control(self) -> list[_CONTROL]:
        """The lines for the control plane, without those about packets."""
        return [each for each in self.lines if isinstance(each, _CONTROL)]


@dataclass(frozen=True, slots=True)
class P4Cases:
    """A program and its tests. `equivalent` are the names of mutants that behave as the program does."""

    checked: CheckedProgram
    tests: tuple[Test, ...]
    equivalent: frozenset[str] = frozenset()

    @property
    def title(self) -> str:
        """The name of the program's file, by which reports call the program."""
        return Path(self.checked.file).name


def load_tests(program: Path, folder: Path) -> P4Cases:
    """Return a P4 program with the tests in a folder: all its files *.stf.

    `equivalent.txt`, if the folder has it, has the names of equivalent mutants, one a line. The program is not checked
    yet. MidflightError if a file cannot be read, for lines that are not STF, and if there are no tests.
    """
    checked = CheckedProgram(read_text(program), str(program))
    paths = sorted(folder.glob("*.stf"))
    if not paths:
        raise MidflightError(f"{folder} has no *.stf", hint="docs/run.md describes packet tests in STF")
    tests = []
    for path in paths:
        text = read_text(path)
        tests.append(Test(path.stem, str(path), text, tuple(parse(text, str(path)))))
    listed = folder / _EQUIVALENT
    names = read_text(listed).splitlines() if listed.exists() else []
    return P4Cases(checked, tuple(tests), frozenset(each.strip() for each in names if each.strip()))


def check_p4(
    kind: str,
    cases: P4Cases,
    *,
    seed: int,
    count: int,
    reference: Reference | str | None = None,
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
    sheet: Capabilities | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Report:
    """Play the tests of a program on a kind of device, then `count` generated traces, and return the results.

    A trace has the entries of a test and packets like its packets, with fields changed. What leaves must be what
    `reference` returns: a function, or the name of another kind of device. With None, or the name of the same kind, no
    traces are played. A failing trace is minimised, and the result has it as a file in STF. A test whose program the
    device or `sheet` cannot hold is REFUSED, and then no traces are played. Other errors while a test or trace is
    played have the verdict ERROR. `stop` is called before each test and trace: if it returns True, the others are left
    out, and the report counts them in `left`. `clock` returns seconds.

    P4Error for a program that is not valid. For traces, DeviceError if the device or that of `reference` does not
    start, and P4Error if the latter does not support the program. Exceptions of a function propagate.
    """
    program = cases.checked.program
    traces = count if reference is not None and reference != kind else 0
    total, results = len(cases.tests) + traces, list[Result]()
    for test in cases.tests:
        if stop():
            break
        progress(len(results), total, test.name)
        results.append(_tested(kind, cases, test, sheet, clock))
    with ExitStack() as opened:
        if traces and not stop() and Verdict.REFUSED not in [each.verdict for each in results]:
            player = opened.enter_context(_Player(kind, cases.checked))
            answers = _answers(reference, cases.checked, opened)
            for number in range(traces):
                if stop():
                    break
                progress(len(results), total, f"trace {number}")
                results.append(_traced(cases, program, player, answers, seed, number, clock))
        elif traces and results and results[-1].verdict is Verdict.REFUSED:
            total -= traces
    progress(len(results), total, "")
    return Report(kind, seed, tuple(results), left=total - len(results))


def self_test_p4(
    cases: P4Cases,
    *,
    count: int = 40,
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Caught, ...]:
    """Return for up to `count` mutants of a program which of its tests detects them, on the embedded switch.

    A test detects a mutant if it fails, or cannot be played with it. Mutants that `cases.equivalent` names are left
    out. `stop` is called before each mutant: if it returns True, the results so far are returned.
    """
    source, file = cases.checked.text, cases.checked.file
    chosen = [each for each in text_mutants(source, file, count) if each.name not in cases.equivalent]
    found: list[Caught] = []
    for number, each in enumerate(chosen):
        if stop():
            break
        progress(number, len(chosen), each.name)
        by, how = None, ""
        for test in cases.tests:
            try:
                outcome = stf.run(each.text, file, test.text, test.file)
                reasons = outcome.reasons
            except MidflightError as error:  # a name of the test is no longer there
                reasons = (error.message,)
            if reasons:
                by, how = test.name, reasons[0].splitlines()[0]
                break
        found.append(Caught(Mutant(each.name, cases.title, {}, "", ""), by, how))
    progress(len(found), len(chosen), "")
    return tuple(found)


def _tested(kind: str, cases: P4Cases, test: Test, sheet: Capabilities | None, clock: Callable[[], float]) -> Result:
    begun = clock()
    case = Case(test.name, cases.title, {}, ())
    source, file = cases.checked.text, cases.checked.file
    packets = sum(isinstance(each, Packet) for each in test.lines)
    try:
        outcome = stf.run(source, file, test.text, test.file, kind, sheet)
    except MidflightError as error:
        return Result(case, Verdict.ERROR, (str(error),), packets=packets, seconds=clock() - begun)
    result = Result(
        case, _VERDICTS[outcome.verdict], outcome.reasons, packets=packets, seconds=clock() - begun,
        files={f"{test.name}.stf": test.text},
    )  # fmt: skip
    if outcome.verdict is stf.Verdict.FAIL and kind == "host":
        traces: list[str] = []
        stf.run(source, file, test.text, test.file, kind, sheet, traces)
        result = replace(result, trace="\n".join(traces[:_TRACES]))
    return result


def _traced(
    cases: P4Cases,
    program: ir.Program,
    player: _Player,
    answers: Callable[[Test, Sequence[Sent]], Sequence[Sequence[Sent]]],
    seed: int,
    number: int,
    clock: Callable[[], float],
) -> Result:
    begun = clock()
    test = cases.tests[number % len(cases.tests)]
    name = f"{test.name}-{seed}-{number}"
    packets = list(_drawn(Random(f"{seed}/{test.name}/{number}"), test, program))
    case = Case(name, cases.title, {}, ())

    def wrong(numbers: Sequence[int]) -> list[str]:
        some = [packets[each] for each in numbers]
        return _differences(program, player.play(test, some), answers(test, some))

    try:
        said = wrong(range(len(packets)))
        if not said:
            return Result(case, Verdict.PASSED, packets=len(packets), seconds=clock() - begun)
        kept = fewest(len(packets), lambda numbers: bool(wrong(numbers)))
        some = [packets[each] for each in kept]
        said, trace = wrong(kept), player.traced(test, some)
        expected = answers(test, some)
    except MidflightError as error:
        return Result(case, Verdict.ERROR, (str(error),), packets=len(packets), seconds=clock() - begun)
    if len(kept) < len(packets):
        said.append(f"minimised to {len(kept)} of {len(packets)} packets")
    files = {f"{name}.stf": _stf(test, some, expected)}
    return Result(
        case, Verdict.FAILED, tuple(said), packets=len(packets), trace=trace, seconds=clock() - begun, files=files
    )


def _answers(
    reference: Reference | str | None, checked: CheckedProgram, opened: ExitStack
) -> Callable[[Test, Sequence[Sent]], Sequence[Sequence[Sent]]]:
    if isinstance(reference, str):
        return opened.enter_context(_Player(reference, checked)).play
    assert reference is not None
    function = reference

    def asked(_: Test, packets: Sequence[Sent]) -> list[list[Sent]]:
        found = [list(each) for each in function(list(packets))]
        if len(found) != len(packets):
            raise MidflightError(f"the reference returns {len(found)} results for {len(packets)} packets")
        return found

    return asked


class _Player:
    """Plays traces of one program on a device, each from the program's initial state. A context manager."""

    def __init__(self, kind: str, checked: CheckedProgram) -> None:
        self._stack = ExitStack()
        try:
            device = self._stack.enter_context(open_device(kind))
            if not isinstance(device, PacketDevice):
                raise DeviceError(f"packets cannot be sent to a {kind} device")
            self._device = device
            self._config = device.compile(checked)
            self._session = self._stack.enter_context(device.session())
        except BaseException:
            self._stack.close()
            raise

    def play(self, test: Test, packets: Sequence[Sent]) -> list[list[Sent]]:
        """Return what leaves for each packet, one after the other, with the entries of a test."""
        self._session.load(self._config.p4info, self._config.config)
        target = SessionTarget(self._session)
        entries = Entries(target.schema)
        for line in test.control:
            apply(entries.steps(line), target)
        sent = [sorted(self._device.process(Packets.from_list([each]), at)) for at, each in enumerate(packets, 1)]
        # A device may keep its multicast groups when it loads a pipeline again.
        self._session.amend(Difference((), (), tuple(self._session.holding().values())))
        return sent

    def traced(self, test: Test, packets: Sequence[Sent]) -> str:
        """Return what happens to the last packet of a trace in the switch, as text; empty without traces."""
        try:
            tracer = open_tracer(self._device, self._session)
        except DeviceError:
            return ""
        try:
            self.play(test, packets)
        finally:
            traces = tracer.close()
        return traces[-1] if traces else ""

    def __enter__(self) -> _Player:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def _drawn(random: Random, test: Test, program: ir.Program) -> Iterator[Sent]:
    """Yield 5 to 20 packets like those of a test: as they are, with other values in fields, or cut short."""
    known = [each for each in test.lines if isinstance(each, Packet)]
    ports = sorted({each.port for each in known})
    for _ in range(random.randint(5, 20) if known else 0):
        like = random.choice(known)
        data, port = like.data, random.choice([like.port, like.port, *ports])
        fields = layout(program, data, port)
        for each in random.sample(fields, min(len(fields), random.choice((0, 1, 1, 2)))):
            others = random.choice(known).data
            size = len(data) * 8
            top = (1 << each.width) - 1
            value = random.choice((0, 1, top, random.randint(0, top), _cut(others, each.start, each.width) or 0))
            shift = size - each.start - each.width
            whole = int.from_bytes(data, "big") & ~(top << shift) | value << shift
            data = whole.to_bytes(len(data), "big")
        if random.random() < 0.1:
            data = data[: random.randint(14, max(14, len(data)))]
        yield port, data


def _cut(data: bytes, start: int, width: int) -> int | None:
    shift = len(data) * 8 - start - width
    return int.from_bytes(data, "big") >> shift & (1 << width) - 1 if shift >= 0 else None


def _differences(program: ir.Program, came: Sequence[Sequence[Sent]], expected: Sequence[Sequence[Sent]]) -> list[str]:
    said = []
    for number, (has, must) in enumerate(zip(came, expected, strict=True)):
        one, other = sorted(has), sorted(must)
        if [port for port, _ in one] != [port for port, _ in other]:
            ports = [", ".join(str(port) for port, _ in each) or "no port" for each in (one, other)]
            said.append(f"packet {number}: leaves by {ports[0]}, must leave by {ports[1]}")
            continue
        for (port, data), (_, wanted) in zip(one, other, strict=True):
            found = differences(Pattern(wanted, b"\xff" * len(wanted)), data, layout(program, wanted, port))
            said += [f"packet {number}, by port {port}: {each}" for each in found]
    return said


def _stf(test: Test, packets: Sequence[Sent], expected: Sequence[Sequence[Sent]]) -> str:
    """Return a trace as a test in STF, with the entries of the test that it comes from."""
    places = {each.place.line for each in test.control}
    lines = [each for number, each in enumerate(test.text.splitlines(), 1) if number in places]
    for (port, data), sent in zip(packets, expected, strict=True):
        lines.append(f"packet {port} {data.hex().upper()}")
        lines += [f"expect {out} {wanted.hex().upper()}$" for out, wanted in sorted(sent)] or ["no_packet"]
    return "\n".join(lines) + "\n"
