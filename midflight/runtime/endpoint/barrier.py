"""The parties of `Barrier`: each arrives in a round, and waits until all have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from midflight.errors import MidflightError
from midflight.primitives import Message, Schema
from midflight.primitives.wire import REQUEST, RESULT
from midflight.runtime.endpoint.messages import ASK, decoded, whole
from midflight.runtime.endpoint.reliable import Address, Reliable, Timing
from midflight.runtime.endpoint.serial import serial

__all__ = ["BarrierParty"]


@dataclass(slots=True)
class BarrierParty:
    """The endpoint of party number `party` of an application that is a `Barrier` (an `Endpoint`).

    `arrive` queues an arrival, which `poll` sends until the party is released. Rounds count from 1 without end. server:
    the address that arrivals go to. peers: the other parties', to be asked for a release that got lost with the
    switch's state: without them who misses the release of a last round waits in vain.

    A party that begins again is released at once from the rounds that are over, and so comes to the one that the others
    are in, or `begin`s there. Where all begin again, on a switch that has kept its state, they `begin` in a round that
    is newer than those before.
    """

    schema: Schema
    application: str
    party: int
    server: Address
    peers: Sequence[Address] = ()
    timing: Timing | None = None
    epoch: int | None = None
    """The life of the switch's state that released the party last."""
    told: int = 0
    """How often a peer has told of a release."""
    malformed: int = 0
    _arrivals: dict[int, Reliable] = field(default_factory=dict)
    _outgoing: list[tuple[Address, bytes]] = field(default_factory=list)

    def begin(self, number: int, barrier: int = 0) -> None:
        """Have the next round of a barrier be this one. MidflightError while the party waits in another."""
        if number < 1 or self.waiting(barrier):
            raise MidflightError(f"party {self.party} cannot begin round {number} of barrier {barrier} now")
        self._of(barrier).skip(number)

    def arrive(self, barrier: int = 0) -> int:
        """Arrive in the next round, and return its number. MidflightError where the party waits already."""
        if self.waiting(barrier):
            raise MidflightError(f"party {self.party} waits at barrier {barrier} already")
        arrivals = self._of(barrier)
        number = arrivals.upcoming
        arrivals.submit(self.server, [self._message(REQUEST, barrier, serial(number))])
        return number

    def waiting(self, barrier: int = 0) -> bool:
        """Tell whether the party has arrived and is not released yet."""
        return barrier in self._arrivals and not self._arrivals[barrier].idle

    def released(self, barrier: int = 0) -> int:
        """Return the latest round that the party is released from, or that is before its first one."""
        if barrier not in self._arrivals:
            return 0
        return self._arrivals[barrier].upcoming - (2 if self.waiting(barrier) else 1)

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Take a release, or a peer's question for one."""
        message = decoded(self.schema, self.application, datagram)
        if message is None or message.kind not in (RESULT, ASK):
            self.malformed += 1
            return
        barrier = whole(message, "barrier")
        arrivals = self._arrivals.get(barrier)
        if arrivals is None:
            return
        if message.kind == RESULT:
            # Whoever came last was answered at once; the others' answers had to wait for that.
            last = whole(message, "party") == self.party
            if arrivals.acknowledge(message.sequence, now, sample=last) is not None:
                self.epoch = whole(message, "epoch")
                self.told += source in self.peers
        elif source in self.peers and arrivals.index_of(message.sequence) <= self.released(barrier):
            self._outgoing.append((source, self._message(RESULT, barrier, message.sequence)))

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return what is to be sent now. Raises NoAnswerError where nobody has answered for the whole patience."""
        out, self._outgoing = self._outgoing, []
        for barrier, arrivals in self._arrivals.items():
            out += arrivals.poll(now)
            for number, times in arrivals.overdue() if self.peers else ():
                peer = self.peers[(self.party + times) % len(self.peers)]
                out.append((peer, self._message(ASK, barrier, serial(number))))
        return out

    def next_deadline(self) -> int | None:
        """Return when to poll again though nothing has come in, or None."""
        deadlines = [each.next_deadline() for each in self._arrivals.values()]
        return min((each for each in deadlines if each is not None), default=None)

    def _of(self, barrier: int) -> Reliable:
        return self._arrivals.setdefault(barrier, Reliable(window=1, timing=self.timing))

    def _message(self, kind: int, barrier: int, sequence: int) -> bytes:
        fields = {"barrier": barrier, "party": self.party, "epoch": self.epoch or 0}
        return self.schema.encode(Message(kind, self.application, sequence, fields))
