"""The adversary: correct implementations win all games, and it detects errors of broken switches and workers."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from midflight.errors import MidflightError
from midflight.runtime.endpoint.aggregation import Form, Head
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
    assert found.forged > 100


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

    def compute(self, switch: int, port: int, datagram: bytes, source: int | None = None) -> Sent:
        return self._result(super().compute(switch, port, self._request(datagram), source))


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


class Mixing(Broken):
    """A switch to which every job is the same one."""

    def admit(self, token: int, job: int) -> None:
        super().admit(token, 7)


def test_a_switch_that_mixes_jobs_is_detected() -> None:
    assert first_reason(lambda shape: Mixing(shape, request=next_job)) != "none is lost"


class Open(KernelPlace):
    """A switch that computes on what anybody sends."""

    def compute(self, switch: int, port: int, datagram: bytes, source: int | None = None) -> Sent:
        return super().compute(switch, datagram[18], datagram)


class Tokenless(KernelPlace):
    """A switch that does not look at tokens, nor at the ports of those who send from a worker's address."""

    def compute(self, switch: int, port: int, datagram: bytes, source: int | None = None) -> Sent:
        datagram = datagram[:8] + self._job[0].to_bytes(8, "big") + datagram[16:]
        return super().compute(switch, port if source is None else source, datagram, source)


@pytest.mark.parametrize("place", [Open, Tokenless])
def test_a_forged_request_that_is_computed_on_is_detected(place: type[KernelPlace]) -> None:
    assert first_reason(place) == "a forged request was computed on"


def test_a_worker_that_believes_anybody_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AllReduce, "_from", lambda *_: True)
    assert "accepted a forged message" in first_reason(KernelPlace)


def test_a_worker_that_does_not_look_at_tokens_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    head = Form.head

    def tokenless(self: Form, datagram: bytes) -> Head | None:
        found = head(self, datagram)
        return found and found._replace(token=self.token)

    monkeypatch.setattr(Form, "head", tokenless)
    assert "accepted a forged message" in first_reason(KernelPlace)


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
