"""Campaigns: many games, each an all-reduce under a schedule of faults, and the seeds of those that failed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Literal

from midflight.errors import MidflightError
from midflight.runtime.devices.capabilities import Capabilities
from midflight.testbed.adversary.game import Game
from midflight.testbed.adversary.live import Arena, Played, draw_live
from midflight.testbed.adversary.places import EnginePlace, KernelPlace, Place, Shape, TreePlace
from midflight.testbed.adversary.schedule import Schedule, draw
from midflight.testbed.cluster import ordered_results

__all__ = ["Campaign", "Failure", "LiveCampaign", "campaign", "live_campaign"]

Sums = Literal["kernel", "engine", "tree"]
_SWITCHES: Mapping[Sums, Callable[[Shape], Place]] = {"kernel": KernelPlace, "engine": EnginePlace, "tree": TreePlace}


@dataclass(frozen=True, slots=True)
class Failure:
    """A schedule, given by its `seed`, in which a guarantee was violated, and the error as text, `reason`.

    The seed reproduces the failure in a simulated game. A game with processes may go differently each time.
    """

    seed: int
    reason: str


@dataclass(frozen=True, slots=True)
class Campaign:
    """The results of many simulated schedules of faults: totals over all of them, and the failures.

    `moves` counts the moves of all schedules. `faults` counts those played that restart or replace a worker, or kill,
    revive, reset or give up a switch. `forged` counts the messages that a host outside the job forged or replayed, and
    `sums` the sums of chunks that were checked.
    """

    schedules: int
    moves: int
    faults: int
    forged: int
    sums: int
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class LiveCampaign:
    """The results of schedules that were played with processes: the games that ended well, and the failures."""

    played: tuple[Played, ...]
    failures: tuple[Failure, ...]


_PART = 25
"""How many schedules a worker plays at a time: an engine is compiled once for them."""

_FAILURES = (MidflightError, ArithmeticError, AssertionError, LookupError, TypeError, ValueError)
"""The errors that end a failed game."""


def campaign(
    seeds: Iterable[int],
    *,
    on: Sums = "kernel",
    most_failures: int = 10,
    progress: Callable[[int, int], None] | None = None,
    client: Any = None,
) -> Campaign:
    """Play the all-reduce games of these seeds, and check the guarantees at every step.

    `on` selects what computes the sums: "kernel" (executed in Python), "engine" (the compiled program) or "tree"
    (kernels on three switches). Stops once `most_failures` games have failed. `progress` is called after each game with
    the numbers of games played and failed. Violated guarantees are in the result, and raise nothing.

    `client` is a `distributed.Client` on whose workers the games are played, None for this process; the result is the
    same. MidflightError if no worker can finish a game.
    """
    schedules = moves = faults = forged = sums = 0
    failures: list[Failure] = []
    games = _games(seeds, on) if client is None else _remote(client, list(seeds), on)
    with closing(games):
        for each in games:
            schedules += 1
            moves += each.moves
            faults += each.faults
            forged += each.forged
            sums += each.sums
            if each.failure is not None:
                failures.append(each.failure)
            if progress:
                progress(schedules, len(failures))
            if len(failures) >= most_failures:
                break
    return Campaign(schedules, moves, faults, forged, sums, tuple(failures))


def live_campaign(
    seeds: Iterable[int],
    *,
    device: str = "host",
    sheet: Capabilities | None = None,
    most_failures: int = 10,
    progress: Callable[[int, int], None] | None = None,
) -> LiveCampaign:
    """Play the all-reduce games of these seeds in networks of namespaces, whose processes are killed. Needs root.

    `device` is the kind of the switch, and `sheet` the limits to assume instead of its own. A network is
    reused until a game in it fails. Stops once `most_failures` games have failed. `progress` is called after each game
    with the numbers of games played and failed. DeviceError if a network cannot be created.
    """
    played: list[Played] = []
    failures: list[Failure] = []
    with ExitStack() as stack:
        arena = stack.enter_context(Arena(device, sheet))
        for seed in seeds:
            try:
                played.append(arena.play(draw_live(seed)))
            except _FAILURES as error:
                failures.append(Failure(seed, f"{type(error).__name__}: {error}"))
                stack.close()
                if len(failures) < most_failures:
                    arena = stack.enter_context(Arena(device, sheet))
            if progress:
                progress(len(played) + len(failures), len(failures))
            if len(failures) >= most_failures:
                break
    return LiveCampaign(tuple(played), tuple(failures))


@dataclass(frozen=True, slots=True)
class _Played:
    """The counts of one game, as in `Campaign`, and its failure, if it has failed."""

    moves: int
    faults: int
    forged: int
    sums: int
    failure: Failure | None


def _games(seeds: Iterable[int], on: Sums) -> Generator[_Played]:
    """Play games in this process, and yield each as it ends."""
    stage = _Stage(on)
    for seed in seeds:
        schedule, failure = draw(seed), None
        game = Game(schedule, *stage.places(schedule))
        try:
            game.play()
        except _FAILURES as error:
            failure = Failure(seed, f"{type(error).__name__}: {error}")
        yield _Played(len(schedule.moves), game.faults, game.forged, game.referee.sums, failure)


def _part(seeds: tuple[int, ...], on: Sums) -> list[_Played]:
    return [*_games(seeds, on)]


def _remote(client: Any, seeds: Sequence[int], on: Sums) -> Generator[_Played]:
    """Play games on workers, and yield them in the order of the seeds."""
    parts = [(tuple(seeds[at : at + _PART]), on) for at in range(0, len(seeds), _PART)]
    with closing(
        ordered_results(client, _part, parts, lambda unit: f"the schedules from seed {unit[0][0]} on")
    ) as found:
        for _, played in found:
            yield from played


class _Stage:
    """Creates the switches of a game, once for each shape of job, because an engine takes a moment to compile."""

    def __init__(self, on: Sums) -> None:
        self._on = on
        self._made: dict[Shape, tuple[Place, Place]] = {}

    def places(self, schedule: Schedule) -> tuple[Place, Place]:
        shape = Shape(schedule.workers, schedule.slots, schedule.lanes, schedule.overflow)
        if shape not in self._made:
            self._made[shape] = _SWITCHES[self._on](shape), KernelPlace(shape)
        return self._made[shape]
