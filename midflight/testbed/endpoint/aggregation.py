"""The wire form of `Aggregate` requests and results, many of them at a time as NumPy records."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from midflight.testbed.endpoint.serial import serial

__all__ = ["OVERFLOW", "REQUEST", "RESULT", "VALUES_OFFSET", "VERSION", "encode_requests", "record_type"]

VERSION = 1
REQUEST = 1
RESULT = 2
OVERFLOW = 1
"""Bit 0 of `flags`: the sum left the range of an int32 on its way."""
VALUES_OFFSET = 12
"""Bytes before the first lane."""


def record_type(lanes: int) -> np.dtype[np.void]:
    """Return the NumPy type of one datagram: the common header, then `Aggregate`'s fields, all big-endian."""
    return np.dtype(
        [
            ("version", "u1"),
            ("kind", "u1"),
            ("application", ">u2"),
            ("sequence", ">u4"),
            ("slot", ">u2"),
            ("worker", "u1"),
            ("flags", "u1"),
            ("values", ">i4", (lanes,)),
        ]
    )


def encode_requests(values: NDArray[np.int32], *, application: int, worker: int, slots: int, first: int) -> list[bytes]:
    """Return one request for each row of `values` (chunks x lanes); the first of them has the index `first`.

    Index i (from 1) is summed in entry (i - 1) % (2 * slots): the slots and their shadow copies.
    """
    chunks, lanes = values.shape
    records = np.zeros(chunks, record_type(lanes))
    indices = range(first, first + chunks)
    records["version"] = VERSION
    records["kind"] = REQUEST
    records["application"] = application
    records["sequence"] = [serial(index) for index in indices]
    records["slot"] = [(index - 1) % (2 * slots) for index in indices]
    records["worker"] = worker
    records["values"] = values
    block, size = records.tobytes(), records.itemsize
    return [block[at : at + size] for at in range(0, len(block), size)]
