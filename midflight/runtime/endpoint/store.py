"""The hosts of a `Cache`: a key-value server, whose writes take effect once the switch has stored them, and clients."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from midflight.errors import MidflightError
from midflight.primitives import Cache, Message, Schema
from midflight.primitives.wire import FOR_HOST, REQUEST, RESULT
from midflight.runtime.endpoint.messages import Refused, decoded, whole
from midflight.runtime.endpoint.reliable import Address, Reliable, Timing
from midflight.runtime.endpoint.serial import is_newer, serial

__all__ = ["Outcome", "StoreClient", "StoreServer"]

_WINDOW = 64  # updates of the switch that may be in flight


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a client's operation on a key of a `Cache`.

    version: the number of the key's latest write or deletion. Without any, it is 0, or 1 if the server was asked to
    cache the key (`StoreServer.fill`). value: its numbers, None if the key has no value. cached: whether the switch
    answered, not the server.
    """

    key: int
    version: int
    value: tuple[int, ...] | None
    cached: bool


@dataclass(slots=True)
class StoreClient:
    """The endpoint of a client of a `Cache` application, which performs one operation at a time (an `Endpoint`).

    schema: the wire schema of the program.
    server: the address that requests are sent to.
    timing: the retransmission timers, None for the defaults.

    `outcome` is that of the latest operation, None until it is complete.
    """

    schema: Schema
    application: str
    server: Address
    timing: Timing | None = None
    outcome: Outcome | None = None
    """The outcome of the latest operation, or None until it is complete."""
    refused: Refused = field(default_factory=Refused)
    _requests: Reliable = field(init=False)

    def __post_init__(self) -> None:
        self._requests = Reliable(window=1, timing=self.timing)

    @property
    def idle(self) -> bool:
        """Whether no operation is open, so that another may start."""
        return self._requests.idle

    def get(self, key: int, lanes: int) -> None:
        """Queue the read of a key whose values have `lanes` numbers. `outcome` is set when it is complete.

        MidflightError if an operation is open, WireError if the key or `lanes` does not fit the `Cache`.
        """
        self._ask(Cache.GET, key, (0,) * lanes)

    def put(self, key: int, value: Sequence[int]) -> None:
        """Queue a write of a key: `value` has a number for each lane of the `Cache`.

        `outcome` is set when it is complete. MidflightError if an operation is open, WireError if the key or the value
        does not fit the `Cache`.
        """
        self._ask(Cache.PUT, key, value)

    def delete(self, key: int, lanes: int) -> None:
        """Queue the deletion of a key whose values have `lanes` numbers; no effect if the key has no value.

        `outcome` is set when it is complete. MidflightError if an operation is open, WireError if the key does not fit.
        """
        self._ask(Cache.DELETE, key, (0,) * lanes)

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Process a datagram from `source` at time `now` (nanoseconds): the answer to the open operation sets
        `outcome`.

        Late answers are ignored. Malformed datagrams, and those from others than the server, are counted in `refused`.
        """
        message = decoded(self.schema, self.application, datagram, (RESULT,), self.refused)
        if message is None:
            return
        if source != self.server:
            self.refused.source += 1
        elif self._requests.acknowledge(message.sequence, now) is not None:
            status = whole(message, "status")
            value = None if status == Cache.ABSENT else _value(message)
            self.outcome = Outcome(whole(message, "item"), whole(message, "version"), value, status == Cache.HIT)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the datagrams to send now: the request of the open operation, again when its timer expires.

        NoAnswerError if no answer has arrived for the configured patience.
        """
        return self._requests.poll(now)

    def next_deadline(self) -> int | None:
        """Return the time in nanoseconds of the next retransmission, when to `poll`; None if no operation is open."""
        return self._requests.next_deadline()

    def _ask(self, operation: int, key: int, value: Sequence[int]) -> None:
        if not self.idle:
            raise MidflightError("this client has an open operation", hint="wait for its outcome")
        self.outcome = None
        sequence = serial(self._requests.upcoming)
        message = _message(self.application, operation, sequence, key, 0, value)
        self._requests.submit(self.server, [self.schema.encode(message)])


@dataclass(slots=True)
class _Key:
    """The server's state for one key."""

    version: int = 0
    value: tuple[int, ...] | None = None
    cached: bool = False
    write: tuple[Address, Message] | None = None
    """The write or deletion that the switch has not stored yet."""
    update: int | None = None
    """The index of the update that carries it to the switch."""
    waiting: deque[tuple[Address, Message]] = field(default_factory=deque)
    """The requests that have arrived since then, in order."""


