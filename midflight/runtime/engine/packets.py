"""A batch of packets: one buffer of bytes, and the position of each packet in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Packets"]


@dataclass(frozen=True, slots=True, eq=False)
class Packets:
    """Packets in order. Iteration yields (port, bytes).

    data: uint8[bytes], the bytes of all packets, possibly with gaps
    offsets, lengths: uint32[n], the position and length of each packet in `data`
    ports: uint16[n], the port by which each packet arrived or leaves
    sources: uint32[n], the index of the input packet that each packet comes from; for output of a switch with queues,
        2**32 - 1 if the packet comes from an earlier batch
    times: uint64[n], when each packet leaves a switch with queues, in nanoseconds; otherwise None

    Raises ValueError for arrays of another shape or type, or if a packet lies outside `data`; `times` is not checked.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.uint32]
    lengths: NDArray[np.uint32]
    ports: NDArray[np.uint16]
    sources: NDArray[np.uint32]
    times: NDArray[np.uint64] | None = None

    def __post_init__(self) -> None:
        arrays = (self.offsets, self.lengths, self.ports, self.sources)
        if len({array.shape for array in arrays}) != 1 or self.offsets.ndim != 1 or self.data.ndim != 1:
            raise ValueError("offsets, lengths, ports and sources must be one-dimensional and have the same length")
        kinds = (np.uint8, np.uint32, np.uint32, np.uint16, np.uint32)
        named: tuple[NDArray[Any], ...] = (self.data, *arrays)
        for array, kind in zip(named, kinds, strict=True):
            if array.dtype != kind or not array.flags.c_contiguous:
                raise ValueError(f"expected a contiguous array of {kind.__name__}, not of {array.dtype}")
        if len(self.offsets) and int((self.offsets.astype(np.uint64) + self.lengths).max()) > self.data.size:
            raise ValueError("a packet lies outside the data")

    @classmethod
    def from_list(cls, packets: Iterable[tuple[int, bytes]]) -> Packets:
        """Return a batch with copies of these (port, bytes) pairs, in order. `sources` is 0, 1, 2, ...

        ValueError for a port that is not 0 to 65535.
        """
        listed = list(packets)
        for port, _ in listed:
            if not 0 <= port < 1 << 16:
                raise ValueError(f"a port is 0 to 65535, not {port}")
        count = len(listed)
        lengths = np.fromiter((len(each) for _, each in listed), np.uint32, count)
        offsets = np.zeros(count, np.uint32)
        if count > 1:
            np.cumsum(lengths[:-1], out=offsets[1:])
        return cls.unchecked(
            np.frombuffer(b"".join(each for _, each in listed), np.uint8),
            offsets,
            lengths,
            np.fromiter((port for port, _ in listed), np.uint16, count),
            np.arange(count, dtype=np.uint32),
        )

    @classmethod
    def unchecked(
        cls,
        data: NDArray[np.uint8],
        offsets: NDArray[np.uint32],
        lengths: NDArray[np.uint32],
        ports: NDArray[np.uint16],
        sources: NDArray[np.uint32],
        times: NDArray[np.uint64] | None = None,
    ) -> Packets:
        """Return a batch made of these arrays, which must fulfil what the constructor checks. They are not copied.

        The parameters are the attributes of `Packets`. The checks would take as long as a small batch.
        """
        packets = object.__new__(cls)
        for name, array in (
            ("data", data),
            ("offsets", offsets),
            ("lengths", lengths),
            ("ports", ports),
            ("sources", sources),
            ("times", times),
        ):
            object.__setattr__(packets, name, array)
        return packets

    def check_times(self, times: NDArray[np.uint64]) -> None:
        """Raise ValueError unless `times` is a contiguous uint64 array with a time for each packet."""
        if times.shape != self.offsets.shape or times.dtype != np.uint64 or not times.flags.c_contiguous:
            raise ValueError(f"times must be a contiguous array of {len(self)} uint64, not {times.size} {times.dtype}")

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, index: int) -> tuple[int, bytes]:
        start = int(self.offsets[index])
        return int(self.ports[index]), self.data[start : start + int(self.lengths[index])].tobytes()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        return (self[index] for index in range(len(self)))

    @property
    def bytes(self) -> int:
        """The sum of the packets' lengths, in bytes."""
        return int(self.lengths.sum())
