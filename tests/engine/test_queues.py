"""Queues between ingress and egress: times, depths, order, rates and drops, in virtual time."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.errors import DeviceError
from midflight.runtime.engine import Engine, Packets
from midflight.runtime.engine.queues import Queueing, QueueSettings, Rate, parse_rate
from tests.engine.build import engine

# Ingress takes the port from the packet's first byte and the priority from its second. Bytes 2 to 5 are not touched.
HEADER = """bit<8> port; bit<8> priority; bit<32> number; bit<48> came; bit<48> left; bit<32> entered; bit<32> waited;
bit<32> before; bit<32> behind;"""
INGRESS = "std.egress_spec = (bit<9>)hdr.h.port; std.priority = (bit<3>)hdr.h.priority;"
EGRESS = """hdr.h.came = std.ingress_global_timestamp; hdr.h.left = std.egress_global_timestamp;
hdr.h.entered = std.enq_timestamp; hdr.h.waited = std.deq_timedelta;
hdr.h.before = (bit<32>)std.enq_qdepth; hdr.h.behind = (bit<32>)std.deq_qdepth;"""
SIZE = 34
LAYOUT = np.dtype(
    [
        ("port", "u1"), ("priority", "u1"), ("number", ">u4"), ("came", "V6"), ("left", "V6"), ("entered", ">u4"),
        ("waited", ">u4"), ("before", ">u4"), ("behind", ">u4"),
    ]
)  # fmt: skip


def queueing(queues: int = 1, *, rate: str = "unlimited", depth: int = 64, port_rate: str = "unlimited") -> Queueing:
    return Queueing(queues, QueueSettings(depth, parse_rate(rate)), port_rate=parse_rate(port_rate))


def switch(given: Queueing | None = None, ingress: str = INGRESS, egress: str = EGRESS) -> Engine:
    made = engine(header=HEADER, ingress=ingress, egress=egress)
    return Engine(made.program, compiled=made.compiled, queueing=given)


def packet(number: int = 0, port: int = 2, priority: int = 0, more: int = 0) -> tuple[int, bytes]:
    head = bytes([port, priority]) + number.to_bytes(4, "big")
    return 1, head + bytes(SIZE - len(head) + more)


class Departure:
    """A packet that left: the time in nanoseconds, its fields, and its length in bytes."""

    def __init__(self, time: int, data: bytes) -> None:
        self.time, self.length = time, len(data)
        fields = np.frombuffer(data[:SIZE], LAYOUT)[0]
        self.port, self.priority, self.number = int(fields["port"]), int(fields["priority"]), int(fields["number"])
        self.came, self.left = (int.from_bytes(bytes(fields[each]), "big") for each in ("came", "left"))
        self.entered, self.waited = int(fields["entered"]), int(fields["waited"])
        self.before, self.behind = int(fields["before"]), int(fields["behind"])


def departures(output: Packets) -> list[Departure]:
    assert output.times is not None
    return [Departure(int(time), data) for time, (_, data) in zip(output.times, output, strict=True)]


def drained(subject: Engine) -> list[Departure]:
    """Advance to each departure until the queues are empty."""
    found = []
    while (due := subject.due) is not None:
        found += departures(subject.advance(due))
    return found


def test_every_packet_has_its_own_timestamps() -> None:
    left = departures(switch().process(Packets.from_list([packet(each) for each in range(50)]), now=1000))
    assert [each.came for each in left] == list(range(1000, 1050))
    assert [each.left for each in left] == list(range(1001, 1051))


def test_a_burst_over_a_slow_queue_waits_exactly() -> None:
    subject = switch(queueing(rate="100pps"))
    assert len(subject.process(Packets.from_list([packet(each) for each in range(32)]), now=1000)) == 0
    left = drained(subject)
    # Packet k enters its queue k microseconds after the first one, which waits for 10 ms.
    assert [each.waited for each in left] == [10_000 * (each + 1) - each for each in range(32)]
    assert [each.before for each in left] == list(range(32))
    assert [each.behind for each in left] == list(reversed(range(32)))
    assert [each.left for each in left] == [1001 + 10_000 * (each + 1) for each in range(32)]


def test_a_full_queue_drops_and_counts() -> None:
    subject = switch(queueing(rate="100pps"))
    subject.process(Packets.from_list([packet(each) for each in range(100)]))
    assert [each.number for each in drained(subject)] == list(range(64))
    state = subject.queue(2)
    assert (state.enqueued, state.sent, state.dropped, state.waiting, state.peak) == (64, 64, 36, 0, 64)
    assert subject.stats.dropped["tail"] == 36


def test_bits_a_second_count_the_length_of_the_packet() -> None:
    subject = switch(queueing(rate="8kbit"))  # a byte takes a millisecond
    subject.process(Packets.from_list([packet(each, more=each) for each in range(4)]))
    times = [each.time for each in drained(subject)]
    # The first packet waits as long as it takes itself; then each takes the time of the one before.
    assert np.diff([1_000, *times]).tolist() == [34_000_000, 34_000_000, 35_000_000, 36_000_000]


def test_a_priority_without_a_queue_is_dropped_as_on_bmv2() -> None:
    subject = switch()
    assert len(subject.process(Packets.from_list([packet(priority=1), packet()]))) == 1
    assert subject.stats.dropped["priority"] == 1


def test_the_highest_priority_leaves_first() -> None:
    subject = switch(queueing(4, port_rate="1000pps"))
    priorities = [0, 1, 3, 2, 3, 0]
    subject.process(Packets.from_list([packet(each, priority=which) for each, which in enumerate(priorities)]))
    # The first packet leaves before the others have come.
    assert [each.number for each in drained(subject)] == [2, 4, 3, 1, 5]


def test_weights_share_a_port_in_proportion() -> None:
    given = queueing(3, depth=1000, port_rate="1000pps")
    given.set(2, 0, weight=1)
    given.set(2, 1, weight=3)
    subject = switch(given)
    burst = [packet(priority=each % 2) for each in range(800)] + [packet(priority=2)]
    subject.process(Packets.from_list(burst))
    left = drained(subject)
    assert left[0].priority == 2  # strict priority comes before all weights
    assert Counter(each.priority for each in left[1:401]) == {0: 100, 1: 300}


def test_settings_change_while_packets_wait() -> None:
    subject = switch(queueing(rate="1pps"))
    subject.process(Packets.from_list([packet(each) for each in range(3)]))
    assert subject.due == 1_000_000_000
    subject.queueing.set(2, rate=Rate(packets=1000))
    subject.apply_queueing()
    # The first one waits as long as it takes at the new rate, from when the last one came, and not for a second.
    assert subject.due == 1_002_000
    assert [each.time for each in drained(subject)] == [1_003_000, 2_003_000, 3_003_000]
    subject.process(Packets.from_list([packet(each) for each in range(3)]), 10_000)
    subject.queueing.set(3, rate=Rate(packets=5))  # of another port, which changes nothing here
    subject.apply_queueing()
    assert [each.time for each in drained(subject)] == [11_001_000, 12_001_000]
    subject.queueing.set_port(2, rate=Rate(packets=1))
    subject.apply_queueing()
    subject.process(Packets.from_list([packet(each) for each in range(2)]), 20_000)
    assert subject.due == 1_020_000_000
    subject.queueing.set_port(2, rate=Rate())
    subject.apply_queueing()
    assert [each.time for each in drained(subject)] == [21_001_000]
    assert str(subject.queue(2).settings.rate) == "1000pps"
    assert str(subject.queue(4).settings.rate) == "1pps"


def test_a_program_that_does_not_ask_gets_queues_when_one_is_configured() -> None:
    subject = engine(header=HEADER, ingress="std.egress_spec = 2;")
    assert not subject.queued
    assert len(subject.process(Packets.from_list([packet()]))) == 1
    subject.queueing.set(rate=Rate(packets=10))
    assert subject.apply_queueing()
    assert len(subject.process(Packets.from_list([packet(), packet()]))) == 0
    assert subject.queue(2).waiting == 2


def test_replicas_and_clones_go_through_queues() -> None:
    subject = switch(
        queueing(rate="100pps"),
        ingress="if (std.instance_type == 0) { std.mcast_grp = 1; clone(CloneType.I2E, 7); }",
        egress=EGRESS + "hdr.h.port = (bit<8>)std.egress_port; if (std.egress_rid == 1) { clone(CloneType.E2E, 8); }",
    )
    subject.multicast.set(1, [(2, 1), (2, 2)])
    subject.clones.set(7, [(2, 0)])
    subject.clones.set(8, [(3, 0)])
    subject.process(Packets.from_list([packet()]))
    assert subject.queue(2).waiting == 3
    left = drained(subject)
    assert [(each.port, each.time) for each in left] == [
        (2, 10_001_000), (2, 20_001_000), (2, 30_001_000), (3, 30_001_000),
    ]  # fmt: skip
    assert left[3].came == 0  # the metadata of a clone is reset


def test_a_recirculated_packet_waits_again_and_has_no_arrival_time_as_on_bmv2() -> None:
    subject = switch(
        queueing(rate="100pps"),
        ingress="std.egress_spec = 2;",
        egress=EGRESS + "if (std.instance_type == 0 && std.ingress_global_timestamp != 0)"
        " { recirculate_preserving_field_list(0); }",
    )
    subject.process(Packets.from_list([packet()]), now=5)
    (only,) = drained(subject)
    assert (only.came, only.time, only.waited) == (0, 20_006_000, 10_000)


def test_waiting_packets_are_counted_when_they_are_discarded() -> None:
    subject = switch(queueing(rate="100pps"))
    subject.process(Packets.from_list([packet(), packet(port=3)]))
    subject.discard()
    assert subject.due is None
    assert subject.stats.dropped["waiting"] == 2
    assert drained(subject) == []


def test_the_buffer_is_bounded() -> None:
    subject = switch(queueing(rate="1pps", depth=1 << 20))
    for _ in range(40):
        subject.process(Packets.from_list([packet(more=60_000)] * 64))
    waiting = subject.queue(2).waiting
    assert waiting == 2560 - subject.stats.dropped["buffer"]
    assert 1000 < waiting < (1 << 26) // 60_000


def test_a_trace_shows_queues_and_drops() -> None:
    subject = switch(queueing(rate="100pps", depth=1))
    subject.trace(True)
    subject.process(Packets.from_list([packet(), packet()]))
    waits, full = subject.traces()
    assert full.steps[-1] == ("dropped", "its queue is full")
    assert "egress" not in dict(waits.steps)
    drained(subject)
    (later,) = subject.traces()
    assert (later.port, later.length) == (1, SIZE)
    assert later.steps[0] == ("queue", "0, after 10000 us")


def test_output_names_the_packets_of_its_own_batch_only() -> None:
    subject = switch(queueing(rate="100pps"))
    subject.queueing.set(3, rate=Rate())
    subject.apply_queueing()
    subject.process(Packets.from_list([packet()]))
    output = subject.process(Packets.from_list([packet(), packet(port=3)]), now=10_000)
    assert output.sources.tolist() == [0xFFFF_FFFF, 1]


BURSTS = st.lists(
    st.tuples(
        st.integers(0, 50_000_000),
        st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(0, 1200)), min_size=1, max_size=30),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25)
@given(
    bursts=BURSTS,
    rate=st.sampled_from(["unlimited", "3000pps", "700pps", "1Mbit", "333kbit"]),
    port_rate=st.sampled_from(["unlimited", "1000pps", "2Mbit"]),
    depth=st.integers(0, 12),
)
def test_packets_are_conserved_in_order_and_never_faster_than_the_rates(
    bursts: list[tuple[int, list[tuple[int, int, int]]]], rate: str, port_rate: str, depth: int
) -> None:
    subject = switch(queueing(3, rate=rate, port_rate=port_rate, depth=depth))
    left: list[Departure] = []
    number, now = 0, 0
    for gap, burst in bursts:
        now += gap
        while (due := subject.due) is not None and due < now:
            left += departures(subject.advance(due))
        batch = []
        for port, priority, more in burst:
            batch.append(packet(number, port, priority, more))
            number += 1
        left += departures(subject.process(Packets.from_list(batch), now // 1000))
    left += drained(subject)
    assert len(left) + subject.stats.dropped["tail"] == number
    assert [each.time for each in left] == sorted(each.time for each in left)
    for port in (1, 2, 3):
        of_port = [each for each in left if each.port == port]
        _keeps(of_port, parse_rate(port_rate))
        for priority in (0, 1, 2):
            of_queue = [each for each in of_port if each.priority == priority]
            assert [each.number for each in of_queue] == sorted(each.number for each in of_queue)
            assert all(each.before < depth for each in of_queue)
            _keeps(of_queue, parse_rate(rate))
            state = subject.queue(port, priority)
            assert (state.sent, state.waiting) == (len(of_queue), 0)
    for each in left:
        assert each.left == max(each.time // 1000, each.came + 1)
        assert each.entered + each.waited == each.time // 1000


def _keeps(left: list[Departure], rate: Rate) -> None:
    """Check that each packet leaves only when the one before has taken its time."""
    for one, following in itertools.pairwise(left):
        took = following.time - one.time
        assert took * rate.packets >= (1_000_000_000 if rate.packets else 0)
        assert took * rate.bits >= (one.length * 8_000_000_000 if rate.bits else 0)


@settings(max_examples=25)
@given(burst=st.lists(st.integers(0, 7), max_size=60), rate=st.sampled_from(["900pps", "1Mbit"]))
def test_no_packet_leaves_while_a_higher_priority_waits(burst: list[int], rate: str) -> None:
    subject = switch(queueing(8, port_rate=rate))
    output = subject.process(Packets.from_list([packet(each, priority=which) for each, which in enumerate(burst)]))
    # Everything has come before the second packet leaves.
    left = [each.priority for each in [*departures(output), *drained(subject)]]
    assert left[1:] == sorted(left[1:], reverse=True)
    assert Counter(left) == Counter(burst)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100", Rate(packets=100)),
        ("100pps", Rate(packets=100)),
        ("5kpps", Rate(packets=5000)),
        ("10Mbit", Rate(bits=10_000_000)),
        ("1.5Gbps", Rate(bits=1_500_000_000)),
        ("unlimited", Rate()),
    ],
)
def test_rates_are_read(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate
    assert parse_rate(str(rate)) == rate


@pytest.mark.parametrize("text", ["", "fast", "-1", "10MB", "9999Gbit", "1e3", "9" * 400, "9" * 5000])
def test_other_rates_are_refused(text: str) -> None:
    with pytest.raises(DeviceError):
        parse_rate(text)


def test_values_out_of_range_are_refused() -> None:
    given = Queueing(2)
    for call in (
        lambda: Queueing(0),
        lambda: Queueing(9),
        lambda: given.set(512, depth=1),
        lambda: given.set(0, 2, depth=1),
        lambda: given.set(0, 0, depth=-1),
        lambda: given.set(0, 0, weight=101),
        lambda: given.get(0, 2),
        lambda: given.set_port(600, rate=Rate()),
    ):
        with pytest.raises(DeviceError):
            call()
    assert not Queueing().configured
