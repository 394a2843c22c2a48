"""The client of `Lock`: asks for locks, knows which it holds, and gives them back."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Literal

from midflight.errors import MidflightError, WireError
from midflight.primitives import Lock, Message, Schema
from midflight.primitives.state import State
from midflight.primitives.wire import FOR_HOST, REQUEST, RESULT
from midflight.runtime.endpoint.reliable import Address, Reliable, Timing
from midflight.runtime.endpoint.serial import serial

__all__ = ["LockClient", "claims"]


@dataclass(slots=True)
class LockStatistics:
    """What a client has seen so far."""

    granted: int = 0
    served: int = 0  # those of them that the server granted, as the switch's queue was full
    lost: int = 0  # locks that were held when the switch's state was lost
    malformed: int = 0  # datagrams that are no results of the application


@dataclass(slots=True)
class _Claim:
    """A client's business with one lock."""

    requests: Reliable
    state: Literal["free", "asking", "held", "giving"] = "free"
    epoch: int | None = None
    ticket: int | None = None
    served: bool = False


@dataclass(slots=True)
class LockClient:
    """The endpoint of client number `client` of an application that is a `Lock` (an `Endpoint`).

    `acquire` and `release` queue requests, which `poll` sends until they are answered; `holds` tells which are held.
    server: the address that requests go to. first: the number of the first request for each lock; who begins again
    takes one larger than all before, or `resume`s what is under way (`claims`). Raises MidflightError where a lock is
    asked for twice, or given back that is not held.
    """

    schema: Schema
    application: str
    client: int
    server: Address
    timing: Timing | None = None
    first: int = 1
    statistics: LockStatistics = field(default_factory=LockStatistics)
    _claims: dict[int, _Claim] = field(default_factory=dict)
    _outgoing: list[tuple[Address, bytes]] = field(default_factory=list)

    def holds(self, lock: int) -> bool:
        """Tell whether the client has a lock."""
        return self._state(lock) == "held"

    def idle(self, lock: int) -> bool:
        """Tell whether the client has nothing to do with a lock."""
        return self._state(lock) == "free"

    def epoch(self, lock: int) -> int | None:
        """Return the life of the switch's state that the last answer about a lock came from."""
        claim = self._claims.get(lock)
        return None if claim is None else claim.epoch

    def acquire(self, lock: int, *, exclusive: bool = True) -> None:
        """Ask for a lock, alone or to share it with others who do."""
        claim = self._claims.setdefault(lock, _Claim(Reliable(window=1, timing=self.timing, first=self.first)))
        if claim.state != "free":
            raise MidflightError(f"client {self.client} has lock {lock}, or has asked for it, already")
        claim.state, claim.ticket, claim.served = "asking", None, False
        self._submit(lock, claim, Lock.EXCLUSIVE if exclusive else Lock.SHARED)

    def resume(self, lock: int, number: int) -> None:
        """Go on from request `number` for a lock, of whoever was this client before: ask for its answer once more."""
        claim = self._claims[lock] = _Claim(Reliable(window=1, timing=self.timing, first=number), "asking")
        self._submit(lock, claim, Lock.EXCLUSIVE)

    def release(self, lock: int) -> None:
        """Give a lock back."""
        claim = self._claims.get(lock)
        if claim is None or claim.state != "held":
            raise MidflightError(f"client {self.client} does not have lock {lock}")
        claim.state = "giving"
        self._submit(lock, claim, Lock.RELEASE)

    def notice(self, lock: int, epoch: int) -> None:
        """Learn that the switch's state is in this epoch: a lock that was granted in an earlier one is lost."""
        claim = self._claims.get(lock)
        if claim is None or claim.epoch is None or not 0 < (epoch - claim.epoch) % 2**16 < 2**15:
            return
        claim.epoch, claim.ticket = epoch, None
        if claim.state == "held":
            claim.state = "free"
            self.statistics.lost += 1

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Take a result: an answer to this client, or the news that a lock was passed on."""
        try:
            message = self.schema.decode(datagram)
        except WireError:
            self.statistics.malformed += 1
            return
        if message.kind != RESULT or message.application != self.application:
            self.statistics.malformed += 1
            return
        told = _Told.of(message)
        claim = self._claims.get(told.lock)
        if claim is None:
            return
        self.notice(told.lock, told.epoch)
        if told.client == self.client:
            self._answer(source, message, claim, told, now)
        if told.status == Lock.RELEASED and claim.state == "asking" and claim.ticket is not None:
            passed = (told.granted - claim.ticket) % 2**32
            if told.epoch == claim.epoch and 0 < passed < 2**31:
                self._have(claim, told, now)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return what is to be sent now. Raises NoAnswerError where nobody has answered for the whole patience."""
        out, self._outgoing = self._outgoing, []
        for claim in self._claims.values():
            out += claim.requests.poll(now)
        return out

    def next_deadline(self) -> int | None:
        """Return when to poll again though nothing has come in, or None."""
        deadlines = [each.requests.next_deadline() for each in self._claims.values()]
        return min((each for each in deadlines if each is not None), default=None)

    def _state(self, lock: int) -> str:
        claim = self._claims.get(lock)
        return "free" if claim is None else claim.state

    def _answer(self, source: Address, message: Message, claim: _Claim, told: _Told, now: int) -> None:
        requests = claim.requests
        open_ = requests.is_open(requests.index_of(message.sequence))
        if open_ and claim.state == "giving" and told.status in (Lock.RELEASED, Lock.LOST):
            requests.acknowledge(message.sequence, now)
            claim.state = "free"
            self.statistics.lost += told.status == Lock.LOST
        elif open_ and claim.state == "asking":
            if told.status in (Lock.GRANTED, Lock.SERVED):
                claim.served = told.status == Lock.SERVED
                self._have(claim, told, now)
            elif told.status in (Lock.WAITING, Lock.HANDED):
                claim.epoch = told.epoch
                claim.ticket = told.ticket if told.status == Lock.WAITING else None
                requests.alive(now)
        elif told.status == Lock.SERVED and not (claim.state in ("held", "giving") and claim.served):
            # The server has granted what is not wanted any more: it was granted in a new epoch, or given back.
            back = self._message(told.lock, claim, Lock.RELEASE, message.sequence, FOR_HOST)
            self._outgoing.append((source, back))

    def _have(self, claim: _Claim, told: _Told, now: int) -> None:
        claim.state, claim.epoch = "held", told.epoch
        claim.requests.acknowledge(serial(claim.requests.upcoming - 1), now, sample=False)
        self.statistics.granted += 1
        self.statistics.served += claim.served

    def _submit(self, lock: int, claim: _Claim, wish: int) -> None:
        kind = FOR_HOST if wish == Lock.RELEASE and claim.served else REQUEST
        datagram = self._message(lock, claim, wish, serial(claim.requests.upcoming), kind)
        claim.requests.submit(self.server, [datagram])

    def _message(self, lock: int, claim: _Claim, wish: int, sequence: int, kind: int) -> bytes:
        fields = {"lock": lock, "client": self.client, "wish": wish, "status": 0}
        fields |= {"epoch": claim.epoch or 0, "ticket": claim.ticket or 0, "granted": 0}
        return self.schema.encode(Message(kind, self.application, sequence, fields))


@dataclass(frozen=True, slots=True)
class _Told:
    """The fields of a result."""

    lock: int
    client: int
    status: int
    epoch: int
    ticket: int
    granted: int

    @classmethod
    def of(cls, message: Message) -> _Told:
        """Read them from a message."""
        fields = message.fields
        return cls(**{name: operator.index(fields[name]) for name in cls.__slots__})  # type: ignore[arg-type]


def claims(locks: Lock, state: State, client: int) -> dict[int, int]:
    """Return what a client has in the switch: by lock that it waits for or holds, the number of its request.

    `state` is the application's, as `net.state` gives it.
    """
    owners = {lock: lock * locks.clients + client for lock in range(locks.locks)}
    return {
        lock: int(state.latest.read(owner, owner + 1)[0])
        for lock, owner in owners.items()
        if state.inside.read(owner, owner + 1)[0]
    }
