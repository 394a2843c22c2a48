"""Telemetry: what the switch stamps when a packet leaves, with and without waiting in a queue."""

from __future__ import annotations

from typing import Any

import pytest

from midflight.p4.frontend import check
from midflight.primitives import Chain, Filter, Program, Telemetry
from midflight.runtime.engine.packets import Packets
from midflight.runtime.engine.queues import Queueing, QueueSettings, parse_rate
from tests.bmv2 import BMV2
from tests.library.traces import plain
from tests.primitives.rig import SENDER, SERVER, DeviceRig, Sent, SwitchRig

MEASURED = ("inlet", "outlet", "depth", "delay", "arrival", "departure")


def fields(count: int = 0) -> dict[str, Any]:
    return {"count": count, "switch": [0, 0]} | {name: [9, 9] for name in MEASURED}


def program() -> Program:
    return Program(Telemetry("path", hops=2))


@pytest.mark.parametrize("kind", ["host", pytest.param("bmv2", marks=BMV2)])
def test_every_device_stamps_the_hop(kind: str) -> None:
    with DeviceRig(program(), kind) as rig:
        rig.maps["path", "identity"][0] = 77
        seen, _ = rig.run([Sent("path", number, fields(number)) for number in range(3)])
    first, second, third = (each.fields for each in seen)
    assert first
    assert second
    assert third
    for found, hop in ((first, 0), (second, 1)):
        assert found["count"] == hop + 1
        assert found["switch"][hop] == 77
        assert (found["inlet"][hop], found["outlet"][hop]) == (SENDER, SERVER)
        assert found["departure"][hop] >= found["arrival"][hop]
        # BMv2 reads its clock for the departure first and for the delay later, so there the delay may end after it.
        assert kind == "bmv2" or found["departure"][hop] - found["arrival"][hop] >= found["delay"][hop] >= 0
        assert all(found[name][1 - hop] == 9 for name in MEASURED)
    assert third == fields(2) | {"count": 3}


def test_waiting_is_measured() -> None:
    """Packet k enters a queue of 1,000 a second k microseconds after the first one, which waits for a millisecond."""
    rig = SwitchRig(program())
    rig.engine.queueing = Queueing(1, QueueSettings(64, parse_rate("1000pps")))
    rig.engine.apply_queueing()
    frames = [(SENDER, rig.frame(Sent("path", number, fields()))) for number in range(4)]
    left = [*rig.engine.process(Packets.from_list(frames), now=5_000)]
    while (due := rig.engine.due) is not None:
        left += [*rig.engine.advance(due)]
    found = [plain(rig.schema.decode(data[42:]).fields) for _, data in left]
    assert [each["delay"][0] for each in found] == [1000 * (place + 1) - place for place in range(4)]
    assert [each["departure"][0] - each["arrival"][0] for each in found] == [1000 * (k + 1) - k + 1 for k in range(4)]
    assert [each["depth"][0] for each in found] == [3, 2, 1, 0]


def test_stamps_are_left_out_without_metadata_and_kept_in_a_chain() -> None:
    assert "deq_qdepth" not in Program(Telemetry("path", metadata=False)).p4()
    chained = Chain("path", Filter("some", keep="value > 3"), Telemetry("path"))
    text = Program(chained).p4()
    assert "deq_qdepth" in text
    assert check(text).tables
