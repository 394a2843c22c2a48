"""Ten tenants on one switch, one of which misbehaves without any effect on the other nine."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any

import pytest

from midflight.primitives import REQUEST, Message, Program, Schema
from midflight.primitives.state import STATE, STATE_DONE
from midflight.primitives.wire import FOR_HOST, RESULT, VERSION
from midflight.testbed.conformance.network import MEMBERS, SERVER, Frame
from tests.bmv2 import BMV2
from tests.primitives.tenants import Alert, Came, House, Step, meant, mixed, primitive, requests

NINE = {
    "gradients": ("Aggregate", 0), "losses": ("Aggregate", 1), "norms": ("Aggregate", 2), "pressure": ("Threshold", 1),
    "words": ("GroupBy", 0), "flows": ("CountMin", 0), "order": ("Sequencer", 0), "locks": ("Lock", 0),
    "store": ("Cache", 0),
}  # fmt: skip
EVIL, PORT = "evil", 6
RATE = 5
RESULT_FOR_ALL = 3
HUGE = 2**32 - 1


@cache
def house() -> tuple[Program, list[Step]]:
    """Return the program, and three interleaved traces of each of the nine tenants."""
    program = Program(
        *(primitive(kind, name, choice) for name, (kind, choice) in NINE.items()), primitive("Aggregate", EVIL, 0)
    )
    traces = {name: [each for seed in range(3) for each in requests(program, name, seed)] for name in NINE}
    return program, mixed(program, traces, 3)


def frame(payload: bytes, source: int = PORT, **more: int) -> bytes:
    made = Frame.request(source, payload)
    values = {name: getattr(made, name) for name in Frame.__slots__}
    return bytes(Frame(**(values | more)))


def attacks(random: Random, steps: list[Step]) -> Iterator[bytes]:
    """Yield the packets of a malicious tenant, endlessly."""
    program, _ = house()
    schema = Schema(program.schema())
    own = requests(program, EVIL, 1)
    while True:
        victim = random.choice(steps)
        payload = victim.packet[42:]
        forged = random.choice((PORT, *MEMBERS, SERVER))
        mine = random.choice(own)
        flood = schema.encode(Message(REQUEST, EVIL, mine.sequence, mine.fields))
        yield from [frame(flood)] * random.randint(1, 4)
        # In the name of others: copies of their packets, also with other kinds.
        yield frame(payload, forged)
        kinds = (RESULT_FOR_ALL, RESULT, FOR_HOST, STATE, STATE_DONE, 0, 255)
        yield frame(payload[:1] + bytes([random.choice(kinds)]) + payload[2:], forged)
        ones = bytes([random.choice((0, 255))]) * (len(payload) - 16)
        yield frame(payload[:16] + ones, forged)
        # The controller's requests for state: read all, write all.
        written, index = random.choice((0, HUGE)), random.choice((0, 1, HUGE))
        asked = payload[:1] + bytes([STATE]) + payload[2:16] + written.to_bytes(4, "big") + index.to_bytes(4, "big")
        yield bytes([0, PORT]) + asked + bytes(200)
        yield frame(asked + b"\xff" * random.randint(0, 200), forged)
        # Its own application, with indexes out of range.
        slot = random.choice((2**16 - 1, 2**15, 255))
        yield frame(schema.encode(Message(REQUEST, EVIL, HUGE, {**mine.fields, "slot": slot})))
        # Unknown applications, and invalid packets.
        yield frame(payload[:2] + random.choice((0, 11, 0xFFFF)).to_bytes(2, "big") + payload[4:], forged)
        yield frame(bytes([random.choice((0, 1, 255))]) + payload[1:])
        whole = frame(payload, forged)
        yield whole[: random.randrange(14, len(whole))]
        yield whole[:24] + bytes([whole[24] ^ 0x55]) + whole[25:]
        yield random.randbytes(random.randint(14, 300))


def tenancy() -> dict[str, Any]:
    """Return the admissions: the nine on the hosts' ports, the tenth on its own port with a rate limit."""
    return {**dict.fromkeys(NINE, ((*MEMBERS, SERVER), MEMBERS, 0)), EVIL: ((PORT,), (PORT,), RATE)}


@pytest.mark.parametrize("device", ["host", pytest.param("bmv2", marks=BMV2)])
def test_nine_tenants_are_unaffected_by_the_tenth(device: str) -> None:
    program, steps = house()
    quiet_came, quiet_alerts, quiet_state, _ = run(device, steps)
    came, alerts, _ = meant(program, steps)
    assert quiet_came == came, "without it, all is as it is meant"
    assert {*quiet_alerts} == {*alerts}

    attack = attacks(Random(9), steps)
    loud = [each for step in steps for each in (*(Step(PORT, next(attack)) for _ in range(8)), step)]
    loud_came, loud_alerts, loud_state, counted = run(device, loud)
    ours = [each for step, each in zip(loud, loud_came, strict=True) if step.application]
    for number, (one, other) in enumerate(zip(ours, quiet_came, strict=True)):
        assert one == other, (number, steps[number].application)
    assert {*loud_alerts} == {*quiet_alerts}
    assert loud_state == quiet_state
    passed = sum(passed_by(each) for each in loud_came)
    assert counted[EVIL] > 1000
    assert 0 < counted[EVIL] - passed < counted[EVIL] // 10, "its own application has had what its rate allows"
    sent = {name: sum(step.application == name for step in steps) for name in NINE}
    assert {name: counted[name] for name in NINE} == sent, "everybody's requests are counted, and nobody else's"


def passed_by(came: Came) -> bool:
    """Return whether a packet of the tenth's application was forwarded to the server unchanged."""
    number = house()[0].applications[EVIL].id.to_bytes(2, "big")
    return any(port == SERVER and each[42:46] == bytes([VERSION, REQUEST]) + number for port, each in came)


def run(device: str, steps: list[Step]) -> tuple[list[Came], list[Alert], dict[str, Any], dict[str, int]]:
    """Process packets. Return the outcomes, the alerts, the state of the nine, and the packet count of each."""
    program, _ = house()
    with House(program, device, tenancy(), ports=(*MEMBERS, SERVER, PORT)) as made:
        came = made.play(steps)
        alerts = [each for each in made.alerts() if not each[0].startswith(EVIL)]
        state = {name: made.state(name) for name in NINE}
        counted = {name: sum(each.packets for each in made.counters(name).values()) for name in program.applications}
        return came, alerts, state, counted


def test_rates_apply_to_each_port_separately() -> None:
    program, _ = house()
    own = requests(program, EVIL, 1)[0]
    payload = Schema(program.schema()).encode(Message(REQUEST, EVIL, own.sequence, own.fields))
    steps = [Step(port, frame(payload, port)) for port in (1, PORT) for _ in range(50)]
    with House(program, "host", {EVIL: ((1, PORT), (PORT,), RATE)}, ports=(*MEMBERS, SERVER, PORT)) as made:
        passed = [passed_by(each) for each in made.play(steps)]
        assert {port: each.packets for port, each in made.counters(EVIL).items()} == {1: 50, PORT: 50}
    assert sum(passed[:50]) == sum(passed[50:])
    assert 40 < sum(passed[:50]) < 50
