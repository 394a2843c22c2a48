"""Executed kernels and switches agree for programs with several applications, and for random kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from midflight.primitives import Aggregate, Filter, Program, Threshold, Verdict
from tests.primitives.agreement import agree, agree_on_bmv2
from tests.primitives.drawn import trial
from tests.primitives.rig import Sent

OVERFLOWS: tuple[Literal["wrap", "saturate", "detect"], ...] = ("wrap", "saturate", "detect")
SEEDS = st.integers(0, 2**63)


def mixed_trace(program: Program, length: int) -> list[Sent]:
    """Return a deterministic sequence of requests to all applications of a program."""
    rng = np.random.default_rng(5)
    names = list(program.applications)
    trace = []
    for number in range(length):
        fields: Mapping[str, Any]
        name = str(rng.choice(names))
        if name == "gradients":
            fields = {
                "slot": int(rng.integers(0, 2)),
                "worker": int(rng.integers(0, 2)),
                "flags": 0,
                "job": 1,
                "epoch": 0,
                "values": rng.integers(-(2**31), 2**31, 3).tolist(),
            }
        elif name == "telemetry":
            fields = {"level": int(rng.integers(-20, 20))}
        else:
            fields = {"sensor": int(rng.integers(0, 5)), "value": int(rng.integers(0, 15))}
        trace.append(Sent(name, 1 + number // 20, fields))
    return trace


def tenants(overflow: Literal["wrap", "saturate", "detect"] = "detect") -> Program:
    return Program(
        Threshold("pressure", above=10, clear=5, sensors=4),
        Aggregate("gradients", workers=2, lanes=3, slots=1, overflow=overflow),
        Threshold("heat", above=6, clear=2, sensors=4),
        Filter("telemetry", keep="level > 7"),
    )


def test_applications_in_one_program_do_not_affect_each_other() -> None:
    program = tenants()
    seen, alerts = agree(program, mixed_trace(program, 400))
    assert {each.verdict for each in seen} == {Verdict.FORWARD, Verdict.DROP, Verdict.REPLY, Verdict.MULTICAST}
    assert {name for name, _ in alerts} == {"pressure_alert_t", "heat_alert_t"}


# ---------------------------------------------------------- drawn kernels


@settings(max_examples=2, derandomize=True, phases=[Phase.generate])
@given(seed=SEEDS)
def test_random_kernels_agree_with_the_switch(seed: int) -> None:
    trial(seed, agree)


# --------------------------------------------------------------- on BMv2


@pytest.mark.bmv2
@pytest.mark.parametrize("overflow", OVERFLOWS)
def test_bmv2_agrees(overflow: Literal["wrap", "saturate", "detect"]) -> None:
    program = tenants(overflow)
    agree_on_bmv2(program, mixed_trace(program, 300))


@pytest.mark.bmv2
@settings(max_examples=2, derandomize=True, phases=[Phase.generate])
@given(seed=SEEDS)
def test_bmv2_agrees_on_random_kernels(seed: int) -> None:
    # BMv2 has its own clock and random numbers, and processes other packets between the rounds of one.
    # Shrinking compiles the program for each line, so it is not done here; `trial(seed, ...)` does it.
    trial(seed, agree_on_bmv2, timed=False, shrink=False)
