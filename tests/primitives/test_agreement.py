"""Executed kernels and switches give the same answers where several applications, or odd ones, are in a program."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from midflight.primitives import REQUEST, Aggregate, Filter, Message, Program, Threshold, Verdict
from tests.primitives.generated import kernels, requests
from tests.primitives.rig import EPOCH, DeviceRig, Seen, Sent, SwitchRig

OVERFLOWS: tuple[Literal["wrap", "saturate", "detect"], ...] = ("wrap", "saturate", "detect")
SEEDS = st.integers(0, 2**63)


def executed(program: Program, trace: Sequence[Sent]) -> tuple[list[Seen], list[tuple[str, tuple[int, ...]]]]:
    """Run a trace through the kernels as plain Python."""
    references = {name: each.primitive.reference(epoch=EPOCH) for name, each in program.applications.items()}
    seen, alerts = [], []
    for each in trace:
        outcome = references[each.application].process(
            Message(REQUEST, each.application, each.sequence, dict(each.fields))
        )
        fields = {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in outcome.message.fields.items()
        }
        copies = tuple(dict(copy.fields) for copy in outcome.mirrored)
        seen.append(Seen(outcome.verdict, None if outcome.verdict == Verdict.DROP else fields, copies))
        alerts += [(f"{each.application}_alert_t", values) for values in outcome.alerts]
    return seen, alerts


def agree(program: Program, trace: Sequence[Sent]) -> tuple[list[Seen], list[tuple[str, tuple[int, ...]]]]:
    """Run a trace both ways and compare."""
    meant = executed(program, trace)
    done = SwitchRig(program).run(trace)
    for number, (one, other) in enumerate(zip(meant[0], done[0], strict=True)):
        assert one == other, (number, trace[number])
    assert meant[1] == done[1]
    return meant


def mixed_trace(program: Program, length: int) -> list[Sent]:
    """Return requests to all applications of a program, in a row that is the same every time."""
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


def test_all_of_them_in_one_program_keep_apart() -> None:
    program = tenants()
    seen, alerts = agree(program, mixed_trace(program, 400))
    assert {each.verdict for each in seen} == {Verdict.FORWARD, Verdict.DROP, Verdict.REPLY, Verdict.MULTICAST}
    assert {name for name, _ in alerts} == {"pressure_alert_t", "heat_alert_t"}


# ---------------------------------------------------------- drawn kernels


def drawn_program(seed: int, packets: int = 30) -> tuple[Program, list[Sent]]:
    """Return a program of six kernels, and a trace for them."""
    random = Random(seed)
    primitives = [kernels(random, f"drawn{number}") for number in range(6)]
    trace = [
        Sent(each.name, random.getrandbits(32), requests(random, each)) for each in primitives for _ in range(packets)
    ]
    return Program(*primitives), trace


@settings(max_examples=2, deadline=None, phases=[Phase.generate])
@given(seed=SEEDS)
def test_kernels_that_nobody_would_write(seed: int) -> None:
    agree(*drawn_program(seed))


# --------------------------------------------------------------- on BMv2


def agree_on_bmv2(program: Program, trace: Sequence[Sent]) -> None:
    if shutil.which("p4c-bm2-ss") is None or shutil.which("simple_switch_grpc") is None:
        pytest.skip("p4c-bm2-ss and simple_switch_grpc are not on PATH")
    meant, alerts = executed(program, trace)
    with DeviceRig(program, "bmv2") as rig:
        done, told = rig.run(trace)
    for number, (one, other) in enumerate(zip(meant, done, strict=True)):
        assert one == other, (number, trace[number])
    # BMv2 tells a digest once when the controller has not acknowledged an equal one yet.
    assert {*alerts} == {*told}


@pytest.mark.bmv2
@pytest.mark.parametrize("overflow", OVERFLOWS)
def test_bmv2_agrees(overflow: Literal["wrap", "saturate", "detect"]) -> None:
    program = tenants(overflow)
    agree_on_bmv2(program, mixed_trace(program, 300))


@pytest.mark.bmv2
@settings(max_examples=2, deadline=None, phases=[Phase.generate])
@given(seed=SEEDS)
def test_bmv2_agrees_on_kernels_that_nobody_would_write(seed: int) -> None:
    agree_on_bmv2(*drawn_program(seed))
