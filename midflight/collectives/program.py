"""The switch program that serves collectives: one `Aggregate` for each reduction that a switch computes."""

from __future__ import annotations

from midflight.errors import MidflightError
from midflight.primitives import Aggregate, Program

__all__ = ["MOST_RANKS", "OPERATIONS", "program"]

OPERATIONS = ("sum", "min", "or", "xor")
"""The reductions of the program, which are also the names of its applications."""

MOST_RANKS = 64
"""The largest number of ranks of a group: an `Aggregate` has at most 64 workers."""


def program(ranks: int, *, lanes: int = 128, slots: int = 64) -> Program:
    """Return the program that a switch runs for a group of ranks.

    lanes: the 32-bit numbers in a packet of the application `sum`, 1 to 256; the others have at most 16. slots: the
    packets that a rank may have in flight.

    Sums of 32-bit integers that overflow are detected, and the ranks add those up themselves. MidflightError unless
    `ranks` is 2 to 64; KernelError for other numbers out of range.
    """
    if not 2 <= ranks <= MOST_RANKS:
        raise MidflightError(f"a switch serves groups of 2 to {MOST_RANKS} ranks, not {ranks}")
    small = min(lanes, 16)
    return Program(
        Aggregate("sum", workers=ranks, lanes=lanes, slots=slots, overflow="detect"),
        Aggregate("min", workers=ranks, lanes=small, slots=slots, operation="min"),
        Aggregate("or", workers=ranks, lanes=small, slots=slots, operation="or"),
        Aggregate("xor", workers=ranks, lanes=small, slots=slots, operation="xor"),
    )
