"""Demand that shifts for good: sources of a planned application that send much more or less than the plan expects."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType

from midflight.errors import MidflightError
from midflight.runtime.controller.following import Following
from midflight.runtime.controller.observe.events import Event, OnEvent
from midflight.runtime.controller.observe.metrics import Reading
from midflight.runtime.placement.planner.model import Application

__all__ = ["DemandWatch", "Shift"]

_SAMPLES = 10  # in the time that a shift has to last
_FACTOR = 2.0
_LEAST = 1e-3  # of the planned rate: the plan never expects less


class Shift:
    """Decides whether the demand on an application has shifted for good. Has no clock.

    It has if the sources of a step have sent more than twice of what the application says in each sample for `seconds`,
    or less than half of it in each. Steps that take from other steps do not count, and neither do those that are left
    to hosts, whose packets no switch counts.
    """

    def __init__(self, application: Application, seconds: float) -> None:
        self._seconds = seconds
        sources = {each.name: each.rate * len(each.at) for each in application.sources}
        self._rates = {each.name: each.rate for each in application.sources}
        self._steps = {
            step.name: (step.takes, sum(sources[each] for each in step.takes))
            for step in application.steps
            if all(each in sources for each in step.takes)
        }
        self._last: tuple[float, dict[tuple[str, str], int]] | None = None
        self._since: dict[str, tuple[float, float, float]] = {}  # since when a step is off, with the bits since then

    def sample(self, octets: Mapping[tuple[str, str], int], now: float) -> dict[str, float]:
        """Process a sample: the bytes that have arrived so far, by step and switch, at `now` in seconds.

        Return the rates of sources that have shifted, in bits a second as `Source.rate` is; empty if none has. A rate
        is the mean since the shift began, and at least a thousandth of the planned one; for a source of several steps,
        it is the highest. Further samples return it again as long as the demand is off.
        """
        before, self._last = self._last, (now, dict(octets))
        if before is None or now <= before[0]:
            return {}
        found: dict[str, float] = {}
        for step, (takes, planned) in self._steps.items():
            grown = [
                count - before[1][key]
                for key, count in octets.items()
                if key[0] == step and count >= before[1].get(key, count + 1)
            ]
            ratio = 8 * sum(grown) / (now - before[0]) / planned if grown else 1.0
            if 1 / _FACTOR <= ratio <= _FACTOR:
                self._since.pop(step, None)
                continue
            start, bits, above = self._since.get(step, (before[0], 0.0, ratio))
            if (above > 1) != (ratio > 1):  # it swings
                start, bits = before[0], 0.0
            bits += 8 * sum(grown)
            self._since[step] = start, bits, ratio
            if now - start >= self._seconds:
                scale = max(bits / (now - start) / planned, _LEAST)
                for each in takes:
                    found[each] = max(found.get(each, 0.0), self._rates[each] * scale)
        return found


class DemandWatch:
    """Plans a deployment again, in a thread, when its demand has shifted for `seconds` (`Shift`). A context manager.

    `read` returns the counters of all switches, and is called ten times in `seconds`. Emits the event `demand-shifted`
    with the rates, and what `Following` emits when steps move. If planning fails, it emits `not-replanned`, the last
    plan holds, and the demand has to be off for `seconds` again. It starts at once.
    """

    def __init__(self, following: Following, read: Callable[[], Reading], emit: OnEvent, seconds: float) -> None:
        self._following, self._read, self._emit, self._seconds = following, read, emit, seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watching demand", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait until the thread has ended. Idempotent. Do not hold the controller's lock."""
        self._end.set()
        self._thread.join()

    def __enter__(self) -> DemandWatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _watch(self) -> None:
        application = self._following.application
        shift = Shift(application, self._seconds)
        while not self._end.wait(self._seconds / _SAMPLES):
            if self._following.application is not application:  # planned again with other rates
                application = self._following.application
                shift = Shift(application, self._seconds)
            rates = shift.sample(_octets(self._read()), time.monotonic())
            if rates:
                shown = ", ".join(f"{name} {rate / 1e6:.3g} Mbit/s" for name, rate in rates.items())
                self._emit(Event("demand-shifted", shown, details={"rates": rates}))
                try:
                    self._following.rate(rates)
                except MidflightError as error:
                    self._emit(Event("not-replanned", error.message))
                    shift = Shift(application, self._seconds)


def _octets(reading: Reading) -> dict[tuple[str, str], int]:
    """Return the bytes of requests that have arrived for each application at each switch, at all ports."""
    counts: dict[tuple[str, str], int] = {}
    for switch, each in reading.switches.items():
        for (application, _), octets in (each.octets or {}).items():
            counts[application, switch] = counts.get((application, switch), 0) + octets
    return counts
