"""Queues and clocks of switches in a simulated network: packets leave when their queue lets them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Program, Threshold
from midflight.runtime.checked import Programs
from midflight.runtime.devices.host import HostDevice
from midflight.runtime.engine.queues import QueueOptions
from midflight.testbed import LinkQuality, Net, Star, Topology
from midflight.testbed.fabric.base import Schedule
from midflight.testbed.fabric.sim import SimFabric
from midflight.testbed.topology import SwitchClock, line, star
from midflight.testbed.topology.file import parse_topology
from tests.engine.build import source

# Packets go from port 1 to 2 and back. A switch puts its stamps after those of the switch before.
HEADER = """bit<8> hops; bit<32> number; bit<48> came; bit<48> left; bit<32> waited; bit<32> depth;
bit<48> came2; bit<48> left2;"""
STAMP = """
if (hdr.h.hops == 0) {
    hdr.h.came = std.ingress_global_timestamp; hdr.h.left = std.egress_global_timestamp;
    hdr.h.waited = std.deq_timedelta; hdr.h.depth = (bit<32>)std.enq_qdepth;
} else {
    hdr.h.came2 = std.ingress_global_timestamp; hdr.h.left2 = std.egress_global_timestamp;
}
hdr.h.hops = hdr.h.hops + 1;
"""
P4 = source(header=HEADER, ingress="std.egress_spec = std.ingress_port == 1 ? 9w2 : 9w1;", egress=STAMP)
LAYOUT = np.dtype(
    [
        ("hops", "u1"), ("number", ">u4"), ("came", "V6"), ("left", "V6"), ("waited", ">u4"), ("depth", ">u4"),
        ("came2", "V6"), ("left2", "V6"),
    ]
)  # fmt: skip
PROGRAMS = Programs()
FAST = LinkQuality(rate=None, delay=1_000)


@contextmanager
def network(topology: Topology) -> Iterator[tuple[SimFabric, list[tuple[int, dict[str, int]]]]]:
    """Yield a network of stamping switches, and the packets that reach its last host: the time and the fields."""
    arrived: list[tuple[int, dict[str, int]]] = []

    def opened(name: str) -> HostDevice:
        options = dict(topology.queues).get(name)
        return HostDevice(P4, programs=PROGRAMS, queueing=options.queueing() if options else None)

    def take(time: int, frame: bytes) -> None:
        fields = np.frombuffer(frame[: LAYOUT.itemsize], LAYOUT)[0]
        names = LAYOUT.names or ()
        values = {name: fields[name] for name in names}
        numbers = {
            name: int.from_bytes(bytes(each), "big") if LAYOUT[name].kind == "V" else int(each)
            for name, each in values.items()
        }
        arrived.append((time, numbers))

    with SimFabric(topology, opened) as fabric:
        fabric.card(topology.hosts[-1]).tap(take)
        yield fabric, arrived


def burst(count: int, offsets: list[int] | None = None) -> Schedule:
    frames = [bytes(1) + each.to_bytes(4, "big") + bytes(60) for each in range(count)]
    return Schedule("h1", np.array(offsets or [0] * count, np.int64), frames)


def test_a_burst_leaves_at_the_rate_of_its_queue_in_virtual_time() -> None:
    topology = star(2, FAST).with_queues(QueueOptions(depth=20, rate="1000pps"))
    with network(topology) as (fabric, arrived):
        fabric.play([burst(30)])
        assert not fabric.settle()
        assert [fields["number"] for _, fields in arrived] == list(range(20))
        # The links take 1 us each, ingress 1 us for each packet, and the queue 1 ms.
        assert [time for time, _ in arrived] == [3_000 + 1_000_000 * each for each in range(1, 21)]
        assert [fields["waited"] for _, fields in arrived] == [1000 * (each + 1) - each for each in range(20)]
        assert [fields["depth"] for _, fields in arrived] == list(range(20))
        device = fabric.devices["s1"]
        assert isinstance(device, HostDevice)
        assert device.queues.state(2).dropped == 10


def test_without_a_limit_queues_take_no_time() -> None:
    with network(star(2, FAST)) as (fabric, arrived):
        fabric.play([burst(3, [0, 0, 500])])
        assert not fabric.settle()
        # Packets are a microsecond apart in ingress.
        assert [time for time, _ in arrived] == [3_000, 4_000, 5_000]
        assert [fields["left"] - fields["came"] for _, fields in arrived] == [1, 1, 1]


def test_settings_change_while_the_network_runs() -> None:
    topology = star(2, FAST).with_queues(QueueOptions(rate="1pps"))
    with network(topology) as (fabric, arrived):
        device = fabric.devices["s1"]
        assert isinstance(device, HostDevice)
        fabric.after(5_000_000, lambda: device.queues.set(rate="1000pps"))
        fabric.play([burst(4)])
        assert not fabric.settle()
        assert [time for time, _ in arrived] == [5_002_000 + 1_000_000 * each for each in range(1, 5)]


def test_packets_in_a_queue_are_lost_while_the_switch_is_off() -> None:
    topology = star(2, FAST).with_queues(QueueOptions(rate="1000pps"))
    with network(topology) as (fabric, arrived):
        fabric.after(2_500_000, lambda: fabric.power("s1", on=False))
        fabric.after(4_500_000, lambda: fabric.power("s1", on=True))
        fabric.play([burst(6)])
        assert not fabric.settle()
        assert [fields["number"] for _, fields in arrived] == [0, 1, 4, 5]
        assert fabric.network.switches["s1"].lost == 2


def test_one_way_delay_over_two_switches_with_one_epoch() -> None:
    topology = line(2).with_queues({"s1": QueueOptions(rate="100pps")})
    with network(topology) as (fabric, arrived):
        fabric.play([burst(1)])
        assert not fabric.settle()
        ((_, fields),) = arrived
        assert fields["hops"] == 2
        assert fields["came2"] - fields["left"] == 1  # the link takes a microsecond
        assert fields["left2"] - fields["came"] == 10_003


def test_clocks_drift_and_queues_follow_them() -> None:
    fast = SwitchClock(offset=5_000_000_000, drift=1_000_000)  # a thousandth too fast
    topology = line(2).with_queues({"s1": QueueOptions(rate="1pps")}).with_clocks({"s1": fast})
    with network(topology) as (fabric, arrived):
        fabric.play([burst(1, [1_000_000_000])])
        assert not fabric.settle()
        ((_, fields),) = arrived
        assert abs(fields["came"] - 6_001_000) <= 2
        assert fields["waited"] == 1_000_000
        # A second of its clock is 999,001 us.
        assert abs(fields["came2"] - 1_999_003) <= 5


@pytest.mark.parametrize("drift", [-100_000_000, -40_000, -1, 0, 1, 40_000, 100_000_000])
def test_the_clock_shows_a_time_first_when_it_says(drift: int) -> None:
    clock = SwitchClock(offset=7, drift=drift)
    for shown in (7, 8, 1_000, 123_456_789, 10**15 + 3):
        time = clock.when(shown)
        assert clock.read(time) >= shown
        assert time == 0 or clock.read(time - 1) < shown
    assert clock.when(0) == 0


def test_the_same_seed_gives_the_same_run_with_queues_and_drift() -> None:
    hashes = []
    for drift in (40_000, 40_000, 41_000_000):
        topology = line(2, quality=LinkQuality(loss=0.1)).with_queues(QueueOptions(rate="700pps", depth=10))
        with network(topology.with_clocks({"s2": SwitchClock(drift=drift)})) as (fabric, _):
            fabric.play([burst(40, list(range(0, 40_000_000, 1_000_000)))])
            fabric.settle()
            hashes.append(fabric.trace_hash())
    assert hashes[0] == hashes[1] != hashes[2]


def test_star_has_queues_and_its_program_does_not_know() -> None:
    program = Program(Threshold("pressure", above=900, clear=850))
    with Star(hosts=2, program=program, queues=QueueOptions(rate="10pps", queues=2)) as net:
        net.send("h1", "pressure", sensor=1, value=950)
        net.send("h1", "pressure", sensor=2, value=10)
        assert len(net.received("h2", "pressure", count=2)) == 2
        assert 200_000_000 <= net.now < 400_000_000
        device = net.devices["s1"]
        assert isinstance(device, HostDevice)
        assert (device.queues.count, device.queues.state(2).sent) == (2, 2)


def test_a_file_gives_queues_and_clocks() -> None:
    text = """
