"""Schedules: the job, and what happens to it step by step. All of it follows from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

__all__ = ["Move", "Schedule", "draw"]


class Move(StrEnum):
    """What the adversary can do. Each move goes with a number, which says to which packet or worker."""

    DELIVER = "deliver"  # a packet arrives
    DUPLICATE = "duplicate"  # it arrives, and another one like it is still to come
    DROP = "drop"
    HOLD = "hold"  # it seems lost, and comes back much later
    RELEASE = "release"  # one of those comes back now
    WAIT = "wait"  # until the next timer runs out
    RESTART = "restart"  # a worker dies and begins its round again
    REPLACE = "replace"  # a worker is replaced by one with other data, so that all begin again as a new job
    KILL = "kill"  # what sums dies: what reaches it is lost
    REVIVE = "revive"  # it is back, and empty
    RESET = "reset"  # a switch loses its memory, one of several where there are several
    FAIL_OVER = "fail over"  # the switch never comes back: the server takes its place


@dataclass(frozen=True, slots=True)
class Schedule:
    """One game. `rounds` are the sizes of the vectors; `overflow` is what the switch does, by which the scale goes.

    Where all is `abandoned`, nothing sums any more after the last move, and the workers finish by themselves.
    """

    seed: int
    workers: int
    slots: int
    lanes: int
    rounds: tuple[int, ...]
    overflow: Literal["saturate", "detect"]
    moves: tuple[tuple[Move, int], ...]
    abandoned: bool


_PACKETS = (Move.DELIVER, Move.DUPLICATE, Move.DROP, Move.HOLD, Move.RELEASE, Move.WAIT)
_FAULTS = (Move.RESTART, Move.REPLACE, Move.KILL, Move.REVIVE, Move.RESET, Move.FAIL_OVER)


def draw(seed: int) -> Schedule:
    """Return the schedule of a seed."""
    random_ = random.Random(seed)
    workers, slots, lanes = random_.choice((2, 2, 3, 4)), random_.randint(1, 3), 16
    rounds = tuple(random_.randint(0, 4 * lanes) for _ in range(random_.choice((1, 1, 2, 3))))
    # Every schedule has its own mixture, so that calm ones with one fault occur as well as storms.
    weights = [random_.choice((4, 8, 16)), *(random_.choice((0, 0.5, 1, 2)) for _ in range(3)), 0.5, 1.0]
    weights += [random_.choice((0, 0, 0.1, 0.4)) for _ in range(2)]  # restart, replace
    weights += [random_.choice((0, 0, 0.2, 0.5)), 0.5]  # kill, revive
    weights += [random_.choice((0, 0, 0.2)), random_.choice((0, 0, 0.1))]  # reset, fail over
    length = random_.randint(0, 30 * workers)
    kinds = random_.choices((*_PACKETS, *_FAULTS), weights, k=length)
    # Mostly what was sent first arrives first; sometimes anything does.
    spread = random_.choice((1, 3, 1000))
    moves = tuple((kind, random_.randrange(spread)) for kind in kinds)
    overflow: Literal["saturate", "detect"] = random_.choice(("saturate", "detect"))
    return Schedule(seed, workers, slots, lanes, rounds, overflow, moves, random_.random() < 0.1)
