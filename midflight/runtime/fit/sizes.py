"""Parameters of primitives that decide whether a program fits: the largest that do, and what to change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

from midflight.errors import KernelError
from midflight.primitives import Primitive, Program
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.fit.fit import Fit, fit

__all__ = ["Change", "advice", "with_largest"]


@dataclass(frozen=True, slots=True)
class Change:
    """A parameter of an application, from its present value to one with which the program fits."""

    application: str
    parameter: str
    now: int
    fits: int

    def __str__(self) -> str:
        return f"{self.application}: {self.parameter} from {self.now:,} to {self.fits:,}"


def advice(program: Program, found: Fit, checked: Callable[[Program], CheckedProgram]) -> tuple[Change, ...]:
    """Return the changes of one parameter each with which a program that does not fit does, the smallest cut first.

    `found` is its fit, and `checked` makes a checked program. A value is halved until the program fits, so the changes
    keep powers of two. Only parameters of the applications that the problems name are tried, or of all if none is
    named. Empty if no single parameter suffices.
    """
    blamed = [each.application for each in found.problems if each.application in program.applications]
    changes = []
    for name in dict.fromkeys(blamed or program.applications):
        primitive = program.applications[name].primitive
        for parameter, now in _numbers(primitive):
            value = _search(program, primitive, parameter, list(_halves(now)), found.sheet, checked)
            if value is not None:
                changes.append(Change(name, parameter, now, value))
    return tuple(sorted(changes, key=lambda each: each.now / each.fits))


def with_largest(
    program: Program, sheet: Capabilities, checked: Callable[[Program], CheckedProgram]
) -> tuple[Program, tuple[Change, ...]]:
    """Return a program with the parameters given as "max" reduced until it fits a device, and what was chosen.

    Values are powers of two. A parameter for which nothing fits keeps the largest value that its primitive accepts, and
    is not among the changes. `checked` makes a checked program. Several such parameters are decided in order.
    """
    chosen = []
    for name, application in program.applications.items():
        for parameter in application.primitive.largest:
            primitive = program.applications[name].primitive
            now = int(getattr(primitive, parameter))
            values = [now, *_halves(now)]
            value = _search(program, primitive, parameter, values, sheet, checked)
            if value is not None:
                program = program.replaced(_changed(primitive, parameter, value))
                chosen.append(Change(name, parameter, now, value))
    return program, tuple(chosen)


def _numbers(primitive: Primitive) -> Iterator[tuple[str, int]]:
    for each in fields(primitive):
        value = getattr(primitive, each.name)
        if each.type in (int, "int") and isinstance(value, int) and value > 1:
            yield each.name, value


def _halves(value: int) -> Iterator[int]:
    while value > 1:
        value //= 2
        yield value


def _changed(primitive: Primitive, parameter: str, value: int) -> Primitive:
    return type(primitive)(primitive.name, **{**primitive.parameters, parameter: value})


def _search(
    program: Program,
    primitive: Primitive,
    parameter: str,
    values: Sequence[int],
    sheet: Capabilities,
    checked: Callable[[Program], CheckedProgram],
) -> int | None:
    """Return the first of decreasing values with which a program fits, by bisection; None if none does."""

    def fits(value: int) -> bool:
        try:
            made = program.replaced(_changed(primitive, parameter, value))
        except KernelError:
            return False
        return fit(checked(made), sheet).fits

    accepted = [each for each in values if _accepts(primitive, parameter, each)]
    if not accepted or not fits(accepted[-1]):
        return None
    low, high = 0, len(accepted) - 1
    while low < high:
        middle = (low + high) // 2
        if fits(accepted[middle]):
            high = middle
        else:
            low = middle + 1
    return accepted[high]


def _accepts(primitive: Primitive, parameter: str, value: int) -> bool:
    try:
        _changed(primitive, parameter, value)
    except KernelError:
        return False
    return True
