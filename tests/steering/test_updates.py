"""Updates by interval, threshold and damping; and what a receiver keeps of them as they age."""

from __future__ import annotations

from random import Random

import pytest

from midflight.errors import MidflightError
from midflight.runtime.steering.agents.board import Board, State, is_newer
from midflight.runtime.steering.agents.publisher import Publisher, Schedule
from midflight.runtime.steering.metrics import Category, Metric, Report, Update

SECOND = 10**9
SCHEDULE = Schedule(interval=10 * SECOND, validity=30 * SECOND, threshold=2, burst=2, refill=5 * SECOND)


def score(value: int) -> tuple[Metric, ...]:
    return (Metric("norm_fi", 2, value),)


def sent(values: list[tuple[int, int]], schedule: Schedule = SCHEDULE) -> list[tuple[int, int]]:
    """Return the times in seconds and scores of the updates that a series of times and scores leads to."""
    publisher = Publisher("10.9.9.9", "10.0.0.5", schedule)
    updates = [publisher.offer(score(value), at * SECOND) for at, value in values]
    return [(each.at // SECOND, each.scores[0].value) for each in updates if each]


def test_updates_come_at_the_interval_and_when_a_score_changes_enough() -> None:
    assert sent([(each, 7) for each in range(31)]) == [(0, 7), (10, 7), (20, 7), (30, 7)]
    assert sent([(0, 7), (1, 8), (2, 9), (3, 8), (4, 7), (12, 7)]) == [(0, 7), (2, 9), (4, 7)]
    assert sent([(0, 7), (1, 8), (2, 9), (3, 8), (4, 7), (14, 7)])[-1] == (14, 7), "the interval begins at an update"


def test_a_swinging_load_is_damped_to_the_rate_of_the_bucket() -> None:
    swings = [(each, 9 if each % 2 else 3) for each in range(60)]
    found = sent(swings)
    assert found[:3] == [(0, 3), (1, 9), (2, 3)], "a burst of two changes"
    assert len(found) <= SCHEDULE.most(60 * SECOND) == 22
    publisher = Publisher("s", "i", SCHEDULE)
    for at, value in swings:
        publisher.offer(score(value), at * SECOND)
    assert publisher.held > 20


def test_an_instance_that_goes_down_is_sent_without_a_token() -> None:
    assert sent([(0, 9), (1, 5), (2, 9), (3, 5), (4, 0)])[-1] == (4, 0)
    flaps = [(each, 9 * (each % 2)) for each in range(100)]
    assert len(sent(flaps)) <= SCHEDULE.most(100 * SECOND), "even when it flaps"


def test_at_most_two_tokens_are_owed() -> None:
    publisher = Publisher("s", "i", Schedule(interval=100, validity=200, burst=1, refill=100))
    kinds = ("computing_comb", "service_comb", "composed_comb", "norm_fi")

    def offer(now: int, down: int) -> bool:
        scores = tuple(Metric(kind, 1, 0 if number < down else 9) for number, kind in enumerate(kinds))
        return publisher.offer(scores, now) is not None

    assert [offer(now, now) for now in range(5)] == [True] * 4 + [False], "one score falls to 0 after the other"
    assert offer(103, 4), "the interval has passed"


def test_sequence_numbers_wrap() -> None:
    publisher = Publisher("s", "i", SCHEDULE, first=2**32 - 1)
    found = [publisher.offer(score(5), at * 10 * SECOND) for at in range(2)]
    assert [each.sequence for each in found if each] == [2**32 - 1, 0]
    assert is_newer(0, 2**32 - 1)
    assert not is_newer(2**32 - 1, 0)
    assert not is_newer(7, 7)


def update(sequence: int, instance: str = "i") -> Update:
    return Update("s", instance, sequence, 0, 10, score(5))


def test_old_and_repeated_updates_are_ignored_until_the_last_one_expires() -> None:
    board = Board()
    assert [board.accept(update(each), 0) for each in (4, 4, 3, 5)] == [True, False, False, True]
    assert board.ignored == {"old": 2}
    assert not board.accept(update(0), 9)
    assert board.accept(update(0), 10), "an agent that begins again is heard"


def test_entries_become_stale_and_then_go() -> None:
    board = Board()
    board.accept(update(1), 100)
    entry = board.entry("s", "i")
    assert entry is not None
    assert [entry.state(now) for now in (109, 110, 129, 130)] == [State.FRESH, State.STALE, State.STALE, State.GONE]
    assert [*board.instances("s", 109)] == [entry]
    assert [*board.instances("s", 110)] == []
    assert [*board.instances("s", 110, stale=True)] == [entry]
    assert board.expire(129) == 0
    assert board.expire(130) == 1
    assert len(board) == 0


def test_an_entry_is_a_report_for_the_path_selector() -> None:
    board = Board()
    scores = (Metric("computing_comb", 1, 4), Metric("norm_fi", 2, 5))
    board.accept(Update("s", "i", 1, 0, 10, scores), 100)
    (entry,) = board.instances("s", 100)
    assert entry.report() == Report("i", {Category.COMPUTING: scores[0]}, 100)


def test_a_full_board_ignores_new_instances_only() -> None:
    board = Board(limit=2)
    assert [board.accept(update(1, each), 0) for each in "abca"] == [True, True, False, False]
    assert board.accept(update(2, "a"), 0)
    assert (len(board), board.ignored["full"]) == (2, 1)
    board.expire(1000)
    assert board.accept(update(1, "c"), 1000)


def test_the_traffic_of_ten_thousand_instances_is_bounded() -> None:
    """Loads that wander by up to three points a second, for 8 seconds; readings every second."""
    random, schedule = Random(1), Schedule(burst=1, refill=10 * SECOND)
    publishers = [Publisher("10.9.9.9", f"10.0.{each >> 8}.{each & 255}", schedule) for each in range(10_000)]
    loads = [random.randrange(11) for _ in publishers]
    board, seconds, updates, offered = Board(), 8, 0, 0
    for second in range(seconds):
        for number, publisher in enumerate(publishers):
            loads[number] = min(10, max(0, loads[number] + random.randrange(-3, 4)))
            made = publisher.offer(score(loads[number]), second * SECOND)
            offered += 1
            if made is not None:
                updates += 1
                assert board.accept(made, second * SECOND)
    assert len(board) == 10_000
    assert 10_000 * schedule.most(seconds * SECOND) == 40_000
    assert 10_000 <= updates <= 40_000 < offered


def test_schedules_that_cannot_work_are_refused() -> None:
    with pytest.raises(MidflightError, match="must be positive"):
        Schedule(threshold=0)
    with pytest.raises(MidflightError, match="must be valid for longer, not 5 ns"):
        Schedule(validity=5)
    with pytest.raises(MidflightError, match="not 0 instances"):
        Board(0)
