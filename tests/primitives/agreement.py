"""Comparison of executed kernels with switches on the same traces."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from midflight.primitives import REQUEST, Message, Program, Register, Verdict
from midflight.primitives.kernel.primitive import Reference
from tests.primitives.rig import EPOCH, Chance, DeviceRig, Seen, Sent, SwitchRig

__all__ = ["agree", "agree_on_bmv2", "arrays", "executed"]

Alerts = list[tuple[str, tuple[int, ...]]]


def executed(
    program: Program, trace: Sequence[Sent], references: Mapping[str, Reference] | None = None
) -> tuple[list[Seen], Alerts]:
    """Run a trace through the executed kernels, from an empty state unless machines are given."""
    references = references or machines(program)
    seen, alerts = [], []
    for each in trace:
        message = Message(REQUEST, each.application, each.sequence, dict(each.fields))
        outcome = references[each.application].process(message, now=each.now)
        fields = {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in outcome.message.fields.items()
        }
        copies = tuple(
            {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in copy.fields.items()}
            for copy in outcome.mirrored
        )
        seen.append(Seen(outcome.verdict, None if outcome.verdict == Verdict.DROP else fields, copies))
        alerts += [(f"{each.application}_alert_t", values) for values in outcome.alerts]
    return seen, alerts


def machines(program: Program) -> Mapping[str, Reference]:
    """Return the references of all applications, with one source of random numbers, as on the embedded switch."""
    chance = Chance()
    return {name: each.primitive.reference(epoch=EPOCH, random=chance) for name, each in program.applications.items()}


def arrays(reference: Reference) -> dict[str, Register]:
    """Return the registers of a kernel by their names on the switch, where each lane is a separate array."""
    found: dict[str, Register] = {}
    for name, register in reference.registers.items():
        if register.lanes is None:
            found[name] = register
        else:
            found |= {f"{name}_{lane}": register[lane] for lane in range(register.lanes)}
    return found


def agree(program: Program, trace: Sequence[Sent]) -> tuple[list[Seen], Alerts]:
    """Run a trace on both, and compare the outcome of each packet, the alerts, and the final registers."""
    references = machines(program)
    meant = executed(program, trace, references)
    rig = SwitchRig(program)
    done = rig.run(trace)
    for number, (one, other) in enumerate(zip(meant[0], done[0], strict=True)):
        assert one == other, (number, trace[number])
    assert meant[1] == done[1]
    for application, reference in references.items():
        for array, held in arrays(reference).items():
            register = rig.engine.registers.get(f"ingress.{application}.{array}")
            if register is not None:
                # The switch encodes values so that 0 represents the initial one.
                found = {index: register.read(index) ^ held.initial for index in range(held.size)}
                assert found == {each: held.written.get(each, held.initial) for each in found}, (application, array)
    return meant


def agree_on_bmv2(program: Program, trace: Sequence[Sent]) -> None:
    """Run a trace through the kernels and through BMv2, and compare."""
    if shutil.which("p4c-bm2-ss") is None or shutil.which("simple_switch_grpc") is None:
        pytest.skip("p4c-bm2-ss and simple_switch_grpc are not on PATH")
    meant, alerts = executed(program, trace)
    with DeviceRig(program, "bmv2") as rig:
        done, reported = rig.run(trace)
    for number, (one, other) in enumerate(zip(meant, done, strict=True)):
        assert one == other, (number, trace[number])
    # BMv2 does not send a digest that equals an unacknowledged one.
    assert {*alerts} == {*reported}
