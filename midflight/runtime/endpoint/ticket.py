"""Workers on real machines: a ticket from the controller becomes a worker that sums over UDP.

A ticket is what `midflight admit NAME --hosts ... --json` prints for a worker: its address, number and parameters.

    with TicketWorker.read("ticket-h1.json") as worker:
        total = worker.sum(array)
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

from numpy.typing import NDArray

from midflight.errors import MidflightError
from midflight.primitives.library.aggregate import Number, Operation
from midflight.runtime.endpoint.allreduce import AllReduceStatistics, Sum
from midflight.runtime.endpoint.reliable import Address, Timing
from midflight.runtime.endpoint.udp import UdpSocket
from midflight.runtime.endpoint.worker import Worker

__all__ = ["TicketWorker", "worker_from_ticket"]

_TIMING = Timing(initial=200_000_000, minimum=20_000_000, maximum=500_000_000)

# What a ticket's values must be, by the types and the names of the fields of `Worker`.
_TYPES: Mapping[str, type] = {"str": str, "int": int, "bool": bool}
_CHOICES: Mapping[str, tuple[str, ...]] = {"Operation": get_args(Operation), "Number": get_args(Number)}
_LEAST = {"workers": 1, "lanes": 1, "slots": 1, "first": 1}
_BITS = {"port": 16, "application": 16, "job": 16, "token": 64, "first": 64}


def worker_from_ticket(ticket: Mapping[str, Any]) -> Worker:
    """Return the worker that a ticket describes: an element of `tickets` in the output of `midflight admit --json`.

    Unknown keys are ignored. MidflightError if a key is missing or a value is invalid; whether the numbers suit each
    other is checked by `Worker.endpoint`.
    """
    try:
        values = {each.name: _checked(each.name, str(each.type), ticket[each.name]) for each in fields(Worker)}
        values["server"] = _address(ticket["server"])
        values["peers"] = tuple(_address(each) for each in ticket["peers"])
    except (KeyError, TypeError, ValueError) as error:
        raise MidflightError(
            f"this is not a worker's ticket: {error!r}", hint="`midflight admit NAME --hosts ... --json` prints tickets"
        ) from None
    return Worker(**values)


def _checked(name: str, kind: str, value: Any) -> Any:
    """Return the value of a field. TypeError or ValueError if it is not of its kind, or a number is out of range."""
    if kind in _TYPES and type(value) is not _TYPES[kind]:
        raise TypeError(f"{name} is {value!r}")
    if kind in _CHOICES and value not in _CHOICES[kind]:
        raise ValueError(f"{name} is {value!r}, not {' or '.join(_CHOICES[kind])}")
    if kind == "int" and not _LEAST.get(name, 0) <= value < 1 << _BITS.get(name, 32):
        raise ValueError(f"{name} is {value}")
    return value


def _address(value: Any) -> Address:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{value!r} is not an address")
    host, port = value
    return str(host), int(port)


class TicketWorker:
    """A worker of an all-reduce on this machine, described by a ticket of the controller; a context manager.

    It binds a UDP socket to the ticket's address and port, and answers its peers from a thread of its own until it is
    closed. They may need its answers after its own last sum, so close it only once all workers have their sums. timing:
    the retransmission timers. MidflightError if the ticket is invalid, DeviceError if the address cannot be bound.
    """

    def __init__(self, ticket: Mapping[str, Any], timing: Timing = _TIMING) -> None:
        worker = worker_from_ticket(ticket)
        if "address" not in ticket:
            raise MidflightError("the ticket names no address to bind")
        self._endpoint = worker.endpoint(timing)
        self._socket = UdpSocket(self._endpoint, str(ticket["address"]), worker.port)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._changed = threading.Condition()
        self._vector: NDArray[Any] | None = None
        self._result: Sum | Exception | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"worker {worker.worker}", daemon=True)
        self._thread.start()

    @classmethod
    def read(cls, path: str | Path, timing: Timing = _TIMING) -> TicketWorker:
        """Return a running worker for the ticket in a JSON file at `path`. `timing` are the retransmission timers.

        MidflightError if the file cannot be read or contains no ticket, DeviceError if its address cannot be bound.
        """
        try:
            ticket = json.loads(Path(path).read_text())
        except (OSError, ValueError) as error:
            raise MidflightError(f"{path}: {error}") from None
        if not isinstance(ticket, dict):
            raise MidflightError(f"{path} holds no ticket")
        return cls(ticket, timing)

    @property
    def statistics(self) -> AllReduceStatistics:
        """The worker's counters of sums and refused datagrams; those of its retransmissions are in `reliable`."""
        return self._endpoint.statistics

    def sum(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the sum of this array with those of the other workers, or the `Aggregate`'s other operation. Blocks.

        All workers pass arrays of one shape, of floats or of integers, in the same order of calls. Floats give float32.
        Call it from one thread at a time.
        Unlike `Group.allreduce`, `mean` and `count` give the plain sum. WireError if a value is NaN, infinite or too
        large; MidflightError if the network or a worker does not answer, or if the worker has ended. Any error ends
        this worker.
        """
        with self._changed:
            if self._closing or isinstance(self._result, Exception):
                raise MidflightError("this worker has ended")
            self._vector, self._result = array.reshape(-1), None
            os.eventfd_write(self._wake, 1)
            self._changed.wait_for(lambda: self._result is not None)
            if isinstance(self._result, Exception):
                raise self._result
            assert self._result is not None
            return self._result.values.reshape(array.shape)

    def close(self) -> None:
        """End the worker's thread and close its socket; a waiting `sum` raises MidflightError.

        May be called more than once.
        """
        with self._changed:
            if self._closing:
                return
            self._closing = True
            os.eventfd_write(self._wake, 1)
        self._thread.join()
        self._socket.close()
        os.close(self._wake)

    def __enter__(self) -> TicketWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        busy = False
        try:
            while True:
                if self._socket.run(lambda: busy and self._endpoint.idle, self._wake):  # noqa: B023 - called at once
                    busy = False
                    self._set_result(self._endpoint.take())
                    continue
                os.eventfd_read(self._wake)
                with self._changed:
                    if self._closing:
                        self._set_result(MidflightError("the worker was closed"))
                        return
                    vector, self._vector = self._vector, None
                if vector is not None:
                    self._endpoint.submit(vector)
                    busy = True
        except Exception as error:
            self._set_result(error)

    def _set_result(self, result: Sum | Exception | None) -> None:
        with self._changed:
            self._result = result
            self._changed.notify_all()
