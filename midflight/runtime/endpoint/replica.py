"""The replicas behind a `Sequencer`: all deliver the same requests in the same order, whatever each of them misses."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from midflight.primitives import Message, Schema
from midflight.primitives.wire import RESULT
from midflight.runtime.endpoint.log import Log, is_later
from midflight.runtime.endpoint.messages import ASK, LACKS, TOLD, decoded, whole
from midflight.runtime.endpoint.ordering import Payload
from midflight.runtime.endpoint.reliable import Address, Reliable, Timing
from midflight.runtime.endpoint.serial import is_newer, serial

__all__ = ["Ordered", "Replica"]

_STATE = struct.Struct(">QH")
"""Behind the header of an answer that a stamp is refused: the largest of its session that is there, what follows it."""
_ASKS = struct.Struct(">HB")
"""Behind the header of a question: the newest session that the asker knows of, whether it refuses the stamp."""
_AT_ONCE = 64  # stamps that the others are asked for at a time
_PATIENT = 4  # timeouts after which a stamp is refused
_FOREVER = 2**62


@dataclass(frozen=True, slots=True)
class Ordered:
    """A request in its place: the session and the stamp that the switch gave it, its client, its number, its bytes."""

    session: int
    stamp: int
    client: int
    number: int
    body: bytes


@dataclass(slots=True)
class ReplicaStatistics:
    """What a replica has seen so far."""

    asked: int = 0  # stamps that the others were asked for
    told: int = 0  # those that one of them had
    repeated: int = 0  # requests that came once more
    malformed: int = 0  # datagrams that are nothing of the application's


class Replica:
    """The endpoint of a replica of a group of an application that is a `Sequencer` (an `Endpoint`).

    It takes stamped requests, delivers each once and in order to `execute`, and sends what that returns to the client.
    `delivered` has all of them. peers: the other replicas. session: the first of the group, which is the epoch that the
    application was admitted in.

    A stamp that is missing before one that has come is asked from the peers, until one of them has it or the client
    sends it again. Who has asked in vain for long refuses it: it takes it from a peer only, and so does whoever it asks
    and who lacks it, too. When all refuse it nobody can have it, and it is `void`: its client is told so when it sends
    it again.

    A stamp of a newer session shows that the switch has lost its state. Then the replicas refuse all that is left of
    the old session, and tell each other what they have of it: what one of them has all deliver, the rest is void, and
    the new session begins. A request that was stamped in both counts once. Both takes all replicas: until then those
    that are there do not go on.

    What was delivered is kept, for those who lack it: one that begins again from nothing gets the whole sequence. It
    has forgotten what it has refused, so the controller begins a session for it, the `newest`, with cleared state: what
    is of those before it takes from its peers only. Another may forget when this one has come to that session. A
    request is safe once more replicas have answered it than forget.
    """

    def __init__(
        self,
        schema: Schema,
        application: str,
        peers: Sequence[Address],
        *,
        session: int,
        newest: int | None = None,
        group: int = 0,
        execute: Callable[[Ordered], bytes] = lambda _: b"",
        timing: Timing | None = None,
    ) -> None:
        self.delivered: list[Ordered] = []
        self.session = session
        """The session that is delivered from."""
        self.upcoming = 1
        """The stamp that is delivered next."""
        self.void: list[tuple[int, int]] = []
        """By session and stamp, those that all have agreed to do without."""
        self.statistics = ReplicaStatistics()
        self._schema = schema
        self._application = application
        self._peers = tuple(peers)
        self._group = group
        self.execute = execute
        """What a delivered request does, and what its client is answered."""
        self._log = Log(session if newest is None else newest)
        self._lack: dict[int, dict[Address, tuple[int, int]]] = {}  # by stamp, peers that refuse it: what `_STATE` says
        self._clients: dict[int, tuple[Ordered, bytes]] = {}  # by client its latest request, and the answer
        # Whom nobody answers is patient: the others may get what they lack.
        self._asks = Reliable(window=_FOREVER, timing=replace(timing or Timing(), patience=_FOREVER))
        self._asked: dict[int, tuple[int, Address]] = {}  # by index of the question, the stamp and whom
        self._outgoing: list[tuple[Address, bytes]] = []

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Take a stamped request, a peer's question for one, or its answer."""
        message = decoded(self._schema, self._application, datagram)
        if message is None or message.kind not in (RESULT, ASK, TOLD, LACKS):
            self.statistics.malformed += 1
        elif whole(message, "group") == self._group:
            if message.kind == RESULT:
                self._take(message)
            elif message.kind == ASK:
                self._answer(source, message)
            else:
                self._learn(source, message, now)
            self._go_on()

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return what is to be sent now."""
        out, self._outgoing = self._outgoing, []
        out += self._asks.poll(now)
        overdue = [index for index, _ in self._asks.overdue(_PATIENT)]
        for stamp in dict.fromkeys(self._asked[index][0] for index in overdue if index in self._asked):
            if not self._log.refuses(self.session, stamp):
                self._log.refuse(self.session, stamp)
                self._cancel(stamp)
        self._go_on()
        return out + self._asks.poll(now)

    def next_deadline(self) -> int | None:
        """Return when to poll again though nothing has come in, or None."""
        return self._asks.next_deadline()

    def _take(self, message: Message) -> None:
        """Keep a stamped request that is lacking, unless it is refused."""
        session, stamp = whole(message, "session"), whole(message, "stamp")
        passed = is_later(self.session, session) or (session == self.session and stamp < self.upcoming)
        if passed or self._log.get(session, stamp) is not None:
            self.statistics.repeated += 1
            self._tell(message, void=(session, stamp) in self.void)
        elif not self._log.refuses(session, stamp):
            self._log.put(session, stamp, message)
            self._notice(session)
            if session == self.session:
                self._cancel(stamp)

    def _notice(self, session: int) -> None:
        """Learn that there is a session: those before it are over."""
        if self._log.newest != session and not self._log.over(session):
            self._log.newest = session
            # Everybody is asked again, and told of it: what was said before may have been true of its life then only.
            self._lack.clear()
            for stamp, _ in [*self._asked.values()]:
                self._cancel(stamp)

    def _go_on(self) -> None:
        """Deliver what is next, for as long as it is there; then ask for what is not."""
        log = self._log
        while True:
            request = log.get(self.session, self.upcoming)
            refused = self._lack.get(self.upcoming, {})
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
                self._lack.clear()
                for stamp, _ in [*self._asked.values()]:
                    self._cancel(stamp)
            self._cancel(self.upcoming)
            self._lack.pop(self.upcoming, None)
            self.upcoming += 1
        last = log.last(self.session)
        # What comes after the last one can only be known of a session that is over.
        tail = [self.upcoming] if log.over(self.session) and last < self.upcoming else []
        for stamp in [*range(self.upcoming, min(last, self.upcoming + _AT_ONCE)), *tail]:
            if log.get(self.session, stamp) is None:
                self._ask(stamp)

    def _deliver(self, request: Message) -> None:
        """Have a request executed, unless it was in an earlier place."""
        client, payload = whole(request, "client"), Payload.unpacked(request.payload)
        if payload is None:
            self.statistics.malformed += 1
            return
        before = self._clients.get(client)
        if before is None or is_newer(payload.number, before[0].number):
            ordered = Ordered(self.session, self.upcoming, client, payload.number, payload.body)
            self.delivered.append(ordered)
            self._clients[client] = ordered, self.execute(ordered)
        self._tell(request)

    def _tell(self, request: Message, *, void: bool = False) -> None:
        """Answer a client's request, where it is the latest; or tell it that the stamp is void."""
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
        """Ask all peers for a stamp, but those that are asked or have answered that they refuse it."""
        asked = {peer for each, peer in self._asked.values() if each == stamp} | self._lack.get(stamp, {}).keys()
        self.statistics.asked += not asked
        state = _ASKS.pack(self._log.newest, self._log.refuses(self.session, stamp))
        for peer in self._peers:
            if peer not in asked:
                number = self._asks.upcoming
                self._asked[number] = stamp, peer
                question = self._message(ASK, serial(number), self.session, stamp, payload=state)
                self._asks.submit(peer, [question])

    def _cancel(self, stamp: int) -> None:
        """Take back the questions for a stamp."""
        for index in [index for index, each in self._asked.items() if each[0] == stamp]:
            self._asks.cancel(index)
            del self._asked[index]

    def _answer(self, source: Address, question: Message) -> None:
        """Tell a peer the request that has a stamp; or that it is refused here, too."""
        session, stamp = whole(question, "session"), whole(question, "stamp")
        if source not in self._peers or len(question.payload) != _ASKS.size:
            self.statistics.malformed += 1
            return
        newest, refused = _ASKS.unpack(question.payload)
        self._notice(newest)
        if refused:
            self._log.refuse(session, stamp)
        request = self._log.get(session, stamp)
        if request is not None:
            told = replace(question, kind=TOLD, payload=self._schema.encode(request))
            self._outgoing.append((source, self._schema.encode(told)))
        elif self._log.refuses(session, stamp):
            state = _STATE.pack(self._log.last(session), self._log.following(session))
            self._outgoing.append((source, self._schema.encode(replace(question, kind=LACKS, payload=state))))

    def _learn(self, source: Address, answer: Message, now: int) -> None:
        """Take a peer's answer to a question that is open: the request, or that it is refused there, too."""
        index, stamp = self._asks.index_of(answer.sequence), whole(answer, "stamp")
        if self._asked.get(index) != (stamp, source):
            return
        request = decoded(self._schema, self._application, answer.payload)
        if answer.kind == TOLD and request is not None:
            self._cancel(stamp)
            self._log.put(self.session, stamp, request)
            self.statistics.told += 1
        elif answer.kind == LACKS and len(answer.payload) == _STATE.size:
            self._asks.settle(index, now)
            del self._asked[index]
            last, following = _STATE.unpack(answer.payload)
            self._lack.setdefault(stamp, {})[source] = last, following

    def _message(
        self, kind: int, sequence: int, session: int, stamp: int, client: int = 0, payload: bytes = b""
    ) -> bytes:
        fields = {"group": self._group, "client": client, "session": session, "stamp": stamp}
        return self._schema.encode(Message(kind, self._application, sequence, fields, payload))
