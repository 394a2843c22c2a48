"""The P4 examples about queues, in the simulator: marks, drops and records are those that the definitions give."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from midflight.runtime.devices.host import HostDevice
from midflight.runtime.devices.toolchain import P4C, compile_p4
from midflight.runtime.engine.queues import QueueOptions
from midflight.testbed.demos.queues import EXAMPLES
from midflight.testbed.fabric.base import Schedule
from midflight.testbed.fabric.sim import SimFabric
from midflight.testbed.topology import LinkQuality, Topology, line, star
from tests.cli.run import midflight

FAST = LinkQuality(rate=None, delay=1_000)


@contextmanager
def network(name: str, topology: Topology) -> Iterator[tuple[SimFabric, list[tuple[int, bytes]]]]:
    """Yield a network that runs an example, and the frames that reach its last host with their times."""
    arrived: list[tuple[int, bytes]] = []
    program, queues = (EXAMPLES / name).read_text(), dict(topology.queues)
    with SimFabric(topology, lambda switch: HostDevice(program, queueing=queues[switch].queueing())) as fabric:
        fabric.card(topology.hosts[-1]).tap(lambda time, frame: arrived.append((time, frame)))
        yield fabric, arrived


def route(device: HostDevice) -> None:
    with device.session() as session:
        session.insert("ingress.route", {"hdr.ipv4.destination": (0x0A000002, 32)}, "ingress.send", {"port": 2})


def only(fabric: SimFabric) -> HostDevice:
    device = fabric.devices["s1"]
    assert isinstance(device, HostDevice)
    return device


def frame(number: int, tos: int = 0) -> bytes:
    head = Ether(dst="02:00:00:01:00:01", src="02:00:00:00:00:01") / IP(src="10.0.0.1", dst="10.0.0.2", tos=tos)
    return bytes(head / UDP(sport=1, dport=2) / number.to_bytes(4, "big"))


def play(fabric: SimFabric, frames: Sequence[bytes], offsets: Sequence[int]) -> None:
    fabric.play([Schedule("h1", np.array(offsets, np.int64), frames)])
    assert not fabric.settle(timeout=60.0)


def test_packets_are_marked_from_the_threshold_on_if_their_sender_understands() -> None:
    with network("ecn.p4", star(2, FAST).with_queues(QueueOptions(rate="1000pps", depth=30))) as (fabric, arrived):
        device = only(fabric)
        route(device)
        with device.session() as session:
            session.set_default("egress.threshold", "egress.at", {"packets": 12})
        fields = [(0, 1, 2, 3)[each % 4] for each in range(40)]  # not ECT, ECT(1), ECT(0), CE
        play(fabric, [frame(each, 0x40 | field) for each, field in enumerate(fields)], [0] * 40)
        assert device.queues.state(2).dropped == 10
        with device.session() as session:
            assert session.read_counter("egress.marked").packets[2] == 9
    packets = [IP(data[14:]) for _, data in arrived]
    # Packet n finds n packets in the queue.
    assert [each.tos for each in packets] == [
        0x40 | (3 if number >= 12 and field else field) for number, field in enumerate(fields[:30])
    ]
    for each in packets:
        given = each.chksum
        del each.chksum
        assert IP(bytes(each)).chksum == given


def codel(departures: Sequence[tuple[int, int, int]], target: int = 5_000, interval: int = 100_000) -> list[int]:
    """Return which packets CoDel drops (RFC 8289, section 5), of (time, time in queue, packets left behind).

    Times are in microseconds. At most one packet is dropped for each that leaves.
    """
    dropped = []
    above, next_drop, count, last, dropping = 0, 0, 0, 0, False
    for number, (now, sojourn, behind) in enumerate(departures):
        late = False
        if sojourn < target or behind == 0:
            above = 0
        elif above == 0:
            above = now + interval
        else:
            late = now >= above
        if dropping:
            if not late:
                dropping = False
            elif now >= next_drop:
                dropped.append(number)
                count += 1
                next_drop += round(interval / math.sqrt(min(count, 64)))
        elif late:
            dropped.append(number)
            dropping = True
            delta = count - last
            count = delta if delta > 1 and now - next_drop < 16 * interval else 1
            last = count
            next_drop = now + round(interval / math.sqrt(min(count, 64)))
    return dropped


def test_codel_drops_what_its_definition_says() -> None:
    # Overload for a second, a pause in which the queue empties, and overload again.
    offsets = [each * 700_000 for each in range(1500)] + [1_800_000_000 + each * 600_000 for each in range(700)]
    with network("codel.p4", star(2, FAST).with_queues(QueueOptions(rate="1000pps", depth=5000))) as (fabric, arrived):
        route(only(fabric))
        play(fabric, [frame(each) for each in range(len(offsets))], offsets)
    joined = [each // 1000 * 1000 + 2_000 for each in offsets]
    left: list[int] = []
    for number, time in enumerate(joined):
        earliest = time if number else time + 1_000_000
        left.append(max(earliest, left[-1] + 1_000_000 if left else 0))
    behind = [int(np.searchsorted(joined, time, side="right")) - number - 1 for number, time in enumerate(left)]
    departures = [
        (time // 1000, (time - start) // 1000, waiting)
        for time, start, waiting in zip(left, joined, behind, strict=True)
    ]
    expected = codel(departures)
    assert len(expected) > 50
    found = {int.from_bytes(data[42:46], "big") for _, data in arrived}
    assert sorted(set(range(len(offsets))) - found) == expected


def test_records_show_the_way_of_a_packet_and_its_queues() -> None:
    topology = line(3).with_queues(
        {"s1": QueueOptions(rate="1000pps"), "s2": QueueOptions(), "s3": QueueOptions(rate="100pps")}
    )
    with network("telemetry.p4", topology) as (fabric, arrived):
        for number, device in enumerate(fabric.devices.values(), 1):
            assert isinstance(device, HostDevice)
            with device.session() as session:
                session.set_default("egress.identity", "egress.is", {"number": number})
                port = {1: 2, 2: 3, 3: 1}[number]
                session.insert("ingress.forward", {"hdr.ethernet.destination": 9}, "ingress.send", {"port": port})
        head = (9).to_bytes(6, "big") + (1).to_bytes(6, "big") + b"\x88\xb5\x00\x08\x00payload"
        play(fabric, [head] * 2, [0, 0])
    data = arrived[1][1]
    assert (data[14], data[15:17], data[-7:]) == (3, b"\x08\x00", b"payload")
    names = ("number", "in", "out", "came", "left", "depth", "waited")
    widths = (4, 2, 2, 6, 6, 3, 4)
    records, at = [], 17
    for _ in range(3):
        record = {}
        for name, width in zip(names, widths, strict=True):
            record[name] = int.from_bytes(data[at : at + width], "big")
            at += width
        records.append(record)
    third, second, first = records  # the latest first
    assert [each["number"] for each in (first, second, third)] == [1, 2, 3]
    assert [(each["in"], each["out"]) for each in (first, second, third)] == [(1, 2), (2, 3), (2, 1)]
    assert (first["depth"], second["depth"], third["depth"]) == (1, 0, 1)
    # The second packet waits for two packets in the first switch, and then behind the first one in the third.
    assert (first["waited"], second["waited"]) == (1_999, 0)
    assert third["waited"] == 2 * 10_000 - 1_000
    for each in records:
        assert each["left"] - each["came"] == each["waited"] + 1
    assert second["came"] - first["left"] == third["came"] - second["left"] == 1  # a link


def test_the_demonstration_shows_short_queues_and_the_same_picture_again(tmp_path: Path) -> None:
    pictures = [tmp_path / f"{each}.svg" for each in "ab"]
    for picture in pictures:
        done = midflight("demo", "queues", "--seconds", "1.5", "--picture", picture, "--json", "-")
        assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)["runs"]
    full, marks, delay = figures.values()
    assert (full["largest_depth"], full["marked"]) == (100, 0)
    assert (marks["lost"], delay["marked"]) == (0, 0)
    assert marks["marked"] > 0
    assert max(marks["mean_depth"], delay["mean_depth"]) < full["mean_depth"] / 2
    assert min(each["delivered"] for each in figures.values()) > 1200
    assert pictures[0].read_text() == pictures[1].read_text()
    assert "<svg" in pictures[0].read_text()


@pytest.mark.bmv2
@pytest.mark.skipif(bool(P4C.missing), reason=P4C.missing or "")
@pytest.mark.parametrize("name", ["ecn.p4", "codel.p4", "telemetry.p4"])
def test_p4c_compiles_the_examples(name: str) -> None:
    assert compile_p4((EXAMPLES / name).read_text(), name).config
