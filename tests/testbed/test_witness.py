"""The witness: violations that the referee of games with processes finds in captures."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from pathlib import Path

import numpy as np
import pytest

from midflight.runtime.endpoint.aggregation import OVERFLOW, RESULT, SHARE, Form
from midflight.runtime.endpoint.frames import UdpFlow
from midflight.testbed.adversary import Move, ViolationError
from midflight.testbed.adversary.live import draw_live
from midflight.testbed.adversary.witness import Capture, Frame, Witness

SERVER = IPv4Address("10.0.0.9")
HOSTS = [("h1", int(IPv4Address("10.0.0.1"))), ("h2", int(IPv4Address("10.0.0.2")))]
FORM = Form(1, 2)
VALUES = np.arange(12, dtype=np.int32).reshape(6, 2)


class Job:
    """Two workers with one slot each, whose packets are recorded in order."""

    def __init__(self) -> None:
        self.witness = Witness(1, 2, 1, 2, int(SERVER))
        self.frames: list[Frame] = []

    def _frame(self, host: int, source: int, destination: int, payload: bytes) -> None:
        flow = UdpFlow(
            source_mac=1,
            destination_mac=2,
            source=IPv4Address(source),
            destination=IPv4Address(destination),
            source_port=1,
            destination_port=2,
        )
        self.frames.append(Frame(len(self.frames), HOSTS[host][0], flow.encode(payload)))

    def request(self, worker: int, chunk: int, add: int = 0) -> bytes:
        [request] = FORM.requests(VALUES[chunk - 1 : chunk] + add, worker=worker, slots=1, first=chunk, job=3)
        self._frame(worker, HOSTS[worker][1], int(SERVER), request)
        return request

    def result(self, worker: int, chunk: int, add: int = 0) -> None:
        values = 2 * VALUES[chunk - 1] + add
        message = FORM.message(RESULT, chunk, worker=0, job=3, values=values)
        self._frame(worker, int(SERVER), HOSTS[worker][1], message)

    def chunk(self, chunk: int) -> None:
        for worker in (0, 1):
            self.request(worker, chunk)
        for worker in (0, 1):
            self.result(worker, chunk)

    def watch(self) -> None:
        halves = [[each for each in self.frames if each.host == host] for host, _ in HOSTS]
        self.witness.watch(halves, {3: HOSTS})


def test_a_correct_job_has_no_violations() -> None:
    job = Job()
    for chunk in (1, 2, 3, 4):
        job.chunk(chunk)
    job.request(1, 4)
    job.watch()
    assert job.witness.sums == 8


def test_a_wrong_sum_in_a_capture_is_reported() -> None:
    job = Job()
    job.request(0, 1)
    job.request(1, 1)
    job.result(0, 1, add=1)
    with pytest.raises(ViolationError, match="and should be"):
        job.watch()


def test_a_sum_without_all_contributions_is_reported() -> None:
    job = Job()
    job.request(0, 1)
    job.result(0, 1)
    with pytest.raises(ViolationError, match=r"summed with contributions of only \[0\]"):
        job.watch()


def test_two_different_contributions_are_reported() -> None:
    job = Job()
    job.request(0, 1)
    job.request(0, 1, add=1)
    with pytest.raises(ViolationError, match="two contributions to chunk 1 of job 3"):
        job.watch()


def test_a_premature_request_is_reported() -> None:
    job = Job()
    job.request(0, 1)
    job.request(0, 2)
    with pytest.raises(ViolationError, match="sends chunk 2 before it has the sum of 1"):
        job.watch()


@pytest.mark.parametrize("restarted", [False, True])
def test_premature_reuse_of_an_entry_is_reported(restarted: bool) -> None:
    job = Job()
    job.request(0, 1)
    job.request(1, 1)
    job.result(0, 1)
    job.request(0, 2)
    job._frame(0, HOSTS[1][1], HOSTS[0][1], FORM.message(RESULT, 2, worker=1, job=3))  # from a host without the sum
    job.request(0, 3)
    if restarted:
        job.witness.restarted(3, 1)
        job.watch()
    else:
        with pytest.raises(ViolationError, match="entry 0 is used again while worker 1 lacks chunk 1"):
            job.watch()


def test_contributions_from_peers_can_replace_a_sum() -> None:
    job = Job()
    for worker in (0, 1):
        job.request(worker, 1)
        share = FORM.message(SHARE, 1, worker=1 - worker, job=3, flags=OVERFLOW, values=VALUES[0])
        job._frame(worker, HOSTS[1 - worker][1], HOSTS[worker][1], share)
        job.request(worker, 2)
    job.watch()


def test_a_growing_capture_is_read_incrementally(tmp_path: Path) -> None:
    file = tmp_path / "h1-s1.pcap"
    file.write_bytes(bytes(24) + struct.pack("=IIII", 1, 2, 3, 3) + b"abc" + struct.pack("=IIII", 1, 3, 3, 3) + b"de")
    capture = Capture("h1", file)
    assert capture.new_frames() == [Frame(1_000_000_002, "h1", b"abc")]
    with file.open("ab") as opened:
        opened.write(b"f")
    assert capture.new_frames() == [Frame(1_000_000_003, "h1", b"def")]
    assert capture.new_frames() == []


def test_live_schedules_are_deterministic_and_cover_all_faults() -> None:
    assert draw_live(5) == draw_live(5)
    schedules = [draw_live(seed) for seed in range(50)]
    moves = {move for each in schedules for _, _, move, _ in each.moves}
    assert moves == {Move.RESTART, Move.REPLACE, Move.KILL, Move.REVIVE, Move.RESET, Move.FAIL_OVER}
    assert {each.application for each in schedules} == {"pair", "trio", "four"}
    assert all(each.moves and len(each.hosts) in (2, 3, 4) and 5 not in each.hosts for each in schedules)
