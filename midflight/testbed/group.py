"""A group of workers that sum their arrays together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from midflight.errors import MidflightError, WireError
from midflight.primitives.fixedpoint import largest_exponent
from midflight.testbed.endpoint.allreduce import AllReduceStatistics, Sum
from midflight.testbed.fabric.base import Crew, Host

__all__ = ["Group"]


class Group:
    """The workers of one application. Worker n runs on `hosts[n]`."""

    def __init__(self, name: str, hosts: Sequence[Host], crew: Crew) -> None:
        self.name = name
        self.hosts = tuple(hosts)
        self.crew = crew
        """The workers, wherever they run."""

    def __len__(self) -> int:
        return len(self.hosts)

    def __repr__(self) -> str:
        return f"Group({self.name!r}, [{', '.join(host.name for host in self.hosts)}])"

    @property
    def statistics(self) -> tuple[AllReduceStatistics, ...]:
        """What each worker has counted."""
        return self.crew.statistics

    def allreduce(self, arrays: Sequence[NDArray[np.floating]]) -> list[NDArray[np.float32]]:
        """Return the sum of the workers' arrays as each worker received it, all equal, as float32.

        `arrays` holds one array of floats for each worker, all of one shape; they are taken as float32. The sum is
        within `error_bound(bits, workers)` of the true one (see `midflight.primitives.fixedpoint`), and then rounded
        to float32. MidflightError where the arrays do not fit the group or hold NaN or infinities, and where the
        network does not answer.
        """
        return [each.values.reshape(arrays[0].shape) for each in self.sum(arrays)]

    def sum(self, arrays: Sequence[NDArray[np.floating]]) -> list[Sum]:
        """Do as `allreduce` does, and return with each sum, flattened, the integers that it was read from."""
        return self.crew.sum(self._vectors(arrays))

    def _vectors(self, arrays: Sequence[NDArray[np.floating]]) -> list[NDArray[np.float32]]:
        if len(arrays) != len(self):
            raise MidflightError(
                f"{len(arrays)} arrays for the {len(self)} workers of {self.name}",
                hint="pass one array for each worker",
            )
        for number, array in enumerate(arrays):
            if not isinstance(array, np.ndarray) or not np.issubdtype(array.dtype, np.floating):
                kind = f"of {array.dtype}" if isinstance(array, np.ndarray) else f"but a {type(array).__name__}"
                raise MidflightError(
                    f"worker {number}'s array is not one of floats, {kind}", hint="pass numpy arrays of float32"
                )
            if array.shape != arrays[0].shape:
                raise MidflightError(
                    f"worker {number}'s array has shape {array.shape}, worker 0's has {arrays[0].shape}",
                    hint="all arrays of an all-reduce have one shape",
                )
        with np.errstate(over="ignore"):  # an infinity from rounding to float32 is refused, by name, further on
            vectors = [np.array(array, np.float32).reshape(-1) for array in arrays]
        for number, vector in enumerate(vectors):
            try:
                largest_exponent(vector)  # refused here, before any worker has begun
            except WireError as error:
                raise WireError(f"worker {number}: {error.message}", hint=error.hint) from None
        return vectors
