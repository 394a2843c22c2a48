"""The wire form of `Aggregate`, many messages at a time as NumPy records, and what hosts say among themselves in it.

The layout is the primitive's own: it is read from there, not written down again.
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
"""The kind of a message from host to host: what has become of this chunk? With `OVERFLOW`: what was your share in it?

The answer to the former is the chunk's RESULT, to the latter a SHARE. Who has neither answers with BEGUN where
everybody had finished that chunk, and else is silent.
"""
SHARE = 9
"""The kind of a message from host to host that tells the contribution which a worker made to a chunk."""

BEGUN = 10
"""The kind of a message from host to host: everybody has finished the rounds before the one that begins here."""

OVERFLOW = 1
"""Bit 0 of `flags`: the sum left the range of an int32 on its way."""
AGAIN = 2
"""Bit 1 of `flags`: the contribution was sent before, so that the answer says nothing about the round trip."""


class Head(NamedTuple):
    """What stands before the lanes."""

    version: int
    kind: int
    application: int
    sequence: int
    slot: int
    worker: int
    flags: int
    job: int
    epoch: int


class Form:
    """The datagrams of one application, an `Aggregate` with this many lanes of these numbers."""

    def __init__(self, application: int, lanes: int, number: Number = "int32") -> None:
        layout = Aggregate.layout_of(lanes, number)
        self.record = record_type((each.name, each.kind.width, each.kind.signed, each.count) for each in layout)
        *names, last = self.record.names or ()
        kinds = [self.record[name] for name in names]
        if (*names, last) != (*Head._fields, "values") or self.record["values"].base.kind != "i":
            raise WireError("Aggregate's header is not the one that its endpoints know")
        self._head = struct.Struct("!" + "".join({1: "B", 2: "H", 4: "I"}[each.itemsize] for each in kinds))
        self._application = application
        self._lanes = lanes
        self._number: np.dtype[np.signedinteger] = self.record["values"].base
        self._flags = sum(each.itemsize for each in kinds[: Head._fields.index("flags")])
        self.size: int = self.record.itemsize
        """Bytes of a datagram."""
        self.values_offset: int = self._head.size
        """Bytes before the first lane."""
        self.number_size: int = self._number.itemsize
        """Bytes of a lane."""
        self.most: int = (1 << (8 * self.number_size - 1)) - 1
        """The greatest number that a lane holds; the least is -most - 1."""

    def head(self, datagram: bytes) -> Head | None:
        """Return what stands before the lanes, or None where this is no datagram of the application."""
        if len(datagram) < self.size:
            return None
        head = Head._make(self._head.unpack_from(datagram))
        return head if head.version == VERSION and head.application == self._application else None

    def values(self, datagram: bytes) -> NDArray[np.signedinteger]:
        """Return the lanes, big-endian."""
        return np.frombuffer(datagram, self._number, self._lanes, self.values_offset)

    def holds(self, values: NDArray[np.signedinteger]) -> bool:
        """Say whether lanes can hold these numbers."""
        return not values.size or (int(values.max()) <= self.most and int(values.min()) >= -self.most - 1)

    def requests(self, values: NDArray[np.int32], *, worker: int, slots: int, first: int, job: int = 1) -> list[bytes]:
        """Return one request for each row of `values` (chunks x lanes); the first of them has the index `first`.

        Index i (from 1) is summed in entry (i - 1) % (2 * slots): the slots and their shadow copies.
        """
        records = np.zeros(len(values), self.record)
        indices = range(first, first + len(values))
        records["version"] = VERSION
        records["kind"] = REQUEST
        records["application"] = self._application
        records["sequence"] = [serial(index) for index in indices]
        records["slot"] = [(index - 1) % (2 * slots) for index in indices]
        records["worker"] = worker
        records["job"] = job
        records["values"] = values
        block, size = records.tobytes(), self.size
        return [block[at : at + size] for at in range(0, len(block), size)]

    def again(self, request: bytes) -> bytes:
        """Return a request as it is sent for the second time and later."""
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
        """Return a message about the chunk with this index; without values its lanes are 0."""
        head = self._head.pack(VERSION, kind, self._application, serial(index), 0, worker, flags, job, epoch)
        return head + (
            bytes(self.number_size * self._lanes) if values is None else values.astype(self._number).tobytes()
        )
