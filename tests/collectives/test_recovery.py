"""Many collectives over links that lose, repeat and delay datagrams, in virtual time: none may stall."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Generator
from random import Random
from typing import Any

import numpy as np
import pytest

from midflight.collectives.client import Client, Elsewhere, Job, TimedOutError
from midflight.collectives.local import card
from midflight.collectives.rounds import Round, sum_integers
from midflight.collectives.timing import timing
from midflight.runtime.endpoint.allreduce import AllReduce
from tests.collectives.ranks import PATIENCE, StubWatch
from tests.collectives.virtual import DELAY, SECOND, Fate, Rounds, World

RANKS, COLLECTIVES = 3, 4
Before = Callable[[World], None]


def rounds_of(rank: int) -> Rounds:
    """An agreement, then a sum of several packets, as most collectives are. Every fourth sum overflows on the way."""
    found: Rounds = []
    for number in range(COLLECTIVES):
        found.append(("min", np.array([number + rank, ~number], np.int32)))
        scale = 2**28 if number % 4 == 2 else 1
        found.append(("sum", np.arange(5 + 2 * (number % 2), dtype=np.int32) * np.int32(scale) + rank * number))
    return found


def play(fate: Fate, at: int = -1, then: Before | None = None, limit: int = 60 * SECOND) -> tuple[int, int]:
    """Carry out all collectives and check their results. Return the virtual time, and how many datagrams there were.

    `then` is called before datagram number `at` is sent.
    """
    rounds = [rounds_of(rank) for rank in range(RANKS)]
    world = World(rounds, fate)
    if then is not None:
        world.before = lambda number: then(world) if number == at else None
    time = world.run(limit)
    for part in range(2 * COLLECTIVES):
        values = np.array([each[part][1] for each in rounds], np.int64)
        expected = (values.min(0) if rounds[0][part][0] == "min" else values.sum(0)).astype(np.int32).tolist()
        assert [each.results[part] for each in world.ranks] == [expected] * RANKS
    return time, world.sent


def usual(number: int) -> list[int]:
    return [DELAY]


def positions(first: int = 0, step: int = 1) -> range:
    """The numbers of datagrams of a run in which nothing happens."""
    return range(first, play(usual)[1], step)


@pytest.mark.parametrize(
    "delays", [[], [DELAY, 7 * DELAY], [DELAY, 30 * SECOND], [30 * SECOND]], ids=["lost", "repeated", "old", "late"]
)
def test_any_one_datagram_may_be_lost_or_repeated_or_late(delays: list[int]) -> None:
    for at in positions():
        assert play(lambda number, at=at: delays if number == at else usual(number))[0] < 2 * SECOND, at  # type: ignore[misc]


def test_the_switch_may_restart_at_any_moment_and_lose_datagrams() -> None:
    for at in positions():
        assert play(usual, at, World.restart)[0] < 2 * SECOND, at
        lossy = play(lambda number, at=at: [] if at <= number < at + 4 else usual(number), at, World.restart)  # type: ignore[misc]
        assert lossy[0] < 8 * SECOND, at


@pytest.mark.parametrize("rank", range(RANKS))
def test_a_rank_may_pause_for_long_at_any_moment(rank: int) -> None:
    def pause(world: World) -> None:
        world.ranks[rank].asleep_until = world.now + 10 * SECOND

    def pause_and_restart(world: World) -> None:
        pause(world)
        world.restart()

    for at in positions(rank, RANKS):
        for then in (pause, pause_and_restart):
            assert play(usual, at, then)[0] < 12 * SECOND, (at, then)


def test_everything_at_once() -> None:
    for seed in range(6):
        random = Random(seed)

        def fate(number: int, random: Random = random) -> list[int]:
            draw = random.random()
            if draw < 0.2:
                return []
            if draw < 0.4:
                return [DELAY, random.randrange(3 * SECOND)]
            return [random.randrange(SECOND) if draw < 0.5 else DELAY]

        def pause(world: World, random: Random = random) -> None:
            world.ranks[random.randrange(RANKS)].asleep_until = world.now + random.randrange(10 * SECOND)
            world.restart()

        play(fate, random.randrange(150), pause, 120 * SECOND)


def test_a_collective_without_progress_says_what_is_missing_long_before_it_fails() -> None:
    said: list[str] = []
    enough = threading.Event()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            if "contributions of ranks 1, 2" in said[-1]:
                enough.set()

    def steps() -> Generator[Round | Elsewhere, Any, None]:
        yield from sum_integers(np.ones(9, np.int32))

    handler = Handler()
    logging.getLogger("midflight").addHandler(handler)
    link, watch, errors = card(0), StubWatch(), list[BaseException | None]()
    watch.behind = "rank 2 has not begun it"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        link.plug(deaf.getsockname())
        endpoint = AllReduce(
            application=1, worker=0, workers=3, lanes=2, slots=2, server=("10.0.0.100", 4000),
            timing=timing(PATIENCE), peers=[(f"10.0.0.{each}", 7) for each in (1, 2, 3)],
        )  # fmt: skip
        link.listen(7, endpoint)
        client = Client({"sum": endpoint}, [link], watch, timeout=PATIENCE, quiet=0.5)
        client.submit(Job("all_reduce of 9 int32", steps(), errors.append))
        assert enough.wait(PATIENCE)
        client.close()
    link.close()
    logging.getLogger("midflight").removeHandler(handler)
    assert said[0].startswith("collective 1 (all_reduce of 9 int32) has made no progress for ")
    assert said[0].endswith("results of packets of its round of 'sum' are missing: 2; rank 2 has not begun it")
    assert "missing: 2, and contributions of ranks 1, 2, which were asked for them; rank 2 has not" in said[-1]
    assert len(errors) == 1
    assert not isinstance(errors[0], TimedOutError)
