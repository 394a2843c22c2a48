"""In-band stamps: the queues and delays of a path from packets of Telemetry."""

from __future__ import annotations

from typing import Any

import pytest

from midflight.errors import WireError
from midflight.primitives import Program, Telemetry
from midflight.runtime.engine.packets import Packets
from midflight.runtime.engine.queues import Queueing, QueueSettings, parse_rate
from midflight.runtime.steering.agents.cnma import PathAgent, gauges
from midflight.runtime.steering.agents.inband import PathStamps, hops
from midflight.runtime.steering.agents.publisher import Publisher
from midflight.runtime.steering.agents.stamp import Prober, reflect
from tests.library.traces import plain
from tests.primitives.rig import SENDER, Sent, SwitchRig

SECOND = 10**9


def stamps(*path: tuple[int, int, int, int], count: int = -1, start: int = 1000) -> dict[str, Any]:
    """Return the fields of a packet: each hop's switch, depth, and microseconds in the queue and in the switch."""
    columns = list(zip(*path, strict=True)) or [()] * 4
    return {
        "count": len(path) if count < 0 else count,
        "switch": list(columns[0]),
        "depth": list(columns[1]),
        "delay": list(columns[2]),
        "arrival": [start] * len(path),
        "departure": [(start + inside) % 2**48 for inside in columns[3]],
    }


def read(path: PathStamps, now: int) -> dict[str, float]:
    return {each.kind: each.value for each in path.metrics(now)}


def test_a_path_has_the_fullest_queue_and_the_sum_of_the_delays() -> None:
    path = PathStamps(window=SECOND)
    path.add(stamps((7, 2, 100, 150), (9, 8, 700, 800)), 0)
    path.add(stamps((7, 4, 300, 350), (9, 2, 100, 200), start=2**48 - 10), 1)
    assert path.route == (7, 9)
    assert read(path, 1) == {
        "network_queue_depth": 6,
        "network_queue_delay": pytest.approx(0.0006),
        "network_switch_delay": pytest.approx(0.00075),
    }
    assert read(path, 2 * SECOND) == {}


def test_another_route_has_other_queues() -> None:
    path = PathStamps()
    path.add(stamps((7, 9, 100, 100)), 0)
    path.add(stamps((8, 1, 50, 60)), 1)
    assert (path.route, read(path, 1)["network_queue_depth"]) == ((8,), 1)


def test_switches_beyond_the_room_are_counted() -> None:
    path = PathStamps()
    path.add(stamps((7, 2, 100, 150), count=3), 0)
    path.add(stamps(count=0), 0)
    assert (path.truncated, path.route, read(path, 0)) == (1, (), {})


@pytest.mark.parametrize("fields", [{}, {"count": 1, "switch": [1]}, {"count": "x", "switch": []}, {"switch": 3}])
def test_fields_of_another_primitive_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(WireError, match="not the stamps of Telemetry"):
        hops(fields)


def test_waiting_in_a_switch_lowers_the_score_of_the_path() -> None:
    """Four packets wait for 1 to 4 ms in a queue of 1,000 packets a second, on the embedded switch."""
    rig = SwitchRig(Program(Telemetry("path", hops=2)))
    rig.engine.queueing = Queueing(1, QueueSettings(64, parse_rate("1000pps")))
    rig.engine.apply_queueing()
    names = ("switch", "inlet", "outlet", "depth", "delay", "arrival", "departure")
    empty = {"count": 0} | {name: [0, 0] for name in names}
    frames = [(SENDER, rig.frame(Sent("path", number, empty))) for number in range(4)]
    left = [*rig.engine.process(Packets.from_list(frames), now=5_000)]
    while (due := rig.engine.due) is not None:
        left += [*rig.engine.advance(due)]
    path, prober = PathStamps(), Prober()
    for _, data in left:
        path.add(plain(rig.schema.decode(data[42:]).fields), 0)
    assert read(path, 0)["network_queue_depth"] == 1.5
    assert read(path, 0)["network_queue_delay"] == pytest.approx(0.0025, rel=0.01)
    prober.answer(reflect(prober.probe(0), 0, 0), 0)
    scored = gauges(queue=0.005)
    plain_agent, agent = (PathAgent(Publisher("s", "p"), prober, scored, stamps=each) for each in (None, path))
    scores = []
    for each in (plain_agent, agent):
        update = each.poll(0)
        assert update is not None
        scores.append(update.scores[0].value)
    assert scores == [10, 9], "the time in queues scores 5, and is one of four parts"
