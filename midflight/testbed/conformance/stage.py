"""The stage on which cases are played one after the other: a device, its controller, and the result of each case."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from enum import Enum
from types import TracebackType

from midflight.errors import MidflightError
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.placement.plan import reasons_against_applications
from midflight.testbed.conformance.case import Case
from midflight.testbed.conformance.player import Player
from midflight.testbed.conformance.shrink import shrink
from midflight.testbed.conformance.subject import Parameters

__all__ = ["Opening", "Result", "Stage", "Verdict", "alike"]

Opening = Callable[[], PacketDevice]
"""A function that starts a device to which packets can be sent, or connects to one."""

MOST_SHRUNK = 3
"""How many failures of one kind of case are minimised, because that takes many times as long as finding them."""


class Verdict(Enum):
    """The verdict on a case.

    Failures are expected if the case lists the device in `expected_failures`. ERROR means that the device did not
    start, died, or refused the program or a request. REFUSED means that the program exceeds the capability sheet that
    the run assumes.
    """

    PASSED = "passed"
    FAILED = "failed"
    EXPECTED_FAILURE = "expected failure"
    UNEXPECTED_PASS = "unexpected pass"
    ERROR = "error"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one case: the verdict and, as texts, the differences from the expected output.

    `case` is the minimised one if it failed. If the result is good, its packets are removed to save memory. `unasked`
    are texts about what could not be tested. `log` is the end of the switch's log, at most 4000 characters. `flaky` is
    whether the case failed, and passed when it was played again. `packets` is the number of packets that the case had
    before it was minimised. `trace` is the way of the first packet that differs through the pipeline, empty if it is
    not known. `seconds` is how long the case took, without minimising it. `files` reproduce a failure of a P4 program:
    texts by file name.
    """

    case: Case
    verdict: Verdict
    differences: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()
    log: str = ""
    flaky: bool = False
    packets: int = 0
    trace: str = ""
    seconds: float = field(default=0.0, compare=False)
    files: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def good(self) -> bool:
        """Whether the verdict is PASSED, EXPECTED_FAILURE or REFUSED. A case that passes although it was expected to
        fail is not good.
        """
        return self.verdict in (Verdict.PASSED, Verdict.EXPECTED_FAILURE, Verdict.REFUSED)


class Stage:
    """Plays cases on devices of one kind, one after the other. A context manager; leaving it closes the device.

    `start` opens a device; it is called for the first case, and again after a device has died. `server` is the version
    that a remote device reports. Cases of programs that exceed `sheet` are refused. `clock` returns seconds, to measure
    cases.
    """

    def __init__(
        self,
        kind: str,
        start: Opening,
        sheet: Capabilities | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.server = ""
        self._clock = clock
        self._kind = kind
        self._start = start
        self._stack = ExitStack()
        self._device: PacketDevice | None = None
        self._player: Player | None = None
        self._plays: tuple[str, str] | None = None
        self._to_shrink = 0
        self._sheet = sheet
        self._reasons: dict[tuple[str, str], tuple[str, ...]] = {}

    def play(self, case: Case) -> Result:
        """Play a case and return its result.

        The verdict is ERROR if the device does not start, dies, or refuses the program or a request. The device is then
        closed, and the next case starts another one. Such errors are not raised.
        """
        begun = self._clock()
        result = self._play(case)
        return replace(result, packets=len(case.steps), seconds=self._clock() - begun)

    def _play(self, case: Case) -> Result:
        if reasons := self._exceeded(case):
            return Result(case.only([]), Verdict.REFUSED, ("; ".join(reasons),))
        try:
            played = self._player_for(case).play(case)
        except MidflightError as error:
            log = _log(self._device)
            self._close()
            return Result(case, Verdict.ERROR, (str(error),), log=log)
        expected = case.expected_failures.get(self._kind)
        if not played.passed and expected is None:
            return Result(case, Verdict.FAILED, played.differences, played.unasked, _log(self._device))
        if not played.passed:
            return Result(case.only([]), Verdict.EXPECTED_FAILURE, (f"{expected}",))
        if expected is None:
            return Result(case.only([]), Verdict.PASSED, unasked=played.unasked)
        return Result(case, Verdict.UNEXPECTED_PASS, (f"this case passed, but was expected to fail: {expected}",))

    def shrunk(self, result: Result, stop: Callable[[], bool]) -> Result:
        """Return a failed result with its case minimised, if it fails reliably.

        At most three failures with the same program are minimised; later ones are returned unchanged, and so is the
        result if the device dies. When `stop` returns True, the smallest case found so far is used.
        """
        self._to_shrink -= 1
        if self._to_shrink < 0:
            return result
        try:
            player = self._player_for(result.case)
            small = shrink(result.case, lambda each: not stop() and not player.play(each).passed)
            again = player.play(small)
        except MidflightError:
            self._close()
            return result
        if again.passed:  # the whole case is more useful
            packets = f"{len(small.steps)} of its {len(result.case.steps)} packets"
            note = f"flaky: with {packets} it failed, and passed when it was played again"
            if small is result.case:
                note = "flaky: it passed when it was played again"
            return replace(result, differences=(*result.differences, note), flaky=True)
        trace = player.traced(small) if not result.trace else result.trace
        return replace(result, case=small, differences=again.differences, log=_log(self._device), trace=trace)

    def _exceeded(self, case: Case) -> tuple[str, ...]:
        """Return why the program of a case exceeds the sheet."""
        if self._sheet is None:
            return ()
        key = alike(case.primitive, case.parameters)
        if key not in self._reasons:
            program = case.program()
            checked = CheckedProgram(program.p4(), "program.p4")
            self._reasons[key] = reasons_against_applications(checked, self._sheet, program.applications)
        return self._reasons[key]

    def _player_for(self, case: Case) -> Player:
        plays = alike(case.primitive, case.parameters)
        if self._plays != plays:
            self._plays, self._to_shrink = plays, MOST_SHRUNK
            self._end_session()
        if self._device is None:
            self._device = self._stack.enter_context(self._start())
            self.server = getattr(self._device, "server", "")
        if self._player is None:
            self._player = Player(self._device, case)
        return self._player

    def _end_session(self) -> None:
        if self._player is not None:
            self._player.close()
        self._player = None

    def _close(self) -> None:
        self._end_session()
        self._device = None
        self._stack.close()

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()


def alike(primitive: str, parameters: Parameters) -> tuple[str, str]:
    """Return a key that is equal for cases that are played with the same program, to sort and group them."""
    return primitive, repr(sorted(parameters.items()))


def _log(device: PacketDevice | None) -> str:
    log = getattr(device, "log", None)
    return str(log())[-4000:] if callable(log) else ""
