"""A worker of an all-reduce, as a user would write it, which computes sums until all workers stop.

It knows the arrays of the others, checks each sum, and prints a line for it. At the end it prints statistics as JSON.
"""

from __future__ import annotations

import json
import select
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from midflight.runtime.endpoint.reliable import Timing
from midflight.runtime.endpoint.ticket import TicketWorker

SIZE = 300
# A patient worker retransmits only lost packets, not those that are late on a busy machine or overtaken.
TIMINGS = {
    "patient": Timing(initial=5_000_000_000, minimum=5_000_000_000, maximum=5_000_000_000, reorder=1 << 30),
    "quick": Timing(initial=200_000_000, minimum=50_000_000, maximum=500_000_000, patience=60_000_000_000),
}


def array(worker: int, number: int) -> NDArray[np.int32]:
    """Return a worker's array for the n-th sum. The last element is whether the worker wants to stop."""
    made = np.random.default_rng([worker, number]).integers(-1_000_000, 1_000_000, SIZE, np.int32)
    made[-1] = 0
    return made


def main(file: str, timing: str) -> None:
    """Sum, check and print."""
    ticket = json.loads(Path(file).read_text())
    own, workers, number, stopping = ticket["worker"], ticket["workers"], 0, False
    with TicketWorker(ticket, TIMINGS[timing]) as worker:
        while not stopping:
            given = array(own, number)
            given[-1] = bool(select.select([sys.stdin], [], [], 0)[0])
            found = worker.sum(given)
            expected = np.sum([array(each, number) for each in range(workers)], axis=0)
            assert (found[:-1] == expected[:-1]).all(), f"sum {number} is wrong"
            stopping = bool(found[-1])
            number += 1
            print(number, flush=True)  # noqa: T201
        # Others may still be at the last sum. The completion of another one shows that they have it.
        worker.sum(np.zeros(1, np.int32))
        print(json.dumps({"sums": number, **asdict(worker.statistics)}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
