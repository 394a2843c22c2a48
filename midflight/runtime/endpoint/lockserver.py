"""The server of a `Lock`: it queues requests beyond the switch's queue, and acquires locks from the switch for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from midflight.primitives import Lock, Message, Schema
from midflight.primitives.wire import FOR_HOST, REQUEST, RESULT
from midflight.runtime.endpoint.locks import LockClient
from midflight.runtime.endpoint.messages import Refused, decoded, whole
from midflight.runtime.endpoint.reliable import Address, Timing
from midflight.runtime.endpoint.serial import is_newer

__all__ = ["LockServer"]

SELF = 0
"""The server's own client number."""


@dataclass(frozen=True, slots=True)
class _Request:
    client: int
    exclusive: bool
    source: Address
    message: Message


@dataclass(slots=True)
class _Queue:
    """The server's state for one lock."""

    waiting: deque[_Request] = field(default_factory=deque)
    holders: dict[int, _Request] = field(default_factory=dict)
    latest: dict[int, int] = field(default_factory=dict)
    """By client, the number of its latest request."""
    turn: int | None = None
    """How many waiting requests are still to be served before the lock goes back to the switch. None without the lock.
    """


class LockServer:
    """The endpoint that the requests of a `Lock` are addressed to (an `Endpoint`).

    The server holds a lock in the switch as client 0, and grants it to its waiting clients in the order of their
    requests. It serves all that were waiting when it got the lock, and then releases it to the next in the switch's
    queue. If no switch computes, its own requests come back to it and it grants them itself, so it manages all locks
    alone. A switch may start computing only while no lock is held. `release_for` releases the locks of a client that
    has failed.

    schema: the wire schema of the program. application: the name of the `Lock`. address: the server's own. clients: the
    addresses of the clients, in the order of their numbers from 1 on. If it is empty, requests are accepted from any
    address. timing: the retransmission timers of its requests to the switch, None for the defaults.
    """

    def __init__(
        self,
        schema: Schema,
        application: str,
        address: Address,
        *,
        clients: Sequence[Address] = (),
        timing: Timing | None = None,
    ) -> None:
        self.refused = Refused()
        self._schema = schema
        self._application = application
        self._clients = dict(enumerate(clients, 1))
        self._own = LockClient(schema, application, SELF, address, timing)
        self._queues: dict[int, _Queue] = {}
        self._proxies: dict[int, LockClient] = {}  # by dead client: what releases its locks in the switch
        self._address = address
        self._timing = timing
        self._outgoing: list[tuple[Address, bytes]] = []

    def release_for(self, client: int, claims: Mapping[int, int]) -> None:
        """Release, on behalf of a failed client, everything that it holds or waits for here and in the switch.

        client: its number. claims: its request numbers in the switch, by lock, from
        `midflight.runtime.endpoint.locks.claims`. Call this only when the client no longer acts on its locks and none
        of its packets are in flight. Requests that wait in the switch are released when their turn comes. Returns at
        once; `poll` sends the releases.
        """
        proxy = self._proxies[client] = LockClient(self._schema, self._application, client, self._address, self._timing)
        for lock, number in claims.items():
            proxy.resume(lock, number)
        for lock, queue in self._queues.items():
            queue.holders.pop(client, None)
            served = queue.turn or 0
            queue.turn = (
                None if queue.turn is None else sum(each.client != client for each in [*queue.waiting][:served])
            )
            queue.waiting = deque(each for each in queue.waiting if each.client != client)
            self._advance(lock, queue)

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Process a request that a switch has left to the server, or an answer to one of the server's own requests.

        Anything else is counted in `refused`.
        """
        message = decoded(self._schema, self._application, datagram, (REQUEST, RESULT, FOR_HOST), self.refused)
        if message is None:
            return
        client, lock = whole(message, "client"), whole(message, "lock")
        if not self._from(source, message.kind, client):
            self.refused.source += 1
            return
        if message.kind == RESULT:
            proxy = self._proxies.get(client, self._own)
            proxy.receive(source, datagram, now)
            if proxy is not self._own and proxy.holds(lock):
                proxy.release(lock)
        elif client == SELF:
            status = Lock.RELEASED if whole(message, "wish") == Lock.RELEASE else Lock.GRANTED
            self._own.receive(source, self._result(message, status), now)
        else:
            self._request(source, message, self._queues.setdefault(lock, _Queue()))
        for number, queue in self._queues.items():
            self._advance(number, queue)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the datagrams to send now: answers to clients, and the server's own requests to the switch.

        NoAnswerError if one of its own requests was not answered for the configured patience.
        """
        out, self._outgoing = self._outgoing, []
        return out + [each for client in (self._own, *self._proxies.values()) for each in client.poll(now)]

    def next_deadline(self) -> int | None:
        """Return the time in nanoseconds of the next retransmission, when to `poll`; None if no request is open."""
        deadlines = [client.next_deadline() for client in (self._own, *self._proxies.values())]
        return min((each for each in deadlines if each is not None), default=None)

    def _from(self, source: Address, kind: int, client: int) -> bool:
        """Return whether a message of this kind and client number can come from an address.

        Requests in the name of a client come from the server itself, too: see `release_for`.
        """
        if source == self._address:
            return True
        return kind != RESULT and client != SELF and (not self._clients or self._clients.get(client) == source)

    def _request(self, source: Address, message: Message, queue: _Queue) -> None:
        client, lock = whole(message, "client"), whole(message, "lock")
        self._own.note_epoch(lock, whole(message, "epoch"))
        if queue.turn is not None and not self._own.holds(lock):
            queue.turn = None  # the lock is lost, and waiting clients repeat their requests
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

    def _advance(self, lock: int, queue: _Queue) -> None:
        """Proceed with a lock: acquire it, grant it, or release it."""
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
        """Return whether the first waiting client can hold the lock together with the present holders."""
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
