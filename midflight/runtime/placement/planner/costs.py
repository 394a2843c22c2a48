"""Whether steps fit a device, with the reasons if not, each question answered once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.placement.plan import reasons_against_applications

__all__ = ["Costs"]

Reasons = Callable[[Capabilities, frozenset[str]], tuple[str, ...]]


class Costs:
    """Whether sets of steps fit sheets. `reasons` returns why a set does not fit, empty if it does.

    More steps never fit where fewer do not. Sheets are compared by identity, so devices that share one share answers.
    """

    def __init__(self, reasons: Reasons) -> None:
        self._reasons = reasons
        self._known: dict[tuple[int, frozenset[str]], tuple[str, ...]] = {}
        self._sheets: dict[int, Capabilities] = {}

    @classmethod
    def of(cls, program: CheckedProgram) -> Costs:
        """Return the costs of a program whose applications have the names of the steps.

        Steps that are not applications of the program take nothing. `reasons` and `fit` then raise P4Error if the
        program is invalid.
        """
        return cls(lambda sheet, steps: reasons_against_applications(program, sheet, steps))

    @classmethod
    def free(cls) -> Costs:
        """Return costs under which everything fits."""
        return cls(lambda _sheet, _steps: ())

    def reasons(self, sheet: Capabilities, steps: Iterable[str]) -> tuple[str, ...]:
        """Return why steps, given by name, do not fit on one device with this sheet together, as texts; empty if they
        fit.
        """
        key = id(sheet), frozenset(steps)
        if key not in self._known:
            self._sheets[id(sheet)] = sheet  # so that the id stays its own
            self._known[key] = self._reasons(sheet, key[1]) if key[1] else ()
        return self._known[key]

    def fit(self, sheet: Capabilities, steps: Iterable[str]) -> bool:
        """Return whether steps, given by name, fit on one device with this sheet together."""
        return not self.reasons(sheet, steps)
