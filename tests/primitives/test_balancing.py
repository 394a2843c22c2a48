"""Balance and Limit: golden programs, the switch's own clock, and invalid parameters."""

from __future__ import annotations

from typing import Any

import pytest

from midflight.errors import KernelError
from midflight.primitives import REQUEST, Balance, Limit, Message, Primitive, Program, Steering, Threshold
from midflight.runtime.engine.packets import Packets
from tests.primitives.rig import SENDER, Sent, SwitchRig

FLOW = 7


@pytest.mark.parametrize(
    ("kind", "wrong", "reported"),
    [
        (Limit, {"rate": 0}, "rate must be 1 to 1000000, not 0"),
        (Limit, {"rate": 1, "beyond": "wait"}, "beyond"),
        (Limit, {"rate": 1, "clock": "sun"}, "clock"),
        (Balance, {"choices": 3}, "choices must be 1 to 2, not 3"),
        (Balance, {"choices": 1, "patience": 5}, "patience needs choices=2"),
        (Balance, {"buckets": 2, "table": {2: (1, 1)}}, "table has 2: .*, but buckets are 0 to 1"),
        (Balance, {"instances": 2, "table": {0: (1, 3)}}, "and instances 1 to 2"),
    ],
)
def test_parameters_out_of_range_are_rejected(kind: type[Primitive], wrong: dict[str, Any], reported: str) -> None:
    with pytest.raises(KernelError, match=reported):
        kind("app", **wrong)


def test_a_rate_out_of_range_has_no_interval() -> None:
    assert Limit.interval(10**6) == 256
    with pytest.raises(KernelError, match="1 to 1000000 requests per second, not 0"):
        Limit.interval(0)


def test_a_bucket_fills_with_the_switchs_clock() -> None:
    """At 1,000 requests a second, a bucket of two passes two at once and then one a millisecond."""
    limit = Limit("app", rate=1000, burst=2)
    rig, reference = SwitchRig(Program(limit)), limit.reference()
    fields = {"traffic_class": 0, "colour": 0, "time": 0}
    passed = []
    for now in (5, 6, 7, 1004, 1005, 1006, 10_000):
        frame = rig.frame(Sent("app", 0, fields))
        passed.append(len(rig.engine.process(Packets.from_list([(SENDER, frame)]), now=now)))
        outcome = reference.process(Message(REQUEST, "app", 0, fields), now=now)
        assert (outcome.verdict.name == "FORWARD") == passed[-1]
    assert passed == [1, 1, 0, 0, 1, 0, 1]


def test_loads_age_with_the_switchs_clock() -> None:
    balance = Balance("app", instances=2, buckets=1, lifetime=100, table={0: (1, 2)})
    rig, reference = SwitchRig(Program(balance)), balance.reference()
    sent = [(Balance.REPORT, 1, 9, 0), (Balance.REPORT, 2, 4, 50), *((Balance.ASK, 0, 0, at) for at in (60, 100, 101))]
    chosen = []
    for operation, instance, load, now in sent:
        fields = {"operation": operation, "instance": instance, "load": load, "time": 0, "flow": FLOW}
        [packet] = rig.engine.process(Packets.from_list([(SENDER, rig.frame(Sent("app", 0, fields)))]), now=now)
        outcome = reference.process(Message(REQUEST, "app", 0, fields), now=now).message.fields
        chosen.append(outcome["instance"])
        assert rig.schema.decode(packet[1][42:]).fields["instance"] == outcome["instance"]
    assert chosen == [1, 2, 2, 2, 1]


def test_requests_leave_an_instance_that_has_died_within_three_round_trips() -> None:
    """The switch alone notices: replies take 100 microseconds, and instance 1 dies at 1,000."""
    trip = 100
    balance = Balance("app", instances=2, buckets=1, patience=2 * trip, table={0: (1, 2)})
    rig, reference = SwitchRig(Program(balance)), balance.reference()

    def send(operation: int, instance: int, load: int, now: int) -> int:
        fields = {"operation": operation, "instance": instance, "load": load, "time": 0, "flow": FLOW}
        [packet] = rig.engine.process(Packets.from_list([(SENDER, rig.frame(Sent("app", 0, fields)))]), now=now)
        chosen = reference.process(Message(REQUEST, "app", 0, fields), now=now).message.fields["instance"]
        assert rig.schema.decode(packet[1][42:]).fields["instance"] == chosen
        assert isinstance(chosen, int)
        return chosen

    chosen: dict[int, int] = {}
    replies: list[tuple[int, int]] = []
    for now in range(10, 2_000, 10):
        for at, instance in [each for each in replies if each[0] == now]:
            send(Balance.REPORT, instance, 5 if instance == 2 else 1, at)
        chosen[now] = send(Balance.ASK, 0, 0, now)
        if chosen[now] == 2 or now < 1_000:
            replies.append((now + trip, chosen[now]))
    assert {chosen[now] for now in range(10, 1_000, 10)} == {1}
    left = max(now for now, instance in chosen.items() if instance == 1)
    assert 1_000 < left < 1_000 + 3 * trip, "and all requests after that go to instance 2"
    assert send(Balance.ASK, 1, 0, 2_000) == 2, "also those of clients that echo instance 1"
    send(Balance.REPORT, 1, 1, 2_010)
    assert send(Balance.ASK, 0, 0, 2_020) == 1, "a report brings it back at once"


def test_derived_programs_keep_steering() -> None:
    threshold, steering = Threshold("heat", above=3, clear=1), Steering(buckets=16)
    program = Program(threshold).extended(steering)
    other = Threshold("heat", above=4, clear=1)
    for each in (program.extended(Limit("app", rate=1)), program.replaced(other), program.without("heat")):
        assert each.steering is steering
        assert "table services" in each.p4()
    assert Program(threshold).steering is None
    assert program.applications["heat"].id == program.replaced(other).applications["heat"].id == 1


def test_an_application_cannot_have_a_name_of_steering() -> None:
    with pytest.raises(KernelError, match="an application cannot have the name 'steering'"):
        Program(Limit("steering", rate=1))
