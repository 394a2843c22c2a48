"""Many games in a row, and the seeds of those that were lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

from midflight.errors import MidflightError
from midflight.testbed.adversary.game import Game
from midflight.testbed.adversary.live import Arena, Played, draw_live
from midflight.testbed.adversary.places import EnginePlace, KernelPlace, Place, Shape, TreePlace
from midflight.testbed.adversary.schedule import Schedule, draw

__all__ = ["Campaign", "Failure", "LiveCampaign", "campaign", "live_campaign"]

Sums = Literal["kernel", "engine", "tree"]
_SWITCHES: Mapping[Sums, Callable[[Shape], Place]] = {"kernel": KernelPlace, "engine": EnginePlace, "tree": TreePlace}


@dataclass(frozen=True, slots=True)
class Failure:
    """A schedule after which something did not hold; its seed is all that it takes to see it again."""

    seed: int
    reason: str


@dataclass(frozen=True, slots=True)
class Campaign:
    """What came of many schedules."""

    schedules: int
    moves: int
    faults: int  # workers restarted and replaced, switches killed, revived and given up
    sums: int  # of chunks, each checked
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class LiveCampaign:
    """What came of schedules that were played with processes."""

    played: tuple[Played, ...]
    failures: tuple[Failure, ...]


_LOST = (MidflightError, ArithmeticError, AssertionError, LookupError, TypeError, ValueError)
"""What a game that is lost ends with."""


def campaign(
    seeds: Iterable[int],
    *,
    on: Sums = "kernel",
    most_failures: int = 10,
    progress: Callable[[int, int], None] | None = None,
) -> Campaign:
    """Play the schedules of these seeds against the executed kernel, the compiled one in the engine, or a tree.

    Ends early once `most_failures` have failed. `progress` is told after each how many are done and have failed.
    """
    stage = _Stage(on)
    schedules = moves = faults = sums = 0
    failures: list[Failure] = []
    for seed in seeds:
        schedule = draw(seed)
        game = Game(schedule, *stage.places(schedule))
        try:
            game.play()
        except _LOST as error:
            failures.append(Failure(seed, f"{type(error).__name__}: {error}"))
        schedules += 1
        moves += len(schedule.moves)
        faults += game.faults
        sums += game.referee.sums
        if progress:
            progress(schedules, len(failures))
        if len(failures) >= most_failures:
            break
    return Campaign(schedules, moves, faults, sums, tuple(failures))


def live_campaign(
    seeds: Iterable[int],
    *,
    device: str = "host",
    most_failures: int = 10,
    progress: Callable[[int, int], None] | None = None,
) -> LiveCampaign:
    """Play the schedules of these seeds in networks of namespaces, whose processes are killed. Takes root.

    A network is used again until a game in it is lost. The rest is as in `campaign`. DeviceError where no network of
    this kind can be made.
    """
    played: list[Played] = []
    failures: list[Failure] = []
    with ExitStack() as stack:
        arena = stack.enter_context(Arena(device))
        for seed in seeds:
            try:
                played.append(arena.play(draw_live(seed)))
            except _LOST as error:
                failures.append(Failure(seed, f"{type(error).__name__}: {error}"))
                stack.close()
                if len(failures) < most_failures:
                    arena = stack.enter_context(Arena(device))
            if progress:
                progress(len(played) + len(failures), len(failures))
            if len(failures) >= most_failures:
                break
    return LiveCampaign(tuple(played), tuple(failures))


class _Stage:
    """Makes what sums, once for each shape of job: an engine takes a moment to compile."""

    def __init__(self, on: Sums) -> None:
        self._on = on
        self._made: dict[Shape, tuple[Place, Place]] = {}

    def places(self, schedule: Schedule) -> tuple[Place, Place]:
        shape = Shape(schedule.workers, schedule.slots, schedule.lanes, schedule.overflow)
        if shape not in self._made:
            self._made[shape] = _SWITCHES[self._on](shape), KernelPlace(shape)
        return self._made[shape]
