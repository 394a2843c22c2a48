"""Outputs of kernels: mirrored copies, fallback to the host, and recirculation."""

from __future__ import annotations

from random import Random

import pytest

from midflight.primitives import REQUEST, Message, Program, Verdict
from midflight.primitives.wire import FOR_HOST
from midflight.runtime.steering import Offload
from tests.bmv2 import BMV2
from tests.primitives.agreement import agree, agree_on_bmv2
from tests.primitives.more_kernels import Walk
from tests.primitives.rig import DeviceRig, Sent, SwitchRig

PROGRAM = Program(Walk("walk"))
CPU_PORT = 510


def walk(value: int, flags: int = 0) -> tuple[Verdict, dict[str, object], int]:
    """Return the verdict, the fields and the number of copies."""
    fields = {"value": value, "steps": 0, "flags": flags}
    outcome = PROGRAM.applications["walk"].primitive.reference().process(Message(REQUEST, "walk", 1, fields))
    return outcome.verdict, dict(outcome.message.fields), len(outcome.mirrored)


def trace(seed: int) -> list[Sent]:
    random = Random(seed)
    values = (0, 1, 2, 3, 5, 6, 7, 8, 16, 27, 2**15, 2**16, 2**32 - 1)
    return [
        Sent(
            "walk", number, {"value": random.choice(values), "steps": 0, "flags": random.choice((0, 0, 1, 2, 3, 4, 5))}
        )
        for number in range(80)
    ]


def test_a_recirculated_packet_keeps_its_fields() -> None:
    assert walk(8) == (Verdict.REPLY, {"value": 1, "steps": 3, "flags": 0}, 0)
    assert walk(3) == (Verdict.REPLY, {"value": 1, "steps": 7, "flags": 0}, 0)


def test_rounds_are_limited() -> None:
    assert walk(2**15)[:2] == (Verdict.REPLY, {"value": 1, "steps": 15, "flags": 0})
    assert walk(2**16)[0] == Verdict.DROP
    rig = SwitchRig(PROGRAM)
    rig.run([Sent("walk", 1, {"value": 2**16, "steps": 0, "flags": 0})] * 3)
    assert rig.engine.counters["ingress.endless"].read(0).packets == 3
    assert rig.engine.registers["ingress.walk.rounds"].read(0) == 48


def test_a_request_after_fallback_has_its_own_kind() -> None:
    machine = PROGRAM.applications["walk"].primitive.reference()
    outcome = machine.process(Message(REQUEST, "walk", 1, {"value": 64, "steps": 0, "flags": 4}))
    assert (outcome.verdict, outcome.message.kind) == (Verdict.FALLBACK, FOR_HOST)
    assert outcome.message.fields == {"value": 4, "steps": 4, "flags": 6}


def test_the_mirror_gets_the_original_packet() -> None:
    machine = PROGRAM.applications["walk"].primitive.reference()
    message = Message(REQUEST, "walk", 1, {"value": 7, "steps": 0, "flags": 0})
    assert machine.process(message).mirrored == (message,)


def test_the_switch_agrees_with_the_reference() -> None:
    seen, alerts = agree(PROGRAM, trace(5))
    assert {each.verdict for each in seen} == {*Verdict} - {Verdict.MULTICAST, Verdict.RECIRCULATE}
    assert max(len(each.mirrored) for each in seen) == 1
    assert alerts


@pytest.mark.bmv2
def test_bmv2_agrees_with_the_reference() -> None:
    agree_on_bmv2(PROGRAM, trace(6))


def test_a_program_contains_only_the_verdicts_of_its_kernels() -> None:
    text = PROGRAM.p4()
    assert "recirculate" in text
    assert "clone_preserving_field_list(CloneType.I2E, (bit<32>)WALK_ID, 1);" in text
    assert "recirculate" not in PROGRAM.p4(only=())
    assert "FALLBACK" not in PROGRAM.p4(only=())


@pytest.mark.parametrize("kind", ["host", pytest.param("bmv2", marks=BMV2)])
def test_the_mirror_may_be_the_controller(kind: str) -> None:
    with DeviceRig(PROGRAM, kind) as rig:
        rig.session.clone_session(1, [])
        offload = Offload(rig.session)
        offload.mirror(1, [CPU_PORT])
        sent = Sent("walk", 9, {"value": 2**32 - 1, "steps": 0, "flags": 1})
        (seen,), _ = rig.run([sent])
        assert (seen.verdict, seen.mirrored) == (Verdict.FORWARD, ())
        reported = rig.session.packets_in(timeout=5.0)
        assert [(each.payload, each.metadata) for each in reported] == [(rig.frame(sent), {"ingress_port": 1})]
        offload.close()
        rig.run([sent])
        assert rig.session.packets_in(timeout=0.2) == []
