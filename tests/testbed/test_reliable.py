"""The reliable layer: its timer, its window, and its behaviour under an adversary's schedules."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.errors import MidflightError
from midflight.primitives import Aggregate, Program
from midflight.runtime.endpoint import NoAnswerError, Reliable, Timing
from midflight.runtime.endpoint.allreduce import AllReduce
from midflight.runtime.endpoint.serial import is_newer, serial, unwrap
from midflight.runtime.endpoint.software import SoftwareServer
from tests.testbed.standin import StandIn

SERVER = ("10.0.0.9", 19782)
MILLISECOND = 1_000_000


def numbered(count: int) -> list[bytes]:
    return [b"%d" % each for each in range(count)]


@given(
    st.integers(2**31, 2**70) | st.integers(-10, 10).map(lambda offset: 2**32 + offset),
    st.integers(-(2**31) + 2, 2**31 - 2) | st.integers(-20, 20),
)
def test_sequence_numbers_wrap_and_skip_0(index: int, distance: int) -> None:
    other = index + distance
    assert 0 < serial(index) < 2**32
    assert unwrap(serial(other), index) == other
    assert is_newer(serial(other), serial(index)) == (distance > 0)


def test_requests_continue_across_the_wrap_of_sequence_numbers() -> None:
    sender = Reliable(window=4, first=2**32 - 3)
    sender.submit(SERVER, numbered(10))
    for index in range(2**32 - 3, 2**32 + 7):
        sender.poll(0)
        assert sender.acknowledge(0, 1) is None
        assert sender.acknowledge(index if index < 2**32 else index - 2**32 + 1, 1) == index
    assert sender.idle


def test_the_window_opens_request_by_request() -> None:
    sender = Reliable(window=3)
    sender.submit(SERVER, numbered(6))
    assert [each for _, each in sender.poll(0)] == numbered(3)
    sender.acknowledge(2, 1)
    assert sender.poll(1) == [], "request 4 waits for 1, not for 2"
    sender.acknowledge(1, 1)
    assert [each for _, each in sender.poll(1)] == [b"3", b"4"]
    assert sender.upcoming == 7


def test_the_timeout_follows_rfc_6298() -> None:
    sender = Reliable(window=9, timing=Timing(minimum=1, granularity=1))
    assert sender.timeout == 1_000_000_000
    sender.submit(SERVER, numbered(2))
    sender.poll(0)
    sender.acknowledge(1, 800)  # SRTT 800, RTTVAR 400
    assert sender.timeout == 800 + 4 * 400
    sender.acknowledge(2, 1600)  # RTTVAR 3/4 400 + 1/4 800 = 500, SRTT 7/8 800 + 1/8 1600 = 900
    assert sender.timeout == 900 + 4 * 500


@pytest.mark.parametrize(("maximum", "intervals"), [(4, [1, 2, 4, 4]), (100, [1, 2, 4, 8])])
def test_retransmissions_to_a_silent_peer_back_off_exponentially_without_samples(
    maximum: int, intervals: list[int]
) -> None:
    sender = Reliable(window=1, timing=Timing(initial=MILLISECOND, maximum=maximum * MILLISECOND))
    sender.submit(SERVER, numbered(1))
    times, now = [], 0
    for _ in range(5):
        assert sender.poll(now) == [(SERVER, b"0")]
        assert sender.poll(now) == []
        times.append(now)
        deadline = sender.next_deadline()
        assert deadline is not None
        assert sender.poll(deadline - 1) == []
        now = deadline
    assert np.diff(times).tolist() == [each * MILLISECOND for each in intervals]
    sender.acknowledge(1, now)
    backed_off = min(16, maximum) * MILLISECOND
    assert sender.timeout == backed_off, "Karn: the backed-off timeout stays until a sample comes"
    assert sender.next_deadline() is None
    assert sender.statistics.retransmitted == 4


def test_patience_ends_but_any_new_answer_renews_it() -> None:
    sender = Reliable(window=2, timing=Timing(patience=10 * MILLISECOND, initial=MILLISECOND))
    sender.submit(SERVER, numbered(2))
    sender.poll(5)
    sender.acknowledge(2, 9 * MILLISECOND)
    sender.poll(18 * MILLISECOND)
    assert sender.next_deadline() == 19 * MILLISECOND
    with pytest.raises(NoAnswerError, match=r"oldest of 1 open requests, number 1, went to 10\.0\.0\.9:19782"):
        sender.poll(19 * MILLISECOND)


def test_duplicate_and_foreign_answers_are_only_counted() -> None:
    sender = Reliable(window=2)
    sender.submit(SERVER, numbered(3))
    sender.poll(0)
    assert [sender.acknowledge(each, 1) for each in (1, 1, 0, 3, 2**31 - 1)] == [1, None, None, None, None]
    assert sender.statistics.duplicates == 2
    assert sender.statistics.unexpected == 2
    assert [each for _, each in sender.poll(1)] == [b"2"], "request 2 is unanswered, and 3 may be sent"


def test_requests_overtaken_by_later_ones_are_retransmitted_early() -> None:
    sender = Reliable(window=9, again=lambda datagram: datagram + b" again")
    sender.submit(SERVER, numbered(5))
    sender.poll(0)
    for answered in (2, 3):
        sender.acknowledge(answered, 10)
        assert sender.poll(10) == []
    sender.acknowledge(4, 11)
    assert sender.next_deadline() == 11
    assert sender.poll(11) == [(SERVER, b"0 again")], "three requests after 1 are answered, but none after 5"
    assert (sender.statistics.early, sender.statistics.retransmitted) == (1, 1)
    sender.acknowledge(5, 12)
    assert sender.poll(12) == [], "5 was sent before the second transmission of 1"
    assert sender.overdue() == []


def test_all_requests_are_retransmitted_after_a_loss_of_state() -> None:
    sender = Reliable(window=3)
    sender.submit(SERVER, numbered(4))
    sender.poll(0)
    sender.acknowledge(2, 5)
    sender.hurry(6)
    assert [each for _, each in sender.poll(6)] == [b"0", b"2"]
    assert sender.poll(6) == []


def test_an_answer_that_waited_for_other_workers_gives_no_round_trip_sample() -> None:
    sender = Reliable(window=9, timing=Timing(minimum=1, granularity=1))
    sender.submit(SERVER, numbered(3))
    sender.poll(0)
    sender.acknowledge(1, 800)
    before = sender.timeout
    sender.acknowledge(2, 900_000, sample=False)
    assert sender.timeout == before
    sender.acknowledge(3, 900_000)
    assert sender.timeout > before


def test_a_request_is_overdue_after_several_timeouts() -> None:
    sender = Reliable(window=1, timing=Timing(initial=MILLISECOND, timeouts_before_asking=2))
    sender.submit(SERVER, numbered(1))
    counts = []
    for _ in range(4):
        deadline = sender.next_deadline() or 0
        sender.poll(deadline)
        counts.append(sender.overdue())
    assert counts == [[], [], [(1, 2)], [(1, 3)]]


def test_the_window_must_be_at_least_1() -> None:
    with pytest.raises(MidflightError):
        Reliable(window=0)


class Adversary:
    """A network that treats datagrams as a schedule says, around the aggregation in plain Python."""

    def __init__(self, workers: int, slots: int, chunks: int, lanes: int = 2) -> None:
        self.lanes = lanes
        self.switch = StandIn(workers, slots, lanes)
        self.now = 0
        self.flying: list[tuple[int | None, bytes]] = []  # datagrams in flight to worker n, or to the switch (None)
        self.vectors = [
            np.arange(each + 1, each + 1 + chunks * lanes).astype(np.float32) * (-1) ** each for each in range(workers)
        ]
        self.workers = [
            AllReduce(
                application=1, worker=each, workers=workers, lanes=lanes, slots=slots, server=SERVER,
                timing=Timing(initial=MILLISECOND, patience=10**15),
            )
            for each in range(workers)
        ]  # fmt: skip
        for worker, vector in zip(self.workers, self.vectors, strict=True):
            worker.submit(vector)
        self.pump()

    def pump(self) -> None:
        for worker in self.workers:
            self.flying += [(None, datagram) for _, datagram in worker.poll(self.now)]

    def deliver(self, position: int, *, keep: bool) -> None:
        target, datagram = self.flying[position] if keep else self.flying.pop(position)
        if target is not None:
            self.workers[target].receive(SERVER, datagram, self.now)
        else:
            self.flying += self.compute(datagram)
        self.pump()

    def compute(self, datagram: bytes) -> list[tuple[int, bytes]]:
        sequence, slot, worker = struct.unpack_from("!I8xHB", datagram, 4)
        answer = self.switch.aggregate(slot, sequence, worker, struct.unpack_from(f"!{self.lanes}i", datagram, 24))
        if answer is None:
            return []
        complete, totals = answer
        result = b"\2\2" + datagram[2:24] + struct.pack(f"!{self.lanes}i", *totals)
        return [(each, result) for each in (range(len(self.workers)) if complete else [worker])]

    def wait(self) -> None:
        deadlines = [each for worker in self.workers if (each := worker.next_deadline()) is not None]
        self.now = max(self.now, min(deadlines, default=self.now))
        self.pump()


class KernelAdversary(Adversary):
    """The same around the executed kernel of `Aggregate`."""

    def __init__(self, workers: int, slots: int, chunks: int, lanes: int = 2) -> None:
        self.server = SoftwareServer(Program(Aggregate("sums", workers=workers, lanes=lanes, slots=slots)))
        self.server.serve("sums", [("10.0.0.1", each) for each in range(workers)])
        super().__init__(workers, slots, chunks, lanes)

    def compute(self, datagram: bytes) -> list[tuple[int, bytes]]:
        self.server.receive(("10.0.0.1", datagram[18]), datagram, self.now)
        return [(port, result) for (_, port), result in self.server.poll(self.now)]


ACTIONS = st.lists(st.tuples(st.sampled_from("dddkkxw"), st.integers(0, 1 << 30)), max_size=300)


@settings(max_examples=150)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 12), ACTIONS)
def test_a_contribution_counts_once_under_every_schedule(
    workers: int, slots: int, chunks: int, actions: list[tuple[str, int]]
) -> None:
    adversary = Adversary(workers, slots, chunks)
    play(adversary, actions)
    sent = adversary.workers[0].statistics.reliable.sent
    assert adversary.switch.contributions == workers * sent
    assert set(adversary.switch.entries) <= set(range(2 * slots))


@settings(max_examples=40)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 12), ACTIONS)
def test_a_contribution_counts_once_under_every_schedule_with_the_executed_kernel(
    workers: int, slots: int, chunks: int, actions: list[tuple[str, int]]
) -> None:
    play(KernelAdversary(workers, slots, chunks), actions)


def play(adversary: Adversary, actions: list[tuple[str, int]]) -> None:
    """Follow a schedule, then let the job end, and check that every worker has the exact sum."""
    late: list[tuple[int | None, bytes]] = []
    for action, number in actions:
        if not adversary.flying or action == "w":
            adversary.wait()
            continue
        position = number % len(adversary.flying)
        if action == "x":
            late.append(adversary.flying.pop(position))  # lost for now, and delivered at the end
        else:
            adversary.deliver(position, keep=action == "k")
    # From here on the network loses nothing, so the job must end. The late datagrams arrive as well.
    for _ in range(100_000):
        if all(worker.idle for worker in adversary.workers):
            break
        if late:
            adversary.flying.append(late.pop())
        if adversary.flying:
            adversary.deliver(0, keep=False)
        else:
            adversary.wait()
    else:
        pytest.fail("the job did not end")
    while adversary.flying:
        adversary.deliver(0, keep=False)
    exact = sum(each.astype(np.float64) for each in adversary.vectors)
    for worker in adversary.workers:
        result = worker.take()
        assert result is not None
        np.testing.assert_array_equal(result.values, exact)
        expected = sum(
            np.rint(each.astype(np.float64) * 2.0**result.bits).astype(np.int64) for each in adversary.vectors
        )
        np.testing.assert_array_equal(result.integers, expected)
        assert worker.take() is None
        assert worker.statistics.reliable.sent == worker.statistics.reliable.answered
