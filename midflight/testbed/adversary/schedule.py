"""Schedules of simulated games: an all-reduce job and its faults, step by step, all derived from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

__all__ = ["Move", "Schedule", "draw"]


class Move(StrEnum):
    """The moves of the adversary. Each comes with a number that selects the packet or worker."""

    DELIVER = "deliver"  # a packet arrives
    DUPLICATE = "duplicate"  # it arrives, and a copy stays in flight
    DROP = "drop"
    HOLD = "hold"  # it is held back until much later
    RELEASE = "release"  # a packet held back arrives now
    WAIT = "wait"  # until the next timer expires
    RESTART = "restart"  # a worker dies and restarts from its checkpoint
    REPLACE = "replace"  # a worker is replaced by one with other data, and all start a new job
    KILL = "kill"  # the switch dies: packets that reach it are lost
    REVIVE = "revive"  # it runs again, with empty state
    RESET = "reset"  # a switch loses its state, in a tree one of them
    FORGE = "forge"  # a host sends what others should send: see `Game`
    FAIL_OVER = "fail over"  # the switch never returns: the server takes its place


@dataclass(frozen=True, slots=True)
class Schedule:
    """The schedule of one simulated game: the parameters of its job, and the moves of the adversary.

    `rounds` are the sizes of the vectors to sum, and `overflow` is the switch's overflow mode. A move is a kind and a
    number that selects the packet or worker. If the game is `abandoned`, nothing sums any more after the last move, and
    the workers finish on their own.
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
    """Return the schedule for a simulated game that a seed determines."""
    random_ = random.Random(seed)
    workers, slots, lanes = random_.choice((2, 2, 3, 4)), random_.randint(1, 3), 16
    rounds = tuple(random_.randint(0, 4 * lanes) for _ in range(random_.choice((1, 1, 2, 3))))
    # Every schedule has its own weights, so that there are calm schedules with one fault as well as storms.
    weights = [random_.choice((4, 8, 16)), *(random_.choice((0, 0.5, 1, 2)) for _ in range(3)), 0.5, 1.0]
    weights += [random_.choice((0, 0, 0.1, 0.4)) for _ in range(2)]  # restart, replace
    weights += [random_.choice((0, 0, 0.2, 0.5)), 0.5]  # kill, revive
    weights += [random_.choice((0, 0, 0.2)), random_.choice((0, 0, 0.1))]  # reset, fail over
    length = random_.randint(0, 30 * workers)
    kinds = random_.choices((*_PACKETS, *_FAULTS), weights, k=length)
    # In most schedules packets arrive roughly in order, in some in any order.
    spread = random_.choice((1, 3, 1000))
    moves = [(kind, random_.randrange(spread)) for kind in kinds]
    overflow: Literal["saturate", "detect"] = random_.choice(("saturate", "detect"))
    abandoned = random_.random() < 0.1
    # Forged messages go between the other moves, which stay the same as without them.
    forging = random_.choice((0, 0.1, 0.3))
    woven: list[tuple[Move, int]] = []
    for move in moves:
        woven += [move] if random_.random() >= forging else [(Move.FORGE, random_.randrange(2**32)), move]
    return Schedule(seed, workers, slots, lanes, rounds, overflow, tuple(woven), abandoned)
