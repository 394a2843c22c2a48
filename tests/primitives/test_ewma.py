"""Ewma: invalid parameters, and its final error for a constant value."""

from __future__ import annotations

from typing import Any

import pytest

from midflight.errors import KernelError
from midflight.primitives import REQUEST, Ewma, Message


@pytest.mark.parametrize(
    ("wrong", "reported"),
    [
        ({"shift": 0}, "shift must be 1 to 12, not 0"),
        ({"shift": 13}, "shift must be 1 to 12, not 13"),
        ({"weight": 0}, "weight must be 1 to 7, not 0"),
        ({"weight": 8}, "weight must be 1 to 7, not 8"),
        ({"fraction": 17}, "fraction must be 0 to 16, not 17"),
        ({"deviation": -1}, "deviation must be 0 to 4294967295, not -1"),
        ({"series": 2**16 + 1}, "series must be 1 to 65536, not 65537"),
        ({"weight": 0.5}, "weight must be an integer, not 0.5"),
    ],
)
def test_parameters_out_of_range_are_rejected(wrong: dict[str, Any], reported: str) -> None:
    with pytest.raises(KernelError, match=reported):
        Ewma("load", **wrong)


@pytest.mark.parametrize(("weight", "shift", "fraction"), [(1, 4, 0), (1, 4, 8), (3, 4, 0), (1, 12, 4)])
@pytest.mark.parametrize("target", [1000, -1000])
def test_the_final_error_is_within_the_documented_bound(weight: int, shift: int, fraction: int, target: int) -> None:
    made = Ewma("load", weight=weight, shift=shift, fraction=fraction)
    reference = made.reference()
    held = None
    for value in (0, *[target] * (20 << shift)):
        reference.process(Message(REQUEST, "load", 0, {"series": 0, "value": value, "average": 0}))
        held, before = reference.registers["average"].written[0], held
    assert held == before, "the average is stationary"
    assert abs(target * 2**fraction - held) <= 2 ** (shift - 1) / weight
