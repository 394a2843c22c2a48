"""The native loop without interfaces or root: a ring in the test's memory, and sockets of the test."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.p4.frontend import check
from midflight.runtime.engine import Engine, Gate, Packets
from midflight.runtime.engine.ports.interface import Interface
from midflight.runtime.engine.ports.packetloop import PacketLoop
from midflight.runtime.engine.ports.stats import TrafficStats
from tests.engine.build import checked, source
from tests.ports.lab import TAP, ethernet, number_of, numbered, station

FRAME, FRAMES, MAC = 2048, 16, 96


@dataclass(frozen=True)
class Arrival:
    """A packet as the kernel delivers it, with a separate VLAN tag and an incomplete checksum."""

    data: bytes
    tag: tuple[int, int] | None = None
    checksum: tuple[int, int] | None = None
    segments: bool = False
    length: int | None = None


class Stub(Interface):
    """A ring that a test fills, and a socket whose other end represents the wire."""

    def __init__(self, name: str) -> None:
        self.name, self.lost = name, 0
        self.frame, self.frames = FRAME, FRAMES
        self.memory = np.zeros((FRAMES, FRAME), np.uint8)
        self.ring = self.memory.reshape(-1)
        self.sender, self.wire = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.receiver, self.bell = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.wire.setblocking(False)
        self.next = 0

    def put(self, arrival: Arrival) -> None:
        status = 1
        tci = tpid = 0
        if arrival.tag is not None:
            tpid, tci = arrival.tag
            status |= 0x10 | (0x40 if tpid != 0x8100 else 0)
        length = len(arrival.data) if arrival.length is None else arrival.length
        head = struct.pack("=IIIHHIIHH", status, length, len(arrival.data), MAC, 0, 7, 8, tci, tpid if tpid else 0)
        start, offset = arrival.checksum or (0, 0)
        extra = struct.pack("=BBHHHH", arrival.checksum is not None, arrival.segments, 0, 0, start, offset)
        place = self.memory[self.next % FRAMES]
        place[4 : len(head)] = np.frombuffer(head[4:], np.uint8)
        place[MAC - len(extra) : MAC] = np.frombuffer(extra, np.uint8)
        place[MAC : MAC + len(arrival.data)] = np.frombuffer(arrival.data, np.uint8)
        place[:4].view(np.uint32)[0] = status  # last, as this passes the frame to the loop
        self.next += 1

    def sent(self) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(self.wire.recv(1 << 16))
            except BlockingIOError:
                return found

    def refuse(self) -> None:
        pass

    def overrun(self) -> int:
        return 0

    def close(self) -> None:
        for each in (self.sender, self.wire, self.receiver, self.bell):
            each.close()


@dataclass(frozen=True)
class Bench:
    """An engine with its gate."""

    engine: Engine
    gate: Gate

    def carry(self, arrivals: list[Arrival], threads: int = 1) -> tuple[list[bytes], TrafficStats]:
        """Send packets to port 1. Return the packets that leave by port 2, and the counts."""
        with Stub("one") as one, Stub("two") as two:
            for each in arrivals:
                one.put(each)
            loop = PacketLoop(self.gate, {1: one, 2: two}, threads=threads)
            loop.use(self.engine)
            loop.start()
            loop.close()
            assert not one.memory[:, :4].any(), "every frame has been returned to the kernel"
            return two.sent(), loop.stats


@pytest.fixture(scope="module")
def bench() -> Bench:
    gate = Gate()
    return Bench(Engine(check(TAP.read_text()), gate=gate), gate)


def ones_complement_sum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


tags = st.none() | st.tuples(st.sampled_from([0x8100, 0x88A8, 0x9100]), st.integers(0, 0xFFFF))


@st.composite
def arrivals(draw: st.DrawFn) -> Arrival:
    payload = draw(st.binary(min_size=0, max_size=200))
    data = ethernet(station(2), payload)
    checksum = None
    if len(payload) >= 2 and draw(st.booleans()):
        start = draw(st.integers(14, len(data) - 2))
        checksum = start, draw(st.integers(0, len(data) - 2 - start))
    return Arrival(data, draw(tags), checksum)


def as_on_a_wire(given: Arrival, seen: bytes) -> None:
    """Check a packet against the kernel's form of it."""
    if given.tag is not None:
        kind, control = given.tag
        assert seen[12:16] == kind.to_bytes(2, "big") + control.to_bytes(2, "big")
        seen = seen[:12] + seen[16:]
    if given.checksum is None:
        assert seen == given.data
        return
    start, offset = given.checksum
    place = start + offset
    assert seen[:place] + seen[place + 2 :] == given.data[:place] + given.data[place + 2 :]
    value = int.from_bytes(seen[place : place + 2], "big")
    # The checksum field holds the sum of the pseudo header, so the complement of the sum of all words is the checksum.
    assert value == (0xFFFF - ones_complement_sum(given.data[start:]) or 0xFFFF)


