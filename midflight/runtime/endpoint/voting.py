"""The hosts of a `Quorum`: voters that retransmit votes until they know the result, and the server for `forward`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from midflight.errors import MidflightError
from midflight.primitives import Message, Quorum, Schema, Verdict
from midflight.primitives.wire import REQUEST, RESULT
from midflight.runtime.endpoint.messages import ASK, Refused, decoded, whole
from midflight.runtime.endpoint.reliable import Address, Reliable, Timing
from midflight.runtime.endpoint.serial import serial, unwrap

__all__ = ["QuorumServer", "Voter"]

_DECIDED = (Quorum.REACHED, Quorum.LATE, Quorum.AGAIN)


@dataclass(slots=True)
class VoterStatistics:
    """Counters of a `Voter`, and of the datagrams that it refused.

    `from_others` counts results that came from a peer or the server instead of the switch. `crowded` counts answers
    that a vote was not counted, because its slot was in use.
    """

    from_others: int = 0  # results that came from a peer, or from the server
    crowded: int = 0  # answers that a vote was not counted because its slot was in use
    refused: Refused = field(default_factory=Refused)


class Voter:
    """The endpoint of voter number `voter` of a `Quorum` (an `Endpoint`).

    `vote` casts a vote in the next voting; votings are numbered from `first` without bound. `poll` retransmits the vote
    until the result is known, and `decided` maps the number of each decided voting to its value. A vote is sent only
    after the voting `slots` before it is decided.

    schema: the wire schema of the program.
    server: the address that votes are sent to.
    peers: the addresses of the other voters, which are asked for a result that the switch has lost or whose entry it
        has reused. With `forward` (the primitive's `result`) the server is asked instead.
    timing: the retransmission timers, None for the defaults.

    A voting has one result as long as any two quorums share a voter and no voter changes its vote. If `needed` is not a
    majority, or if voters may forget their votes, this holds only within one epoch of the switch's state. The voters
    then rely on one `epoch` and ignore results of others; None accepts all. With `forward` it always holds, because the
    server announces the results. MidflightError if there is no such voter, or, without `forward`, if `needed` is not a
    majority and no epoch is given. Whether voters may forget is not checked: give an epoch if they may.

    If only one voter has received a result and then forgets it, the others cannot get it any more once a newer voting
    has reused its entry in the switch. So if voters may forget, `slots` has to exceed the number of votings in the
    meantime.
    """

    def __init__(
        self,
        quorum: Quorum,
        schema: Schema,
        server: Address,
        voter: int,
        *,
        epoch: int | None = None,
        peers: Sequence[Address] = (),
        first: int = 1,
        timing: Timing | None = None,
    ) -> None:
        if not 0 <= voter < quorum.voters:
            raise MidflightError(f"{quorum.name} has no voter {voter}, only 0 to {quorum.voters - 1}")
        if quorum.result == "multicast" and epoch is None and 2 * quorum.needed <= quorum.voters:
            raise MidflightError(
                f"{quorum.needed} of {quorum.voters} voters are not a majority and could decide twice",
                hint="pass the epoch of the switch's state that the voters rely on",
            )
        self.decided: dict[int, int] = {}
        self.statistics = VoterStatistics()
        self._quorum = quorum
        self._schema = schema
        self._server = server
        self._voter = voter
        self._epoch = None if quorum.result == "forward" else epoch
        self._others = [server] if quorum.result == "forward" else [*peers]
        self._votes = Reliable(window=quorum.slots, timing=timing, first=first)
        self._outgoing: list[tuple[Address, bytes]] = []

    @property
    def idle(self) -> bool:
        """Whether all votings that the voter has voted in are decided."""
        return self._votes.idle

    def vote(self, value: int) -> int:
        """Queue a vote for a value, 1 to 2**64 - 1, in the next voting, and return the voting's number.

        `poll` sends it, unless the result of the voting is known already. MidflightError if the value is out of range.
        """
        if not 0 < value < 2**64:
            raise MidflightError(f"{value} is not a valid vote", hint="values are bit[64], and not 0")
        number = self._votes.upcoming
        self._votes.submit(self._server, [self._message(REQUEST, number, value)])
        if number in self.decided:
            self._votes.cancel(number)
        return number

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Process a datagram from `source` at time `now` (nanoseconds): a result, or a peer's question for one.

        A result is stored in `decided`. A question is answered by `poll` if this voter knows the result. Datagrams that
        are malformed, from other addresses or of another epoch are counted in `statistics.refused`.
        """
        refused = self.statistics.refused
        message = decoded(self._schema, self._quorum.name, datagram, (RESULT, ASK), refused)
        if message is None:
            return
        if message.sequence == 0:
            refused.malformed += 1
            return
        if source not in self._others and (message.kind == ASK or source != self._server):
            refused.source += 1
            return
        number, status = self._votes.index_of(message.sequence), whole(message, "status")
        if message.kind == ASK:
            if number in self.decided:
                self._outgoing.append((source, self._message(RESULT, number, self.decided[number], Quorum.AGAIN)))
        elif status not in _DECIDED:
            self.statistics.crowded += status == Quorum.CROWDED
        elif self._epoch is not None and whole(message, "epoch") != self._epoch:
            refused.epoch += 1
        elif number not in self.decided:
            self.decided[number] = whole(message, "value")
            self.statistics.from_others += source in self._others
            if self._votes.acknowledge(message.sequence, now) is None:
                self._votes.cancel(number)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the datagrams to send now: votes, and questions and answers to peers.

        NoAnswerError if no voting is decided for the configured patience.
        """
        out, self._outgoing = self._outgoing, []
        out += self._votes.poll(now)
        for number, times in self._votes.overdue() if self._others else ():
            other = self._others[(self._voter + times) % len(self._others)]
            out.append((other, self._message(ASK, number, 0)))
        return out

    def next_deadline(self) -> int | None:
        """Return the time in nanoseconds of the next retransmission, when to `poll`; None if no vote is open."""
        return self._votes.next_deadline()

    def _message(self, kind: int, number: int, value: int, status: int = 0) -> bytes:
        fields = {"voter": self._voter, "status": status, "epoch": self._epoch or 0, "value": value}
        return self._schema.encode(Message(kind, self._quorum.name, serial(number), fields))


class QuorumServer:
    """The endpoint that the votes of a `Quorum` with `result="forward"` are addressed to (an `Endpoint`).

    It learns the results, keeps them in `decided` by number of the voting, and answers every later vote. If no switch
    is on the way, it counts the votes itself with the primitive's own kernel. voters: the addresses of the voters in
    the order of their numbers; if there are none, votes are accepted from any address. MidflightError if the `Quorum`
    does not use `forward`.
    """

    def __init__(self, quorum: Quorum, schema: Schema, *, voters: Sequence[Address] = ()) -> None:
        if quorum.result != "forward":
            raise MidflightError(
                f"{quorum.name} multicasts its results and has no server of its own",
                hint='pass result="forward" to it, or use a SoftwareServer if no switch computes',
            )
        self.decided: dict[int, int] = {}
        self.refused = Refused()
        self._voters = dict(enumerate(voters))
        self._quorum = quorum
        self._schema = schema
        self._counting = quorum.reference()
        self._latest = 1
        self._outgoing: list[tuple[Address, bytes]] = []

    def receive(self, source: Address, datagram: bytes, _now: int) -> None:
        """Process a vote that a switch has counted or that no switch has seen, or a voter's question for a result.

        `poll` returns the answer if the voting is decided. Anything else is counted in `refused`.
        """
        message = decoded(self._schema, self._quorum.name, datagram, (REQUEST, ASK), self.refused)
        if message is None:
            return
        if message.sequence == 0:
            self.refused.malformed += 1
            return
        if self._voters and self._voters.get(whole(message, "voter")) != source:
            self.refused.source += 1
            return
        number = unwrap(message.sequence, self._latest)
        result = message
        if message.kind == REQUEST and number not in self.decided and whole(message, "status") == 0:
            outcome = self._counting.process(message)
            if outcome.verdict == Verdict.REPLY:
                self._outgoing.append((source, self._schema.encode(replace(outcome.message, kind=RESULT))))
            result = outcome.message
        if message.kind == REQUEST and whole(result, "status") in _DECIDED:
            self.decided.setdefault(number, whole(result, "value"))
            self._latest = max(self._latest, number)
        if number in self.decided:
            status = Quorum.AGAIN if message.kind == ASK else whole(result, "status") or Quorum.AGAIN
            fields = {**result.fields, "status": status, "value": self.decided[number]}
            self._outgoing.append((source, self._schema.encode(replace(result, kind=RESULT, fields=fields))))

    def poll(self, _now: int) -> list[tuple[Address, bytes]]:
        """Return the answers to send now. Never raises, because the server waits for nothing."""
        out, self._outgoing = self._outgoing, []
        return out

    def next_deadline(self) -> int | None:
        """Return None: a server only answers, and so never has to be polled at a given time."""
        return None
