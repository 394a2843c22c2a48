"""The server of `Lock`: queues what the switch has no room for, and asks the switch for the lock on its behalf."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from midflight.errors import WireError
from midflight.primitives import Lock, Message, Schema
from midflight.primitives.wire import FOR_HOST, REQUEST, RESULT
from midflight.runtime.endpoint.locks import LockClient
from midflight.runtime.endpoint.messages import whole
from midflight.runtime.endpoint.reliable import Address, Timing
from midflight.runtime.endpoint.serial import is_newer

__all__ = ["LockServer"]

SELF = 0
"""The server's number among the clients."""


@dataclass(frozen=True, slots=True)
class _Request:
    client: int
    exclusive: bool
    source: Address
    message: Message


@dataclass(slots=True)
class _Queue:
    """What the server knows of one lock."""

    waiting: deque[_Request] = field(default_factory=deque)
    holders: dict[int, _Request] = field(default_factory=dict)
    latest: dict[int, int] = field(default_factory=dict)
    """By client the number of its latest request."""
    turn: int | None = None
    """How many of those waiting are still to be served before the lock goes back to the switch."""


class LockServer:
    """The endpoint that the requests of a `Lock` are addressed to (an `Endpoint`).

    It holds a lock in the switch as client 0 and grants it to those it has waiting, in the order of their requests: all
    that were there when it got the lock, and then it gives it back to those behind it in the switch's queue. Where no
    switch computes, its own requests come back to it, and it grants them itself: so it deals with all locks alone.
    A switch may begin to compute only while no lock is held. What a dead client has it gives back, when it is told
    (`bury`).

    address: its own. timing: of its requests to the switch.
    """

    def __init__(self, schema: Schema, application: str, address: Address, *, timing: Timing | None = None) -> None:
        self.malformed = 0
        self._schema = schema
        self._application = application
        self._own = LockClient(schema, application, SELF, address, timing)
        self._queues: dict[int, _Queue] = {}
        self._heirs: dict[int, LockClient] = {}
        self._address = address
        self._timing = timing
        self._outgoing: list[tuple[Address, bytes]] = []

    def bury(self, client: int, claims: Mapping[int, int]) -> None:
        """Give back, in a dead client's name, what it has here and in the switch: see `claims` in `locks`.

        To be called when the client holds nothing any more, whatever it believes, and nothing that it has sent is under
        way. Locks that it waits for in the switch are given back when its turn comes.
        """
        heir = self._heirs[client] = LockClient(self._schema, self._application, client, self._address, self._timing)
        for lock, number in claims.items():
            heir.resume(lock, number)
        for lock, queue in self._queues.items():
            queue.holders.pop(client, None)
            served = queue.turn or 0
            queue.turn = (
                None if queue.turn is None else sum(each.client != client for each in [*queue.waiting][:served])
            )
            queue.waiting = deque(each for each in queue.waiting if each.client != client)
            self._go_on(lock, queue)

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Take a request that a switch has left to the server, or an answer to one of its own."""
        try:
            message = self._schema.decode(datagram)
        except WireError:
            self.malformed += 1
            return
        if message.application != self._application or message.kind not in (REQUEST, RESULT, FOR_HOST):
            self.malformed += 1
            return
        client, lock = whole(message, "client"), whole(message, "lock")
        if message.kind == RESULT:
            heir = self._heirs.get(client, self._own)
            heir.receive(source, datagram, now)
            if heir is not self._own and heir.holds(lock):
                heir.release(lock)
        elif client == SELF:
            status = Lock.RELEASED if whole(message, "wish") == Lock.RELEASE else Lock.GRANTED
            self._own.receive(source, self._result(message, status), now)
        else:
            self._request(source, message, self._queues.setdefault(lock, _Queue()))
        for number, queue in self._queues.items():
            self._go_on(number, queue)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return what is to be sent now."""
        out, self._outgoing = self._outgoing, []
        return out + [each for client in (self._own, *self._heirs.values()) for each in client.poll(now)]

    def next_deadline(self) -> int | None:
        """Return when to poll again though nothing has come in, or None."""
        deadlines = [client.next_deadline() for client in (self._own, *self._heirs.values())]
        return min((each for each in deadlines if each is not None), default=None)

    def _request(self, source: Address, message: Message, queue: _Queue) -> None:
        client, lock = whole(message, "client"), whole(message, "lock")
        self._own.notice(lock, whole(message, "epoch"))
        if queue.turn is not None and not self._own.holds(lock):
            queue.turn = None  # it is lost: whoever was waiting asks again
            queue.waiting.clear()
            queue.holders.clear()
        latest = queue.latest.get(client)
        new = latest is None or is_newer(message.sequence, latest)
        if not new and message.sequence != latest:
            return
        queue.latest[client] = message.sequence
        if whole(message, "wish") == Lock.RELEASE:
            queue.holders.pop(client, None)
            self._send(source, message, Lock.RELEASED)
            return
        if new:
            queue.holders.pop(client, None)
            exclusive = whole(message, "wish") == Lock.EXCLUSIVE
            queue.waiting.append(_Request(client, exclusive, source, message))
        self._send(source, message, Lock.SERVED if client in queue.holders else Lock.HANDED)

    def _go_on(self, lock: int, queue: _Queue) -> None:
        """Grant the lock, ask for it or give it back, whatever is to be done next."""
        if not self._own.holds(lock):
            queue.turn = None
            if queue.waiting and self._own.idle(lock):
                self._own.acquire(lock)
            return
        if queue.turn is None:
            queue.turn = len(queue.waiting)
        while queue.turn and queue.waiting and self._fits(queue):
            request = queue.waiting.popleft()
            queue.turn -= 1
            queue.holders[request.client] = request
            self._send(request.source, request.message, Lock.SERVED)
        if not queue.holders:
            queue.turn = None
            self._own.release(lock)

    def _fits(self, queue: _Queue) -> bool:
        """Tell whether the first one waiting can have the lock beside those who hold it."""
        sharing = not any(each.exclusive for each in queue.holders.values())
        return not queue.holders or (sharing and not queue.waiting[0].exclusive)

    def _send(self, to: Address, message: Message, status: int) -> None:
        self._outgoing.append((to, self._result(message, status)))

    def _result(self, message: Message, status: int) -> bytes:
        epoch = self._own.epoch(whole(message, "lock"))
        fields = {**message.fields, "status": status}
        if epoch is not None:
            fields["epoch"] = epoch
        return self._schema.encode(replace(message, kind=RESULT, fields=fields))