line: {switches: 2}
queues: {depth: 32, rate: 10Mbit, queues: 2, port_rate: 5kpps}
clocks: {s1: {offset: 2ms, drift: -40ppm}, s2: {drift: 30ppb}}
"""
    clocks = {"s1": SwitchClock(2_000_000, -40_000), "s2": SwitchClock(drift=30)}
    options = QueueOptions(2, 32, "10Mbit", "5kpps")
    assert parse_topology(text) == line(2).with_queues(options).with_clocks(clocks)
    text = "line: {switches: 2}\nqueues: {s2: {rate: 100}}"
    assert parse_topology(text) == line(2).with_queues({"s2": QueueOptions(rate="100pps")})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("queues: {deep: 3}", "queues have no 'deep'"),
        ("queues: {depth: many}", "depth is a whole number, not 'many'"),
        ("queues: {rate: fast}", "'fast' is not a rate"),
        ("queues: {queues: 9}", "a port has 1 to 8 queues, not 9"),
        ("queues: {s9: {depth: 3}}", "set for s9, but no switch has this name"),
        ("clocks: {s1: {offset: -1ms}}", "'-1ms' is not a valid offset of a clock"),
        ("clocks: {s1: {drift: 2}}", "'2' is not a valid drift of a clock"),
        ("clocks: {s1: {drift: 200000ppm}}", "a clock's drift is at most"),
        ("clocks: {s1: {skew: 2}}", "a clock has no 'skew'"),
        ("clocks: {s9: {}}", "set for s9, but no switch has this name"),
    ],
)
def test_mistakes_in_a_file_have_a_place(text: str, words: str) -> None:
    with pytest.raises(MidflightError, match=words) as caught:
        parse_topology(f"star: {{hosts: 2}}\n{text}", "net.yaml")
    assert str(caught.value).startswith("net.yaml:2:")


def test_what_a_device_or_fabric_does_not_have_is_refused() -> None:
    program = Program(Threshold("pressure", above=900, clear=850))
    queued = star(2).with_queues(QueueOptions(rate="10pps"))
    with pytest.raises(MidflightError, match="the queues of s1, a bmv2, cannot be set"):
        Net(queued, program=program, device="bmv2")
    with pytest.raises(MidflightError, match="only be set in a simulation"):
        Net(star(2).with_clocks({"s1": SwitchClock()}), program=program, fabric="netns")
    with pytest.raises(DeviceError, match="a port has 1 to 8 queues"):
        QueueOptions(queues=0)
