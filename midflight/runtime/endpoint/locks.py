"""The client of a `Lock`: it acquires and releases locks, and knows which ones it holds."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Literal

from midflight.errors import MidflightError
from midflight.primitives import Lock, Message, Schema
from midflight.primitives.state import State
from midflight.primitives.wire import FOR_HOST, REQUEST, RESULT
from midflight.runtime.endpoint.messages import Refused, decoded
from midflight.runtime.endpoint.reliable import Address, Reliable, Timing
from midflight.runtime.endpoint.serial import serial

__all__ = ["LockClient", "claims"]


@dataclass(slots=True)
class LockStatistics:
    """Counters of a client of a `Lock`: locks granted to it and lost, and datagrams refused.

    Of the locks `granted`, the server has granted those in `served`, because the switch's queue was full. Those in
    `lost` were held when the switch lost its state.
    """

    granted: int = 0
    served: int = 0  # locks among them that the server granted, because the switch's queue was full
    lost: int = 0  # locks that were held when the switch lost its state
    refused: Refused = field(default_factory=Refused)


@dataclass(slots=True)
class _Claim:
    """A client's relation to one lock: none, requested, held, or about to be released."""

    requests: Reliable
    state: Literal["free", "acquiring", "held", "releasing"] = "free"
    epoch: int | None = None
    ticket: int | None = None
    served: bool = False


