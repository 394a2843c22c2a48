"""The endpoints of a `GroupBy`: workers send pairs, each of which counts once, and the server collects the totals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from midflight.errors import MidflightError
from midflight.primitives import GroupBy, Message, Schema
from midflight.primitives.wire import FOR_HOST, REQUEST, RESULT
from midflight.runtime.endpoint.messages import Refused, decoded, whole
from midflight.runtime.endpoint.reliable import Address, Reliable, Timing
from midflight.runtime.endpoint.serial import serial

__all__ = ["GroupByServer", "GroupByWorker"]

Pair = tuple[int, int]
_LIMIT = 2**31


class GroupByWorker:
    """The endpoint of a worker of a `GroupBy` (an `Endpoint`). It sends pairs of key and value until each is accepted.

    groups: the primitive.
    schema: the wire schema of the program.
    server: the address that pairs are sent to.
    worker: this worker's number, 0 to `groups.workers` - 1.
    job: the 16-bit number of the run, newer than all before (RFC 1982).
    timing: the retransmission timers, None for the defaults.

    MidflightError if there is no such worker.
    """

    def __init__(
        self,
        groups: GroupBy,
        schema: Schema,
        server: Address,
        worker: int,
        *,
        job: int = 1,
        timing: Timing | None = None,
    ) -> None:
        if not 0 <= worker < groups.workers:
            raise MidflightError(f"{groups.name} has no worker {worker}, only 0 to {groups.workers - 1}")
        self.refused = Refused()
        self.epochs: set[int] = set()
        """The epochs of the switch's state in which the switch accepted pairs; the server's answers have none.

        If there are two, pairs have been lost: start a newer job.
        """
        self._groups = groups
        self._schema = schema
        self._server = server
        self._worker = worker
        self._job = job
        self._requests = Reliable(window=groups.window, timing=timing)

    @property
    def idle(self) -> bool:
        """Whether all queued pairs have been accepted by the switch or the server."""
        return self._requests.idle

    def put(self, pairs: Iterable[Pair]) -> None:
        """Queue pairs of a key (0 to 2**64 - 1) and a signed 32-bit value, which `poll` sends.

        If the operation of the `GroupBy` is `count`, values are ignored. MidflightError if a key or value does not fit;
        then none is queued.
        """
        counting = self._groups.operation == "count"
        taken = [(key, 1 if counting else value) for key, value in pairs]
        for key, value in taken:
            if not (0 <= key < 2**64 and -_LIMIT <= value < _LIMIT):
                raise MidflightError(f"the pair {key}, {value} does not fit", hint="keys are bit[64], values int_[32]")
        lanes = self._groups.lanes
        rows = [taken[start : start + lanes] for start in range(0, len(taken), lanes)]
        first = self._requests.upcoming
        datagrams = [
            _request(self._groups, self._schema, self._worker, self._job, first + number, row)
            for number, row in enumerate(rows)
        ]
        self._requests.submit(self._server, datagrams)

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Process a datagram: the answer of the switch or the server that it has accepted pairs.

        Datagrams of another kind, token, source or job are ignored and counted in `refused`.
        """
        message = decoded(self._schema, self._groups.name, datagram, (RESULT,), self.refused)
        if message is None:
            return
        if source != self._server:
            self.refused.source += 1
        elif whole(message, "job") != self._job:
            self.refused.job += 1
        elif self._requests.acknowledge(message.sequence, now) is not None and whole(message, "epoch"):
            self.epochs.add(whole(message, "epoch"))

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the datagrams with pairs to send now.

        NoAnswerError if no answer has arrived for the configured patience.
        """
        return self._requests.poll(now)

    def next_deadline(self) -> int | None:
        """Return the time in nanoseconds of the next retransmission, when to `poll`; None if no pairs are in flight."""
        return self._requests.next_deadline()


class GroupByServer:
    """The endpoint that the pairs of a `GroupBy` are addressed to (an `Endpoint`).

    `totals` maps each key to its result. It accepts pairs that the switch has evicted, and all pairs if no switch is on
    the way, each packet once. When all workers are idle, `flush` fetches what the switch still holds. When the server
    is `idle` again, the totals are complete.

    groups: the primitive.
    schema: the wire schema of the program.
    address: the server's own.
    worker: the number that the server uses as the sender of flushes.
    workers: the addresses of the workers in the order of their numbers; if empty, pairs are accepted from any address.
    job: the 16-bit number of the run, the same as the workers'.
    timing: the retransmission timers, None for the defaults.
    """

    def __init__(
        self,
        groups: GroupBy,
        schema: Schema,
        address: Address,
        worker: int,
        *,
        workers: Sequence[Address] = (),
        job: int = 1,
        timing: Timing | None = None,
    ) -> None:
        self.totals: dict[int, int] = {}
        self.epochs: set[int] = set()
        """The epochs of the switch's answers to `flush`, 0 for those that met no switch.

        The totals are complete only if the workers' `epochs` are among these, and there is no other epoch than one.
        """
        self.refused = Refused()
        self._groups = groups
        self._schema = schema
        self._address = address
        self._worker = worker
        self._workers = dict(enumerate(workers))
        self._job = job
        self._flushes = Reliable(window=groups.window, timing=timing)
        self._taken: dict[int, set[int]] = {}  # by worker: the sequence numbers of its packets
        self._outgoing: list[tuple[Address, bytes]] = []

    @property
    def idle(self) -> bool:
        """Whether the switch has answered every request that `flush` queued."""
        return self._flushes.idle

    def flush(self) -> None:
        """Queue requests for everything that the switch still holds, one for each of its cells; `poll` sends them.

        Call it when every worker is idle. It is complete when the server is `idle`.
        """
        first = self._flushes.upcoming
        datagrams = [
            _request(self._groups, self._schema, self._worker, self._job, first + cell, (), cell)
            for cell in range(self._groups.cells)
        ]
        self._flushes.submit(self._address, datagrams)

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Process a worker's packet of pairs and answer it, or process the switch's answer to a request of `flush`.

        Anything else is counted in `refused`.
        """
        message = decoded(self._schema, self._groups.name, datagram, (REQUEST, RESULT, FOR_HOST), self.refused)
        if message is None:
            return
        own = message.kind == RESULT or whole(message, "command") == GroupBy.FLUSH
        worker = whole(message, "worker")
        if source != self._address if own else self._workers and self._workers.get(worker) != source:
            self.refused.source += 1
        elif whole(message, "job") != self._job:
            self.refused.job += 1
        elif own:
            # A flush that returns as a request has met no switch, so there is nothing to fetch.
            index = self._flushes.acknowledge(message.sequence, now)
            if index is not None:
                self.epochs.add(whole(message, "epoch"))
                self._take(message)
        else:
            taken = self._taken.setdefault(worker, set())
            if message.sequence not in taken:
                taken.add(message.sequence)
                self._take(message)
            answer = replace(message, kind=RESULT, fields={**message.fields, "present": 0})
            self._outgoing.append((source, self._schema.encode(answer)))

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the datagrams to send now: answers to workers, and flushes.

        NoAnswerError if no flush was answered for the configured patience.
        """
        out, self._outgoing = self._outgoing, []
        return out + self._flushes.poll(now)

    def next_deadline(self) -> int | None:
        """Return the time in nanoseconds of the next retransmission, when to `poll`; None if no flush is in flight."""
        return self._flushes.next_deadline()

    def _take(self, message: Message) -> None:
        fields: Any = message.fields
        for lane in range(self._groups.lanes):
            if fields["present"] >> lane & 1:
                key, value = int(fields["keys"][lane]), int(fields["values"][lane])
                self.totals[key] = self._combined(self.totals[key], value) if key in self.totals else value

    def _combined(self, total: int, value: int) -> int:
        match self._groups.operation:
            case "min":
                return min(total, value)
            case "max":
                return max(total, value)
            case _:
                return total + value


def _request(
    groups: GroupBy, schema: Schema, worker: int, job: int, index: int, pairs: Sequence[Pair], cell: int | None = None
) -> bytes:
    """Return the packet with this index: with pairs to put, or with the cell to flush."""
    padded = [*pairs, *[(0, 0)] * (groups.lanes - len(pairs))]
    fields: dict[str, Any] = {
        "command": GroupBy.PUT if cell is None else GroupBy.FLUSH,
        "worker": worker,
        "job": job,
        "epoch": 0,
        "present": (1 << len(pairs)) - 1,
        "cell": cell or 0,
        "keys": [key for key, _ in padded],
        "values": [value for _, value in padded],
    }
    return schema.encode(Message(REQUEST, groups.name, serial(index), fields))