class StoreServer:
    """The endpoint that the requests of a `Cache` are addressed to, a key-value store in memory (an `Endpoint`).

    A write or deletion of a cached key is first sent to the switch. It takes effect when the switch has stored it, has
    a newer version, or has no entry for the key. Only then does the server answer the writer and the requests that have
    arrived in the meantime. So no read returns a value older than one that was read, written or deleted before the read
    began. Each operation takes effect once, however often it is retransmitted: the server keeps the number of the
    latest request of each client. If no switch computes, updates come back to the server unchanged.

    Call `fill` after the controller has added an entry for a key, and `forget` after it has removed it.

    schema: the wire schema of the program.
    application: the name of the `Cache`.
    address: the server's own.
    lanes: how many numbers a value has.
    clients: the addresses of the clients; if there are none, requests are accepted from any address.
    timing: the retransmission timers of updates, None for the defaults.
    """

    def __init__(
        self,
        schema: Schema,
        application: str,
        address: Address,
        *,
        lanes: int,
        clients: Sequence[Address] = (),
        timing: Timing | None = None,
    ) -> None:
        self.refused = Refused()
        self.reads = 0
        """How many reads the server has answered."""
        self._schema = schema
        self._application = application
        self._address = address
        self._clients = frozenset(clients)
        self._empty = (0,) * lanes
        self._keys: dict[int, _Key] = {}
        self._updates = Reliable(window=_WINDOW, timing=timing)
        self._updated: dict[int, int] = {}  # the key of each open update
        self._latest: dict[Address, tuple[int, bytes | None]] = {}  # by client, its latest request and the answer
        self._outgoing: list[tuple[Address, bytes]] = []

    def fill(self, key: int) -> None:
        """Mark a key as cached, and queue an update with its value, or its absence, for the switch.

        WireError if the key does not fit its field.
        """
        entry = self._key(key)
        entry.cached = True
        if entry.write is None:
            entry.version = entry.version or 1
            self._update(key, entry.version, entry.value)

    def forget(self, key: int) -> None:
        """Mark a key as not cached: later writes take effect without the switch."""
        self._key(key).cached = False

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Process a client's request that the switch has passed on, or the switch's answer to an update.

        Anything else is ignored or counted in `refused`.
        """
        message = decoded(self._schema, self._application, datagram, (REQUEST, RESULT, FOR_HOST), self.refused)
        if message is None:
            return
        own = whole(message, "operation") in (Cache.UPDATE, Cache.REMOVE)
        if source != self._address if own else self._clients and source not in self._clients:
            self.refused.source += 1
        elif own:
            index = self._updates.acknowledge(message.sequence, now)
            if index is not None:
                self._stored(index)
        elif message.kind != RESULT and whole(message, "operation") in (Cache.GET, Cache.PUT, Cache.DELETE):
            self._request(source, message)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the datagrams to send now: answers to clients, and updates for the switch.

        NoAnswerError if an update stays unanswered for the configured patience.
        """
        out, self._outgoing = self._outgoing, []
        return out + self._updates.poll(now)

    def next_deadline(self) -> int | None:
        """Return the time in nanoseconds of the next retransmission, when to `poll`; None if no update is in flight."""
        return self._updates.next_deadline()

    def _key(self, key: int) -> _Key:
        return self._keys.setdefault(key, _Key())

    def _request(self, source: Address, message: Message) -> None:
        number, answer = self._latest.get(source, (None, None))
        if number == message.sequence:
            if whole(message, "operation") != Cache.GET:
                self._outgoing += [(source, answer)] if answer is not None else []
                return
        elif number is not None and not is_newer(message.sequence, number):
            return
        self._latest[source] = message.sequence, None
        key = whole(message, "item")
        entry = self._key(key)
        entry.waiting.append((source, message))
        self._advance(key, entry)

    def _advance(self, key: int, entry: _Key) -> None:
        """Process the waiting requests of a key, up to a write that has to be sent to the switch."""
        while entry.waiting and entry.write is None:
            source, message = entry.waiting.popleft()
            if whole(message, "operation") != Cache.GET:
                if entry.cached:
                    entry.write = source, message
                    entry.update = self._update(key, _next_version(entry.version), _written(message))
                else:
                    self._commit(entry, source, message)
                continue
            self.reads += 1
            self._answer(entry, source, message)
            invalid = whole(message, "status") == Cache.INVALID and entry.value is not None
            if entry.cached and invalid and key not in self._updated.values():
                self._update(key, entry.version, entry.value)

    def _stored(self, index: int) -> None:
        """Complete the write that an update carried: the switch has stored it or will never need it."""
        key = self._updated.pop(index)
        entry = self._key(key)
        if entry.write is not None and entry.update == index:
            source, message = entry.write
            entry.write = entry.update = None
            self._commit(entry, source, message)
            self._advance(key, entry)

    def _commit(self, entry: _Key, source: Address, message: Message) -> None:
        entry.version = _next_version(entry.version)
        entry.value = _written(message)
        self._answer(entry, source, message)

    def _answer(self, entry: _Key, source: Address, message: Message) -> None:
        status = Cache.ABSENT if entry.value is None else Cache.SERVED
        value = list(entry.value or self._empty)
        fields = {**message.fields, "status": status, "version": entry.version, "value": value}
        answer = self._schema.encode(replace(message, kind=RESULT, fields=fields))
        if self._latest[source][0] == message.sequence:
            self._latest[source] = message.sequence, answer
        self._outgoing.append((source, answer))

    def _update(self, key: int, version: int, value: tuple[int, ...] | None) -> int:
        index, operation = self._updates.upcoming, Cache.REMOVE if value is None else Cache.UPDATE
        message = _message(self._application, operation, serial(index), key, version, value or self._empty)
        self._updates.submit(self._address, [self._schema.encode(message)])
        self._updated[index] = key
        return index


def _next_version(version: int) -> int:
    return serial(version + 1)


def _message(application: str, operation: int, sequence: int, key: int, version: int, value: Sequence[int]) -> Message:
    fields: dict[str, Any] = {
        "operation": operation,
        "status": 0,
        "hits": 0,
        "version": version,
        "item": key,
        "value": list(value),
    }
    return Message(REQUEST, application, sequence, fields)


def _written(message: Message) -> tuple[int, ...] | None:
    """Return the value of a key after a write or deletion."""
    return None if whole(message, "operation") == Cache.DELETE else _value(message)


def _value(message: Message) -> tuple[int, ...]:
    return tuple(int(each) for each in message.fields["value"])  # type: ignore[union-attr]
