"""Demand that shifts for good: sources of a planned application that send much more or less than the plan expects."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from midflight.errors import MidflightError
from midflight.runtime.controller.following import Following
from midflight.runtime.controller.observe.events import Event, OnEvent
from midflight.runtime.controller.observe.metrics import Reading
from midflight.runtime.controller.periodic import Periodic
from midflight.runtime.placement.planner.model import Application

__all__ = ["Shift", "demand_watch"]

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


def demand_watch(following: Following, read: Callable[[], Reading], emit: OnEvent, seconds: float) -> Periodic:
    """Start a thread that plans a deployment again when its demand has shifted for `seconds` (`Shift`).

    `read` returns the counters of all switches, and is called ten times in `seconds`. Emits the event `demand-shifted`
    with the rates, and what `Following` emits when steps move. If planning fails, it emits `not-replanned`, the last
    plan holds, and the demand has to be off for `seconds` again. Do not close it with the controller's lock held.
    """
    application = following.application
    shift = Shift(application, seconds)

    def check() -> None:
        nonlocal application, shift
        if following.application is not application:  # planned again with other rates
            application = following.application
            shift = Shift(application, seconds)
        rates = shift.sample(_octets(read()), time.monotonic())
        if rates:
            shown = ", ".join(f"{name} {rate / 1e6:.3g} Mbit/s" for name, rate in rates.items())
            emit(Event("demand-shifted", shown, details={"rates": rates}))
            try:
                following.rate(rates)
            except MidflightError as error:
                emit(Event("not-replanned", error.message))
                shift = Shift(application, seconds)

    return Periodic(check, seconds / _SAMPLES, "watching demand")


def _octets(reading: Reading) -> dict[tuple[str, str], int]:
    """Return the bytes of requests that have arrived for each application at each switch, at all ports."""
    counts: dict[tuple[str, str], int] = {}
    for switch, each in reading.switches.items():
        for (application, _), octets in (each.octets or {}).items():
            counts[application, switch] = counts.get((application, switch), 0) + octets
    return counts