@dataclass(slots=True)
class LockClient:
    """The endpoint of client number `client` of a `Lock` application (an `Endpoint`). Locks are numbered from 0.

    `acquire` and `release` queue requests, which `poll` sends until they are answered. `holds` returns whether a lock
    is held.

    schema: the wire schema of the program.
    server: the address that requests are sent to.
    timing: the retransmission timers, None for the defaults.
    first: the number of the first request for each lock.

    A client that restarts uses a number larger than all before, or calls `resume` for each of its requests in the
    switch (`claims`).
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
        """Return whether the client holds this lock, given by its number."""
        return self._state(lock) == "held"

    def idle(self, lock: int) -> bool:
        """Return whether the client neither holds a lock nor has a request for it."""
        return self._state(lock) == "free"

    def epoch(self, lock: int) -> int | None:
        """Return the epoch of the latest answer about a lock, or None if there was no answer."""
        claim = self._claims.get(lock)
        return None if claim is None else claim.epoch

    def acquire(self, lock: int, *, exclusive: bool = True) -> None:
        """Queue a request for a lock, exclusively or shared with other clients. `holds` is true once it is granted.

        MidflightError if the client holds it or has requested it already; WireError if a number does not fit its field.
        """
        claim = self._claims.setdefault(lock, _Claim(Reliable(window=1, timing=self.timing, first=self.first)))
        if claim.state != "free":
            raise MidflightError(f"client {self.client} already holds lock {lock} or has requested it")
        claim.ticket, claim.served = None, False
        self._submit(lock, claim, Lock.EXCLUSIVE if exclusive else Lock.SHARED)
        claim.state = "acquiring"

    def resume(self, lock: int, number: int) -> None:
        """Continue with request `number` for a lock, sent by a client with the same client number before it restarted.

        The request is repeated, so that the switch or server answers again whether the lock is granted. Any earlier
        state for this lock is replaced. WireError if a number does not fit its field.
        """
        claim = self._claims[lock] = _Claim(Reliable(window=1, timing=self.timing, first=number), "acquiring")
        self._submit(lock, claim, Lock.EXCLUSIVE)

    def release(self, lock: int) -> None:
        """Queue the release of a lock; the client no longer holds it from now on. MidflightError if it is not held."""
        claim = self._claims.get(lock)
        if claim is None or claim.state != "held":
            raise MidflightError(f"client {self.client} does not hold lock {lock}")
        claim.state = "releasing"
        self._submit(lock, claim, Lock.RELEASE)

    def note_epoch(self, lock: int, epoch: int) -> None:
        """Record that the switch's state for a lock is of this epoch.

        If the lock was granted in an earlier one, it is lost. A lost lock is no longer held, and is counted in the
        statistics. Older epochs (RFC 1982, 16 bits) are ignored.
        """
        claim = self._claims.get(lock)
        if claim is None or claim.epoch is None or not 0 < (epoch - claim.epoch) % 2**16 < 2**15:
            return
        claim.epoch, claim.ticket = epoch, None
        if claim.state == "held":
            claim.state = "free"
            self.statistics.lost += 1

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Process an answer to this client, or a multicast that another client's release has passed the lock on.

        Datagrams that are malformed or not from the server's address are counted in `statistics.refused`; those about
        locks that this client has never requested are ignored.
        """
        message = decoded(self.schema, self.application, datagram, (RESULT,), self.statistics.refused)
        if message is None:
            return
        if source != self.server:
            self.statistics.refused.source += 1
            return
        result = _Result.of(message)
        claim = self._claims.get(result.lock)
        if claim is None:
            return
        self.note_epoch(result.lock, result.epoch)
        if result.client == self.client:
            self._answer(source, message, claim, result, now)
        if result.status == Lock.RELEASED and claim.state == "acquiring" and claim.ticket is not None:
            passed = (result.granted - claim.ticket) % 2**32
            if result.epoch == claim.epoch and 0 < passed < 2**31:
                self._hold(claim, result, now)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the datagrams to send now: new and repeated requests.

        NoAnswerError if a request was not answered for the configured patience. Waiting for a lock is not limited.
        """
        out, self._outgoing = self._outgoing, []
        for claim in self._claims.values():
            out += claim.requests.poll(now)
        return out

    def next_deadline(self) -> int | None:
        """Return the time in nanoseconds of the next retransmission, when to `poll`; None if no request is open."""
        deadlines = [each.requests.next_deadline() for each in self._claims.values()]
        return min((each for each in deadlines if each is not None), default=None)

    def _state(self, lock: int) -> str:
        claim = self._claims.get(lock)
        return "free" if claim is None else claim.state

    def _answer(self, source: Address, message: Message, claim: _Claim, result: _Result, now: int) -> None:
        requests = claim.requests
        open_ = requests.is_open(requests.index_of(message.sequence))
        if open_ and claim.state == "releasing" and result.status in (Lock.RELEASED, Lock.LOST):
            requests.acknowledge(message.sequence, now)
            claim.state = "free"
            self.statistics.lost += result.status == Lock.LOST
        elif open_ and claim.state == "acquiring":
            if result.status in (Lock.GRANTED, Lock.SERVED):
                claim.served = result.status == Lock.SERVED
                self._hold(claim, result, now)
            elif result.status in (Lock.WAITING, Lock.HANDED):
                claim.epoch = result.epoch
                claim.ticket = result.ticket if result.status == Lock.WAITING else None
                requests.alive(now)
        elif result.status == Lock.SERVED and not (claim.state in ("held", "releasing") and claim.served):
            # The server has granted a lock that is no longer wanted: released, or granted in a newer epoch.
            release = self._message(result.lock, claim, Lock.RELEASE, message.sequence, FOR_HOST)
            self._outgoing.append((source, release))

    def _hold(self, claim: _Claim, result: _Result, now: int) -> None:
        claim.state, claim.epoch = "held", result.epoch
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
class _Result:
    """The fields of a result."""

    lock: int
    client: int
    status: int
    epoch: int
    ticket: int
    granted: int

    @classmethod
    def of(cls, message: Message) -> _Result:
        """Return the fields of a message."""
        fields = message.fields
        return cls(**{name: operator.index(fields[name]) for name in cls.__slots__})  # type: ignore[arg-type]


def claims(locks: Lock, state: State, client: int) -> dict[int, int]:
    """Return a client's request numbers in the switch, by number of the lock that it holds or waits for.

    locks: the primitive. state: the application's registers, as returned by `net.state`. client: the client's number,
    0 to `locks.clients` - 1. The result is for `LockClient.resume` and `LockServer.release_for`. Reads the switch;
    DeviceError if it does not answer.
    """
    owners = {lock: lock * locks.clients + client for lock in range(locks.locks)}
    return {
        lock: int(state.latest.read(owner, owner + 1)[0])
        for lock, owner in owners.items()
        if state.inside.read(owner, owner + 1)[0]
    }