@settings(max_examples=60)
@given(packets=st.lists(arrivals(), min_size=1, max_size=8))
def test_packets_equal_those_on_the_wire(bench: Bench, packets: list[Arrival]) -> None:
    sent, stats = bench.carry(packets)
    assert (stats.received, stats.sent, dict(stats.dropped)) == (len(packets), len(packets), {})
    for each, seen in zip(packets, sent, strict=True):
        as_on_a_wire(each, seen)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_incomplete_packets_are_counted_and_others_processed(bench: Bench, threads: int) -> None:
    frame = ethernet(station(2), b"whole")
    packets = [
        Arrival(frame),
        Arrival(frame, length=len(frame) + 1),
        Arrival(frame, segments=True),
        Arrival(frame, segments=True, length=60000),
        Arrival(ethernet(station(3))),
        Arrival(ethernet(0xBAD)),
        Arrival(b"short"),
        Arrival(frame),
    ]
    sent, stats = bench.carry(packets, threads)
    assert sent == [frame, frame]
    assert stats.received == 8
    assert stats.dropped["oversize"] == 1
    assert stats.dropped["offload"] == 2
    assert stats.dropped["no port"] == 1


def test_a_checksum_position_outside_the_packet_is_ignored(bench: Bench) -> None:
    frame = ethernet(station(2), bytes(range(50)))
    packets = [Arrival(frame, checksum=each) for each in ((14, 49), (64, 0), (63, 0), (0xFFFF, 0xFFFF), (14, 0xFFFF))]
    assert bench.carry(packets)[0] == [frame] * 5


def test_process_works_after_a_native_loop(bench: Bench) -> None:
    for number in range(3):
        alone, carried = numbered(station(2)) + bytes([number]), numbered(station(2)) + bytes([number, number])
        [(_, before)] = bench.engine.process(Packets.from_list([(1, alone)]))
        [(_, again)] = bench.engine.process(Packets.from_list([(1, alone)]))
        assert number_of(again) == number_of(before) + 1
        [sent], _ = bench.carry([Arrival(carried)])
        assert number_of(sent) == number_of(before) + 2
        [(_, last)] = bench.engine.process(Packets.from_list([(1, alone)]))
        assert (number_of(last), len(last)) == (number_of(before) + 3, len(alone))


def test_a_ring_wraps_many_times(bench: Bench) -> None:
    bench.engine.registers["ingress.count"].clear()
    with Stub("one") as one, Stub("two") as two:
        two.wire.settimeout(20)
        loop = PacketLoop(bench.gate, {1: one, 2: two})
        loop.use(bench.engine)
        loop.start()
        seen: list[bytes] = []
        for _ in range(10):
            for _ in range(7):
                one.put(Arrival(numbered(station(2))))
            one.bell.send(b"arrived")  # wakes up poll()
            seen += [two.wire.recv(1 << 16) for _ in range(7)]
            one.receiver.recv(16)
        loop.close()
    assert [number_of(each) for each in seen] == list(range(1, 71))


@pytest.mark.parametrize(("unix_time", "shown"), [(False, 0), (True, 7_000_000)])
def test_a_program_sees_the_arrival_times_of_the_kernel(unix_time: bool, shown: int) -> None:
    gate = Gate()
    stamp = "hdr.h.came = std.ingress_global_timestamp;"
    program = checked(source(header="bit<48> came;", ingress="std.egress_spec = 2;", egress=stamp))
    with Stub("one") as one, Stub("two") as two:
        for _ in range(3):
            one.put(Arrival(bytes(60)))
        loop = PacketLoop(gate, {1: one, 2: two}, unix_time=unix_time)
        loop.use(Engine(program, gate=gate))
        loop.start()
        loop.close()
        stamps = [int.from_bytes(each[:6], "big") for each in two.sent()]
    # The kernel says 7 s since 1970. That is before the loop was created, when its own clock starts.
    assert len(stamps) == 3
    assert all(abs(each - shown) < 1_000_000 for each in stamps)


def test_a_loop_that_never_started_may_be_closed(bench: Bench) -> None:
    with Stub("one") as one:
        loop = PacketLoop(bench.gate, {1: one})
        loop.close()
        loop.close()


class TestGate:
    def test_only_the_outermost_holder_waits_for_the_loop(self) -> None:
        gate, calls = Gate(), []
        gate.attach(lambda: calls.append("enter"), lambda: calls.append("leave"))
        with gate, gate:
            assert calls == ["enter"]
        assert calls == ["enter", "leave"]
        gate.detach()
        with gate:
            pass
        assert calls == ["enter", "leave"]

    def test_the_gate_is_released_after_an_error(self) -> None:
        gate = Gate()

        def fail() -> None:
            raise MemoryError

        gate.attach(lambda: None, fail)
        with pytest.raises(MemoryError), gate:
            pass
        gate.detach()
        with gate:
            pass
