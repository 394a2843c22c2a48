"""The endpoint of a `Barrier`'s parties: each arrives in a round and waits until all have arrived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from midflight.errors import MidflightError
from midflight.primitives import Message, Schema
from midflight.primitives.wire import REQUEST, RESULT
from midflight.runtime.endpoint.messages import ASK, Refused, decoded, whole
from midflight.runtime.endpoint.reliable import Address, Reliable, Timing
from midflight.runtime.endpoint.serial import serial

__all__ = ["BarrierParty"]


@dataclass(slots=True)
class BarrierParty:
    """The endpoint of party number `party` of a `Barrier` application (an `Endpoint`).

    `arrive` queues an arrival, which `poll` sends until the party is released. Rounds are numbered from 1 without
    bound.

    schema: the wire schema of the program.
    server: the address that arrivals are sent to.
    peers: the addresses of the other parties, which are asked for a release that was lost together with the switch's
        state. Without peers, a party that misses the release of the last round waits until it raises NoAnswerError.
    timing: the retransmission timers, None for the defaults.

    A party that restarts is released at once from the rounds that are over, and so catches up with the others, or it
    calls `begin` with their round. If all parties restart while the switch keeps its state, they have to `begin` with a
    round that is newer than all before.
    """

    schema: Schema
    application: str
    party: int
    server: Address
    peers: Sequence[Address] = ()
    timing: Timing | None = None
    epoch: int | None = None
    """The 16-bit epoch of the switch's state in the latest release; None before the first one."""
    from_peers: int = 0
    """The number of releases that came from another party instead of the switch or server."""
    refused: Refused = field(default_factory=Refused)
    _arrivals: dict[int, Reliable] = field(default_factory=dict)
    _outgoing: list[tuple[Address, bytes]] = field(default_factory=list)

    def begin(self, number: int, barrier: int = 0) -> None:
        """Set the number of the next round of a barrier, for a party that restarts. `barrier` is the barrier's index.

        MidflightError if the round number is below 1, or while the party is waiting.
        """
        if number < 1 or self.waiting(barrier):
            raise MidflightError(f"party {self.party} cannot begin round {number} of barrier {barrier} now")
        self._of(barrier).skip(number)

    def arrive(self, barrier: int = 0) -> int:
        """Arrive in the next round of the barrier with this index, and return the round's number.

        `poll` sends the arrival. MidflightError if the party is already waiting at this barrier; WireError if a number
        does not fit its field. Whether the `Barrier` has this index is not checked: if not, nobody answers.
        """
        if self.waiting(barrier):
            raise MidflightError(f"party {self.party} is already waiting at barrier {barrier}")
        arrivals = self._of(barrier)
        number = arrivals.upcoming
        arrivals.submit(self.server, [self._message(REQUEST, barrier, serial(number))])
        return number

    def waiting(self, barrier: int = 0) -> bool:
        """Return whether the party has arrived at the barrier with this index and has not been released."""
        return barrier in self._arrivals and not self._arrivals[barrier].idle

    def released(self, barrier: int = 0) -> int:
        """Return the number of the latest round that the party has been released from at the barrier with this index.

        That is the round before its first one until the first release, normally 0.
        """
        if barrier not in self._arrivals:
            return 0
        return self._arrivals[barrier].upcoming - (2 if self.waiting(barrier) else 1)

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Process a datagram: a release from the server's address or a peer, or a peer's question for a release.

        A release acknowledges the arrival that it answers; a question about a round that was released is answered.
        Datagrams of another kind, token or source are counted in `refused`, and those about unknown barriers are
        ignored.
        """
        message = decoded(self.schema, self.application, datagram, (RESULT, ASK), self.refused)
        if message is None:
            return
        from_peer = source in self.peers
        if not from_peer and (message.kind == ASK or source != self.server):
            self.refused.source += 1
            return
        barrier = whole(message, "barrier")
        arrivals = self._arrivals.get(barrier)
        if arrivals is None:
            return
        if message.kind == RESULT:
            # Only the party that arrived last was answered at once; the others had to wait for it.
            last = whole(message, "party") == self.party
            if arrivals.acknowledge(message.sequence, now, sample=last) is not None:
                self.epoch = whole(message, "epoch")
                self.from_peers += from_peer
        elif arrivals.index_of(message.sequence) <= self.released(barrier):
            self._outgoing.append((source, self._message(RESULT, barrier, message.sequence)))

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the datagrams to send now: new and repeated arrivals, and questions and answers to peers.

        NoAnswerError if no answer has arrived for the configured patience.
        """
        out, self._outgoing = self._outgoing, []
        for barrier, arrivals in self._arrivals.items():
            out += arrivals.poll(now)
            for number, times in arrivals.overdue() if self.peers else ():
                peer = self.peers[(self.party + times) % len(self.peers)]
                out.append((peer, self._message(ASK, barrier, serial(number))))
        return out

    def next_deadline(self) -> int | None:
        """Return the time in nanoseconds of the next retransmission, when to `poll`; None if no arrival is open."""
        deadlines = [each.next_deadline() for each in self._arrivals.values()]
        return min((each for each in deadlines if each is not None), default=None)

    def _of(self, barrier: int) -> Reliable:
        return self._arrivals.setdefault(barrier, Reliable(window=1, timing=self.timing))

    def _message(self, kind: int, barrier: int, sequence: int) -> bytes:
        fields = {"barrier": barrier, "party": self.party, "epoch": self.epoch or 0}
        return self.schema.encode(Message(kind, self.application, sequence, fields))
