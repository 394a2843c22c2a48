"""The adversary: correct implementations win all games, and it detects errors of broken switches and workers."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from midflight.errors import MidflightError
from midflight.runtime.endpoint.allreduce import AllReduce
from midflight.runtime.endpoint.reliable import Reliable
from midflight.testbed.adversary import Game, Move, campaign, draw
from midflight.testbed.adversary.campaign import Sums
from midflight.testbed.adversary.places import KernelPlace, Sent, Shape

# Seeds that once lost: a sum that only a restarted worker knew, a finished round in which others still were, and a
# finished round in which no worker was any more.
LOST_ONCE = (781, 933, 944, 950, 2012, 2739, 3827, 5678)


@pytest.mark.parametrize("on", ["kernel", "tree"])
def test_every_job_ends_with_correct_sums(on: Sums) -> None:
    found = campaign([*range(60), *LOST_ONCE], on=on)
    assert found.failures == ()
    assert found.schedules == 60 + len(LOST_ONCE)
    assert found.sums > 1000
    assert found.faults > 100


def test_the_compiled_program_gives_the_same_results_as_the_kernel() -> None:
    alike = [
        seed for seed in range(300) if (draw(seed).workers, draw(seed).slots, draw(seed).overflow) == (3, 2, "detect")
    ]
    found = campaign(alike, on="engine")
    assert found.failures == ()
    assert found.schedules >= 8
    assert found.sums == campaign(alike, on="kernel").sums, "engine and kernel play the same game"


def test_schedules_are_deterministic_and_cover_all_faults() -> None:
    assert draw(5) == draw(5)
    assert {move for seed in range(60) for move, _ in draw(seed).moves} == {*Move}
    assert {draw(seed).workers for seed in range(60)} == {2, 3, 4}


class Broken(KernelPlace):
    """A switch that changes its requests or its results."""

    def __init__(
        self, shape: Shape, request: Callable[[bytes], bytes] = bytes, result: Callable[[Sent], Sent] = list
    ) -> None:
        super().__init__(shape)
        self._request, self._result = request, result

    def compute(self, switch: int, worker: int, datagram: bytes) -> Sent:
        return self._result(super().compute(switch, worker, self._request(datagram)))


def first_reason(make: Callable[[Shape], KernelPlace]) -> str:
    """Return the reason for which a switch loses its first game."""
    for seed in range(40):
        schedule = draw(seed)
        place = make(Shape(schedule.workers, schedule.slots, schedule.lanes, schedule.overflow))
        try:
            Game(schedule, place, place).play()
        except MidflightError as error:
            return error.message
    return "none is lost"


def off_by_one(sent: Sent) -> Sent:
    return [
        (to, data[:24] + struct.pack("!i", struct.unpack_from("!i", data, 24)[0] + 1) + data[28:]) for to, data in sent
    ]


def next_job(request: bytes) -> bytes:
    return request[:20] + b"\0\7" + request[22:]


def test_a_wrong_sum_is_detected() -> None:
    assert "and should be" in first_reason(lambda shape: Broken(shape, result=off_by_one))


def test_an_overflow_without_a_flag_is_detected() -> None:
    def unflagged(sent: Sent) -> Sent:
        return [(to, data[:19] + b"\0" + data[20:]) for to, data in sent]

    assert "is not flagged" in first_reason(lambda shape: Broken(shape, result=unflagged))


def test_a_switch_that_mixes_jobs_is_detected() -> None:
    assert first_reason(lambda shape: Broken(shape, request=next_job)) != "none is lost"


def test_a_job_that_does_not_end_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(self: AllReduce, *_: object) -> None:
        pass

    monkeypatch.setattr(AllReduce, "_answer", silent)
    assert "no answer for" in first_reason(KernelPlace)


def test_premature_reuse_of_an_entry_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Reliable.__init__

    def wide(self: Reliable, *, window: int, **others: object) -> None:
        made(self, window=window if window > 1000 else 4 * window, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(Reliable, "__init__", wide)
    reason = first_reason(KernelPlace)
    assert "open requests" in reason or "used again" in reason
