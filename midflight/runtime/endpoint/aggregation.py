"""The datagrams of `Aggregate`, and the kinds of messages that workers send to each other.

Datagrams are encoded many at a time as NumPy records. The layout is read from the primitive, so it is defined in one
place only.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from midflight.errors import WireError
from midflight.primitives import Aggregate
from midflight.primitives.library.aggregate import Number
from midflight.primitives.wire import REQUEST, RESULT, VERSION, record_type
from midflight.runtime.endpoint.serial import serial

__all__ = ["AGAIN", "ASK", "BEGUN", "OVERFLOW", "REQUEST", "RESULT", "SHARE", "Form", "Head"]

ASK = 8
"""Kind of a message between workers.

Without `OVERFLOW` it asks for the sum of a chunk; with it, for the receiver's contribution.


The replies are a RESULT and a SHARE. A worker that has neither replies BEGUN if all workers have finished that chunk,
and does not reply otherwise.
"""
SHARE = 9
"""Kind of a message between workers: the sender's contribution to a chunk."""

BEGUN = 10
"""Kind of a message between workers: all workers have finished every round before the one that begins with this chunk.
"""

OVERFLOW = 1
"""Bit 0 of `flags`: the sum left the range of a lane on the way."""
AGAIN = 2
"""Bit 1 of `flags`: the contribution is a retransmission, so the result says nothing about the round-trip time."""


class Head(NamedTuple):
    """The header fields before the lanes."""

    version: int
    kind: int
    application: int
    sequence: int
    token: int
    slot: int
    worker: int
    flags: int
    job: int
    epoch: int


class Form:
    """Encodes and decodes the datagrams of one application, an `Aggregate` with the given number and type of lanes.

    `token` is that of its members, which all datagrams are encoded with.

    WireError if the header of `Aggregate` has other fields than the endpoints use.
    """

    def __init__(self, application: int, lanes: int, number: Number = "int32", token: int = 0) -> None:
        layout = Aggregate.layout_of(lanes, number)
        self.record = record_type((each.name, each.kind.width, each.kind.signed, each.count) for each in layout)
        *names, last = self.record.names or ()
        kinds = [self.record[name] for name in names]
        if (*names, last) != (*Head._fields, "values") or self.record["values"].base.kind != "i":
            raise WireError("Aggregate's header is not the one that its endpoints know")
        self._head = struct.Struct("!" + "".join({1: "B", 2: "H", 4: "I", 8: "Q"}[each.itemsize] for each in kinds))
        self._application = application
        self.token = token
        self._lanes = lanes
        self._number: np.dtype[np.signedinteger] = self.record["values"].base
        self._flags = sum(each.itemsize for each in kinds[: Head._fields.index("flags")])
        self.size: int = self.record.itemsize
        """The size of a datagram in bytes."""
        self.values_offset: int = self._head.size
        """The number of bytes before the first lane."""
        self.number_size: int = self._number.itemsize
        """The size of a lane in bytes."""
        self.most: int = (1 << (8 * self.number_size - 1)) - 1
        """The largest number that a lane can hold. The smallest is -most - 1."""

    def head(self, datagram: bytes) -> Head | None:
        """Return the header of a datagram, or None if it is not a datagram of the application."""
        if len(datagram) < self.size:
            return None
        head = Head._make(self._head.unpack_from(datagram))
        return head if head.version == VERSION and head.application == self._application else None

    def values(self, datagram: bytes) -> NDArray[np.signedinteger]:
        """Return the lanes of a datagram: shape (lanes,), big-endian, a read-only view."""
        return np.frombuffer(datagram, self._number, self._lanes, self.values_offset)

    def holds(self, values: NDArray[np.signedinteger]) -> bool:
        """Return whether all of these numbers fit a lane."""
        return not values.size or (int(values.max()) <= self.most and int(values.min()) >= -self.most - 1)

    def requests(self, values: NDArray[np.int32], *, worker: int, slots: int, first: int, job: int = 1) -> list[bytes]:
        """Return one request for each row of `values`, which has the shape (chunks, lanes).

        `first` is the index of the first chunk.


        Chunk i (counted from 1) is summed in entry (i - 1) % (2 * slots) of the switch's pool: the slots and their
        shadow copies.
        """
        records = np.zeros(len(values), self.record)
        indices = range(first, first + len(values))
        records["version"] = VERSION
        records["kind"] = REQUEST
        records["application"] = self._application
        records["sequence"] = [serial(index) for index in indices]
        records["token"] = self.token
        records["slot"] = [(index - 1) % (2 * slots) for index in indices]
        records["worker"] = worker
        records["job"] = job
        records["values"] = values
        block, size = records.tobytes(), self.size
        return [block[at : at + size] for at in range(0, len(block), size)]

    def again(self, request: bytes) -> bytes:
        """Return a request marked as a retransmission."""
        at = self._flags
        return request[:at] + bytes((request[at] | AGAIN,)) + request[at + 1 :]

    def message(
        self,
        kind: int,
        index: int,
        *,
        worker: int,
        job: int,
        flags: int = 0,
        epoch: int = 0,
        values: NDArray[np.signedinteger] | None = None,
    ) -> bytes:
        """Return a message about the chunk with this index. Its lanes are 0 if no values are given."""
        head = self._head.pack(
            VERSION, kind, self._application, serial(index), self.token, 0, worker, flags, job, epoch
        )
        return head + (
            bytes(self.number_size * self._lanes) if values is None else values.astype(self._number).tobytes()
        )
