"""The replicas behind a `Sequencer`: all deliver the same requests in the same order, even if they miss some."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from midflight.primitives import Message, Schema
from midflight.primitives.wire import RESULT
from midflight.runtime.endpoint.log import Log, is_later
from midflight.runtime.endpoint.messages import ASK, FOUND, MISSING, Refused, decoded, whole
from midflight.runtime.endpoint.ordering import Payload
from midflight.runtime.endpoint.reliable import Address, Reliable, Timing
from midflight.runtime.endpoint.serial import is_newer, serial

__all__ = ["Ordered", "Replica"]

_REFUSAL = struct.Struct(">QH")
"""Payload of a refusal: the largest stored stamp of the session, and the first later session with stored requests."""
_QUESTION = struct.Struct(">HB")
"""Payload of a question: the newest session that the asking replica knows, and whether it refuses the stamp."""
_AT_ONCE = 64  # missing stamps that the peers are asked for at a time
_PATIENT = 4  # timeouts of a question after which its stamp is refused
_FOREVER = 2**62


@dataclass(frozen=True, slots=True)
class Ordered:
    """A client's request as a replica delivers it: its place in the order, and its contents.

    The switch gives the place: `stamp` numbers the requests of one 16-bit `session` from 1, and a session is one life
    of the switch's state. `client` and `number` identify the request, and `body` is what the client passed.
    """

    session: int
    stamp: int
    client: int
    number: int
    body: bytes


@dataclass(slots=True)
class ReplicaStatistics:
    """Counters of a `Replica`, and of the datagrams that it refused.

    `asked` counts the stamps that it asked its peers for, `from_peers` the requests received from them, and `repeated`
    the requests that it received again.
    """

    asked: int = 0  # stamps that the peers were asked for
    from_peers: int = 0  # requests received from peers
    repeated: int = 0  # requests received again
    refused: Refused = field(default_factory=Refused)


class Replica:
    """The endpoint of a replica of a group of a `Sequencer` application (an `Endpoint`).

    It receives requests that the switch has stamped (numbered), passes each once and in order to `execute`, and sends
    the result to the client. `delivered` holds all of them.

    peers: the addresses of the other replicas.
    server: the address that clients send requests to, and so the source of stamped requests; without it they are
        accepted from any address.
    session: the first session of the group, which is the epoch in which the application was admitted.
    newest: after a restart, the newest session that the controller has started; None for `session`.
    timing: the retransmission timers, None for the defaults.

    **Missing stamps.** If a stamp is missing before one that has arrived, the replica asks its peers until one of them
    has the request or the client retransmits it. After several timeouts it refuses the stamp: from then on it accepts
    the request only from a peer. A peer that is asked and does not have it refuses it, too. Once all replicas refuse a
    stamp, none can ever have it. It is `void`, and its client is informed when it retransmits the request.

    **New sessions.** A session is one run of stamps from 1. A stamp of a newer session shows that the switch has lost
    its state. The replicas then refuse everything missing of the old session and exchange what they have of it. A
    request that any of them has is delivered by all, the other stamps are void, and then the new session starts. A
    request that was stamped in both sessions is executed once. Both cases need all replicas: until every one has
    answered, the others do not go on.

    **Restarts.** Delivered requests are kept for replicas that miss them, so a replica that restarts with no state
    receives the whole sequence. It has lost the record of what it refused. Therefore the controller starts a new
    session for it, `newest`, with cleared registers, and it accepts requests of earlier sessions only from peers.
    Another replica may restart once this one has reached that session. A request is durable once more replicas have
    answered it than restart without state.
    """

    def __init__(
        self,
        schema: Schema,
        application: str,
        peers: Sequence[Address],
        *,
        server: Address | None = None,
        session: int,
        newest: int | None = None,
        group: int = 0,
        execute: Callable[[Ordered], bytes] = lambda _: b"",
        timing: Timing | None = None,
    ) -> None:
        self.delivered: list[Ordered] = []
        self.session = session
        """The session that requests are delivered from."""
        self.upcoming = 1
        """The stamp that is delivered next."""
        self.void: list[tuple[int, int]] = []
        """The session and stamp of each request that all replicas have agreed to go on without."""
        self.statistics = ReplicaStatistics()
        self._schema = schema
        self._application = application
        self._peers = tuple(peers)
        self._server = server
        self._group = group
        self.execute = execute
        """Executes a delivered request and returns the answer to its client."""
        self._log = Log(session if newest is None else newest)
        self._refusals: dict[
            int, dict[Address, tuple[int, int]]
        ] = {}  # by stamp, the peers that refuse it, with the contents of `_REFUSAL`
        self._clients: dict[int, tuple[Ordered, bytes]] = {}  # by client, its latest request and the answer
        # A replica waits without a timeout, because its peers may still receive what they miss.
        self._asks = Reliable(window=_FOREVER, timing=replace(timing or Timing(), patience=_FOREVER))
        self._asked: dict[int, tuple[int, Address]] = {}  # by index of the question, the stamp and the peer
        self._outgoing: list[tuple[Address, bytes]] = []

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Process a request stamped by the switch, a peer's question for one, or a peer's reply. May call `execute`.

        Datagrams that are malformed or from other addresses are counted in `statistics.refused`, and those of other
        groups are ignored. Errors of `execute` propagate.
        """
        refused, kinds = self.statistics.refused, (RESULT, ASK, FOUND, MISSING)
        message = decoded(self._schema, self._application, datagram, kinds, refused)
        if message is None:
            return
        if source not in self._peers if message.kind != RESULT else self._server not in (None, source):
            refused.source += 1
        elif whole(message, "group") == self._group:
            if message.kind == RESULT:
                self._store_missing(message)
            elif message.kind == ASK:
                self._answer(source, message)
            else:
                self._learn(source, message, now)
            self._advance()

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the datagrams to send now: answers to clients, and questions and replies to peers. May call `execute`.

        Never raises NoAnswerError: a replica waits for its peers without a limit.
        """
        out, self._outgoing = self._outgoing, []
        out += self._asks.poll(now)
        overdue = [index for index, _ in self._asks.overdue(_PATIENT)]
        for stamp in dict.fromkeys(self._asked[index][0] for index in overdue if index in self._asked):
            if not self._log.refuses(self.session, stamp):
                self._log.refuse(self.session, stamp)
                self._cancel(stamp)
        self._advance()
        return out + self._asks.poll(now)

    def next_deadline(self) -> int | None:
        """Return the time in nanoseconds to repeat a question to a peer, when to `poll`; None if none is open."""
        return self._asks.next_deadline()

    def _store_missing(self, message: Message) -> None:
        """Store a stamped request that was missing, unless it is refused."""
        session, stamp = whole(message, "session"), whole(message, "stamp")
        passed = is_later(self.session, session) or (session == self.session and stamp < self.upcoming)
        if passed or self._log.get(session, stamp) is not None:
            self.statistics.repeated += 1
            self._reply(message, void=(session, stamp) in self.void)
        elif not self._log.refuses(session, stamp):
            self._log.put(session, stamp, message)
            self._note_session(session)
            if session == self.session:
                self._cancel(stamp)

    def _note_session(self, session: int) -> None:
        """Note that a session exists: all sessions before it are over."""
        if self._log.newest != session and not self._log.over(session):
            self._log.newest = session
            # All peers are asked again, which also announces the session: their earlier replies may be out of date.
            self._refusals.clear()
            for stamp, _ in [*self._asked.values()]:
                self._cancel(stamp)

    def _advance(self) -> None:
        """Deliver requests for as long as the next one is there, then ask the peers for those that are missing."""
        log = self._log
        while True:
            request = log.get(self.session, self.upcoming)
            refused = self._refusals.get(self.upcoming, {})
            if request is not None:
                self._deliver(request)
            elif not log.refuses(self.session, self.upcoming) or len(refused) < len(self._peers):
                break
            elif self.upcoming < max([log.last(self.session), *(last for last, _ in refused.values())]):
                self.void.append((self.session, self.upcoming))
            else:
                following = [log.following(self.session), *(session for _, session in refused.values())]
                self.session = min(following, key=lambda each: (each - self.session) % 2**16)
                self.upcoming = 0
                self._refusals.clear()
                for stamp, _ in [*self._asked.values()]:
                    self._cancel(stamp)
            self._cancel(self.upcoming)
            self._refusals.pop(self.upcoming, None)
            self.upcoming += 1
        last = log.last(self.session)
        # Only in a session that is over can it be decided that no stamp follows the last one.
        tail = [self.upcoming] if log.over(self.session) and last < self.upcoming else []
        for stamp in [*range(self.upcoming, min(last, self.upcoming + _AT_ONCE)), *tail]:
            if log.get(self.session, stamp) is None:
                self._ask(stamp)

    def _deliver(self, request: Message) -> None:
        """Execute a request, unless it has been executed in an earlier place, and answer it."""
        client, payload = whole(request, "client"), Payload.unpacked(request.payload)
        if payload is None:
            self.statistics.refused.malformed += 1
            return
        before = self._clients.get(client)
        if before is None or is_newer(payload.number, before[0].number):
            ordered = Ordered(self.session, self.upcoming, client, payload.number, payload.body)
            self.delivered.append(ordered)
            self._clients[client] = ordered, self.execute(ordered)
        self._reply(request)

    def _reply(self, request: Message, *, void: bool = False) -> None:
        """Answer a client's request if it is the latest, or inform the client that the stamp is void."""
        client, payload = whole(request, "client"), Payload.unpacked(request.payload)
        if payload is None:
            return
        latest, answer = self._clients.get(client, (None, b""))
        if latest is not None and latest.number == payload.number:
            place = latest.session, latest.stamp
        elif void and (latest is None or is_newer(payload.number, latest.number)):
            place = self.session, 0
        else:
            return
        self._outgoing.append((payload.client, self._message(RESULT, request.sequence, *place, client, answer)))

    def _ask(self, stamp: int) -> None:
        """Ask the peers for a stamp, except those that have been asked or have refused it."""
        asked = {peer for each, peer in self._asked.values() if each == stamp} | self._refusals.get(stamp, {}).keys()
        self.statistics.asked += not asked
        state = _QUESTION.pack(self._log.newest, self._log.refuses(self.session, stamp))
        for peer in self._peers:
            if peer not in asked:
                number = self._asks.upcoming
                self._asked[number] = stamp, peer
                question = self._message(ASK, serial(number), self.session, stamp, payload=state)
                self._asks.submit(peer, [question])

    def _cancel(self, stamp: int) -> None:
        """Cancel the questions for a stamp."""
        for index in [index for index, each in self._asked.items() if each[0] == stamp]:
            self._asks.cancel(index)
            del self._asked[index]

    def _answer(self, source: Address, question: Message) -> None:
        """Answer a peer's question with the request that has the stamp, or with a refusal, if there is either."""
        session, stamp = whole(question, "session"), whole(question, "stamp")
        if len(question.payload) != _QUESTION.size:
            self.statistics.refused.malformed += 1
            return
        newest, refused = _QUESTION.unpack(question.payload)
        self._note_session(newest)
        if refused:
            self._log.refuse(session, stamp)
        request = self._log.get(session, stamp)
        if request is not None:
            answer = replace(question, kind=FOUND, payload=self._schema.encode(request))
            self._outgoing.append((source, self._schema.encode(answer)))
        elif self._log.refuses(session, stamp):
            state = _REFUSAL.pack(self._log.last(session), self._log.following(session))
            self._outgoing.append((source, self._schema.encode(replace(question, kind=MISSING, payload=state))))

    def _learn(self, source: Address, answer: Message, now: int) -> None:
        """Process a peer's reply to an open question: the request, or a refusal."""
        index, stamp = self._asks.index_of(answer.sequence), whole(answer, "stamp")
        if self._asked.get(index) != (stamp, source):
            return
        if answer.kind == FOUND:
            request = decoded(self._schema, self._application, answer.payload, (RESULT,), self.statistics.refused)
            if request is None:
                return
            self._cancel(stamp)
            self._log.put(self.session, stamp, request)
            self.statistics.from_peers += 1
        elif answer.kind == MISSING and len(answer.payload) == _REFUSAL.size:
            self._asks.settle(index, now)
            del self._asked[index]
            last, following = _REFUSAL.unpack(answer.payload)
            self._refusals.setdefault(stamp, {})[source] = last, following

    def _message(
        self, kind: int, sequence: int, session: int, stamp: int, client: int = 0, payload: bytes = b""
    ) -> bytes:
        fields = {"group": self._group, "client": client, "session": session, "stamp": stamp}
        return self._schema.encode(Message(kind, self._application, sequence, fields, payload))
