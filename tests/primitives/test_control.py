"""Controller and SafetyStop: invalid parameters, and control of a plant."""

from __future__ import annotations

from typing import Any

import pytest

from midflight.errors import KernelError
from midflight.primitives import REQUEST, Controller, Message, SafetyStop


@pytest.mark.parametrize(
    ("wrong", "reported"),
    [
        ({"fraction": 17}, "fraction must be 0 to 16, not 17"),
        ({"channels": 9}, "channels must be 1 to 8, not 9"),
        ({"loops": 0}, "loops must be 1 to 65536, not 0"),
        ({"low": 11}, "low \\(11\\) must not be above high \\(10\\)"),
        ({"high": 2**31}, "high must be -2147483648 to 2147483647"),
        ({"proportional": [1.0, 2.0]}, "proportional takes one gain for each of the 1 channels"),
        ({"integral": 0.5}, "integral takes one gain for each of the 1 channels, not 0.5"),
        ({"derivative": [2**15]}, "the magnitude of the derivative gain 32768 must be below 32768"),
        ({"integral": [float("nan")]}, "the magnitude of the integral gain nan must be below"),
    ],
)
def test_invalid_controllers_are_rejected(wrong: dict[str, Any], reported: str) -> None:
    with pytest.raises(KernelError, match=reported):
        Controller("heater", **{"low": 0, "high": 10} | wrong)


@pytest.mark.parametrize(
    ("wrong", "reported"),
    [
        ({"high": -101}, "high must be -100 to 2147483647, not -101"),
        ({"safe": 101}, "safe must be -100 to 100, not 101"),
        ({"patience": 0}, "patience must be 1 to 1073741824, not 0"),
        ({"blocked": "ignore"}, "blocked must be replace or drop, not 'ignore'"),
        ({"cells": 2**16 + 1}, "cells must be 1 to 65536"),
    ],
)
def test_invalid_safety_stops_are_rejected(wrong: dict[str, Any], reported: str) -> None:
    with pytest.raises(KernelError, match=reported):
        SafetyStop("press", **{"low": -100, "high": 100, "patience": 20} | wrong)


class Heater:
    """A plant whose temperature, in thousandths of a degree, approaches the command's target by a tenth each step."""

    def __init__(self, proportional: list[float], integral: list[float]) -> None:
        made = Controller("heater", proportional=proportional, integral=integral, low=0, high=100, fraction=16)
        self.controller = made.reference()
        self.temperature = 0.0
        self.steps = 0

    def run(self, steps: int, target: int) -> list[float]:
        """Run the closed loop for some steps, and return the temperatures."""
        seen = []
        for _ in range(steps):
            self.steps += 1
            fields: dict[str, Any] = {
                "loop": 0,
                "target": [target],
                "measured": [round(self.temperature)],
                "command": 0,
            }
            answer = self.controller.process(Message(REQUEST, "heater", self.steps, fields)).message.fields["command"]
            assert isinstance(answer, int)
            assert 0 <= answer <= 100
            self.temperature += (answer * 1000 - self.temperature) / 10
            seen.append(self.temperature)
        return seen


def test_an_integral_removes_the_steady_state_error_of_a_gain() -> None:
    assert abs(Heater(proportional=[0.01], integral=[]).run(200, 60_000)[-1] - 60_000) > 1000
    assert abs(Heater(proportional=[0.002], integral=[0.0002]).run(200, 60_000)[-1] - 60_000) < 1000


def test_an_integral_does_not_wind_up_at_a_limit() -> None:
    heater = Heater(proportional=[0.002], integral=[0.0002])
    heater.run(500, 200_000)  # beyond its maximum temperature
    assert heater.temperature == pytest.approx(100_000, abs=1000)
    # The command leaves its limit immediately: 50 degrees are 10 units of integral per step, and 100 of proportional.
    assert heater.run(10, 50_000)[-1] < 75_000


def test_state_feedback_stabilises_an_unstable_plant() -> None:
    """A double integrator with position and speed, which u = -K x with the gains of an LQR controls to 0."""
    controller = Controller("cart", proportional=[0.6, 1.2], channels=2, fraction=12, low=-(10**6), high=10**6)
    reference = controller.reference()
    position, speed = 100_000.0, 0.0
    for sequence in range(1, 80):
        fields: dict[str, Any] = {
            "loop": 3,
            "target": [0, 0],
            "measured": [round(position), round(speed)],
            "command": 0,
        }
        command = reference.process(Message(REQUEST, "cart", sequence, fields)).message.fields["command"]
        assert isinstance(command, int)
        position, speed = position + speed + command / 2, speed + command
    assert abs(position) < 10
    assert abs(speed) < 10
