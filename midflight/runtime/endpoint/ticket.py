"""Workers on real machines: a ticket from the controller becomes a worker that sums over UDP.

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
from typing import Any

from numpy.typing import NDArray

from midflight.errors import MidflightError
from midflight.runtime.endpoint.allreduce import AllReduceStatistics, Sum
from midflight.runtime.endpoint.reliable import Address, Timing
from midflight.runtime.endpoint.udp import UdpSocket
from midflight.runtime.endpoint.worker import Worker

__all__ = ["TicketWorker", "worker_from_ticket"]

_TIMING = Timing(initial=200_000_000, minimum=20_000_000, maximum=500_000_000)


def worker_from_ticket(ticket: Mapping[str, Any]) -> Worker:
    """Return the worker that a ticket describes: an element of `tickets` in what `midflight admit --json` prints.

    MidflightError if it is no ticket.
    """
    known = [each.name for each in fields(Worker)]
    try:
        values = {name: ticket[name] for name in known}
        values["server"] = _address(ticket["server"])
        values["peers"] = tuple(_address(each) for each in ticket["peers"])
    except (KeyError, TypeError, ValueError) as error:
        raise MidflightError(
            f"this is no ticket of a worker: {error!r}", hint="`midflight admit NAME --hosts ... --json` prints tickets"
        ) from None
    return Worker(**values)


def _address(value: Any) -> Address:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{value!r} is no address")
    host, port = value
    return str(host), int(port)


class TicketWorker:
    """A worker of an all-reduce on this machine, which a ticket describes; a context manager.

    It is bound to the ticket's address and port, and answers its peers from a thread of its own until it is closed:
    they may need something of it after its own last sum, so close it once all have theirs. `timing` is that of its
    retransmissions. MidflightError if the ticket is invalid, DeviceError if the address is none of this machine.
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
        """Return the worker of a ticket in a JSON file. MidflightError if the file cannot be read or has no ticket."""
        try:
            ticket = json.loads(Path(path).read_text())
        except (OSError, ValueError) as error:
            raise MidflightError(f"{path}: {error}") from None
        if not isinstance(ticket, dict):
            raise MidflightError(f"{path} holds no ticket")
        return cls(ticket, timing)

    @property
    def statistics(self) -> AllReduceStatistics:
        """What the worker has counted, with what its reliable layer has sent and sent again."""
        return self._endpoint.statistics

    def sum(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the sum of this array with those that the other workers pass, or what else the operation is.

        All pass arrays of one shape, of floats or of integers, and make the same sums in the same order.
        MidflightError if the network or a worker does not answer, which ends this worker, or if it has ended.
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
        """End the worker. May be called more than once."""
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
