"""The datagrams of the primitive `Aggregate`: results, and the kinds of messages that workers send to each other.

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
"""Kind of a message from worker to worker that asks about one chunk, the part of a vector that one packet carries.

Without `OVERFLOW` it asks for the sum of the chunk, and the reply is a RESULT. With it, it asks for the receiver's own
contribution, and the reply is a SHARE. A worker that has neither replies BEGUN if all workers have finished that chunk,
and does not reply otherwise.
"""
SHARE = 9
"""Kind of a message between workers: the sender's contribution to a chunk."""

BEGUN = 10
"""Kind of a message from worker to worker: all workers have finished the rounds before the one that starts at a chunk.

The message's sequence number is that of the chunk.
"""

OVERFLOW = 1
"""Bit 0 of `flags`: in a result, the sum left the range of a lane on the way; in a question, see `ASK`."""
AGAIN = 2
"""Bit 1 of `flags`: the contribution is a retransmission, so the time to its result is no measured round-trip time."""


class Head(NamedTuple):
    """The header of a datagram of `Aggregate`, decoded: the common header and the fields before the lanes, in wire
    order.

    Kinds, flags and the other fields are those of the wire format in docs/wire.md.
    """

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
    """Encodes and decodes the datagrams of one application of `Aggregate`.

    application: its 16-bit id.
    lanes: the numbers in a datagram, each of the type `number`.
    token: the 64-bit number that all its datagrams carry.

    KernelError unless `lanes` is 1 to 8187. WireError if the header of `Aggregate` has other fields than the endpoints
    use.
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
        """Return the header of a datagram, or None if it is too short, or of another wire version or application.

        The token is not compared.
        """
        if len(datagram) < self.size:
            return None
        head = Head._make(self._head.unpack_from(datagram))
        return head if head.version == VERSION and head.application == self._application else None

    def values(self, datagram: bytes) -> NDArray[np.signedinteger]:
        """Return the lanes of a datagram: a read-only view of shape (lanes,), with big-endian integers."""
        return np.frombuffer(datagram, self._number, self._lanes, self.values_offset)

    def holds(self, values: NDArray[np.signedinteger]) -> bool:
        """Return whether each of these integers fits a lane. True for an empty array."""
        return not values.size or (int(values.max()) <= self.most and int(values.min()) >= -self.most - 1)

    def requests(self, values: NDArray[np.int32], *, worker: int, slots: int, first: int, job: int = 1) -> list[bytes]:
        """Return the requests of a worker for consecutive chunks, one datagram for each row of `values`.

        values: the contributions, with the shape (chunks, lanes).
        worker: the sender's number.
        slots: the window of the `Aggregate`.
        first: the index of the first chunk; indices count from 1 without bound.
        job: the 16-bit number of the run.

        Chunk i is summed in entry (i - 1) % (2 * slots) of the switch's pool: the slots and their shadow copies.
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
        """Return a copy of a request with the flag `AGAIN`, which marks it as a retransmission."""
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
        """Return the datagram of one message about the chunk with this index, which is not a request.

        kind: RESULT, ASK, SHARE or BEGUN.
        worker: the sender's number.
        job: the 16-bit number of the run.
        flags: the bits OVERFLOW and AGAIN.
        epoch: that of the state in which a sum was computed.
        values: the lanes, with the shape (lanes,); None for zeros.
        """
        head = self._head.pack(
            VERSION, kind, self._application, serial(index), self.token, 0, worker, flags, job, epoch
        )
        return head + (
            bytes(self.number_size * self._lanes) if values is None else values.astype(self._number).tobytes()
        )
