"""The oracle of Aggregate: the answers of a pool of entries, each of which keeps its set of contributions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from midflight.primitives.oracles.serial import is_older

__all__ = ["Answer", "Pool"]

Values = npt.NDArray[np.signedinteger[Any]]

REDUCTIONS: dict[str, np.ufunc] = {
    "min": np.minimum,
    "max": np.maximum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}
"""The operations that are not sums."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of a contribution: the verdict and, unless it is `drop`, the combined numbers and the flags.

    Bit 0 of the flags is set after an overflow, bit 1 if it is set in the packet that is answered.
    """

    verdict: Literal["drop", "reply", "multicast", "forward"]
    values: Values | None = None
    flags: int = 0


@dataclass(slots=True)
class _Entry:
    chunk: int = 0
    contributions: dict[int, tuple[Values, int]] = field(default_factory=dict)
    """By worker, in order of arrival: the numbers and bit 0 of the flags."""


class Pool:
    """The switch's side of an `Aggregate`: a pool of 2 * `slots` entries, which store each accepted contribution.

    The parameters are those of `Aggregate`, and `dtype` is the type of its numbers. `top` is whether the switch answers
    the workers; otherwise it forwards complete sums to the switch above.
    """

    def __init__(
        self,
        *,
        workers: int,
        slots: int,
        overflow: Literal["wrap", "saturate", "detect"],
        operation: str = "sum",
        dtype: type[np.signedinteger[Any]] = np.int32,
        top: bool = True,
    ) -> None:
        self._workers = workers
        self._top = top
        self._overflow = overflow
        self._operation = operation
        self._dtype = dtype
        self._entries = [_Entry() for _ in range(2 * slots)]

    def contribute(self, slot: int, worker: int, sequence: int, flags: int, values: Values, job: int = 0) -> Answer:
        """Process one packet of a worker and return the outcome.

        `slot` is the pool entry, `sequence` and `job` identify the chunk, `flags` are the packet's, and `values` its
        numbers, one per lane. `drop` for an invalid packet, one of an older chunk, and until all workers have
        contributed. `multicast` when the last worker's contribution arrives, `reply` to repeated ones afterwards, and
        `forward` instead of both unless the switch is the top one.
        """
        if slot >= len(self._entries) or worker >= self._workers or sequence == 0:
            return Answer("drop")
        entry = self._entries[slot]
        chunk = job * (1 << 32) + sequence
        if entry.chunk != 0 and is_older(chunk, entry.chunk, bits=48):
            return Answer("drop")
        if chunk != entry.chunk:
            entry.chunk, entry.contributions = chunk, {}
        known = worker in entry.contributions
        if not known:
            entry.contributions[worker] = (values.astype(self._dtype), flags & 1)
        if len(entry.contributions) < self._workers:
            return Answer("drop")
        total, flag = self._total(entry)
        # The answer to a packet keeps its flag for retransmissions.
        if not self._top:
            return Answer("forward", total, flag | flags & 2)
        return Answer("reply" if known else "multicast", total, flag | flags & 2)

    def _total(self, entry: _Entry) -> tuple[Values, int]:
        """Combine an entry's contributions in their order of arrival, which matters for saturating sums."""
        flag = 0
        if self._overflow == "detect":
            flag = int(any(flags for _, flags in entry.contributions.values()))
        rows = np.stack([values for values, _ in entry.contributions.values()])
        if self._operation in REDUCTIONS:
            return REDUCTIONS[self._operation].reduce(rows), flag
        limits = np.iinfo(self._dtype)
        exact = rows[0].astype(np.int64)
        for row in rows[1:]:
            exact = exact + row
            flag |= int(self._overflow == "detect" and np.any((exact < limits.min) | (exact > limits.max)))
            if self._overflow == "saturate":
                exact = np.clip(exact, limits.min, limits.max)
            exact = exact.astype(self._dtype).astype(np.int64)  # modulo 2**width, like the switch
        return exact.astype(self._dtype), flag
