"""The hosts of `Quorum`: voters that repeat their votes until they know the result, and the server of `forward`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from midflight.errors import MidflightError
from midflight.primitives import Message, Quorum, Schema, Verdict
from midflight.primitives.wire import REQUEST, RESULT
from midflight.runtime.endpoint.messages import ASK, decoded, whole
from midflight.runtime.endpoint.reliable import Address, Reliable, Timing
from midflight.runtime.endpoint.serial import serial, unwrap

__all__ = ["QuorumServer", "Voter"]

_DECIDED = (Quorum.REACHED, Quorum.LATE, Quorum.AGAIN)


@dataclass(slots=True)
class VoterStatistics:
    """What a voter has seen so far."""

    told: int = 0  # results that a peer, or the server when asked, has told
    crowded: int = 0  # answers that a vote was not counted
    forgotten: int = 0  # results of a life of the switch's state that the voters do not rely on
    malformed: int = 0  # datagrams that are no results of the application


class Voter:
    """The endpoint of voter number `voter` of a `Quorum` (an `Endpoint`).

    `vote` casts the vote in the next voting, numbered from `first` on without end, and `poll` repeats it until the
    result is known; `decided` has all results that are, by number. A voting is only voted in when that `slots` before
    it is decided. server: the address that votes go to. peers: the other voters', who are asked for a result that the
    switch has lost, or whose place it has given to a newer voting; with `forward` the server is asked.

    A number has one result as long as two quorums have a voter in common and no voter votes otherwise the second time.
    Where `needed` is no majority, or a voter may forget how it has voted, that holds in one life of the switch's state
    only: the voters then rely on one `epoch`, and do not hear what is told in another. With `forward` it holds in any
    case, as it is the server that tells. Raises MidflightError where an epoch is needed and not given.

    A result that only one voter has heard, who then forgets it, is lost to the others once a newer voting has its place
    in the switch: where voters may forget, there are to be more `slots` than votings meanwhile.
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
            raise MidflightError(f"{quorum.name} has voters 0 to {quorum.voters - 1}, and no voter {voter}")
        if quorum.result == "multicast" and epoch is None and 2 * quorum.needed <= quorum.voters:
            raise MidflightError(
                f"{quorum.needed} of {quorum.voters} voters are no majority, and could decide twice",
                hint="tell the epoch of the switch's state that the voters rely on",
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
        """Vote for a value, bit[64] and not 0, in the next voting; return its number."""
        if not 0 < value < 2**64:
            raise MidflightError(f"nobody can vote for {value}", hint="values are bit[64], and not 0")
        number = self._votes.upcoming
        self._votes.submit(self._server, [self._message(REQUEST, number, value)])
        if number in self.decided:
            self._votes.cancel(number)
        return number

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Take a result, or a peer's question for one."""
        message = decoded(self._schema, self._quorum.name, datagram)
        if message is None or message.kind not in (RESULT, ASK) or message.sequence == 0:
            self.statistics.malformed += 1
            return
        number, status = self._votes.index_of(message.sequence), whole(message, "status")
        if message.kind == ASK:
            if source in self._others and number in self.decided:
                self._outgoing.append((source, self._message(RESULT, number, self.decided[number], Quorum.AGAIN)))
        elif status not in _DECIDED:
            self.statistics.crowded += status == Quorum.CROWDED
        elif self._epoch is not None and whole(message, "epoch") != self._epoch:
            self.statistics.forgotten += 1
        elif number not in self.decided:
            self.decided[number] = whole(message, "value")
            self.statistics.told += source in self._others
            if self._votes.acknowledge(message.sequence, now) is None:
                self._votes.cancel(number)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return what is to be sent now. Raises NoAnswerError where nothing is decided for the whole patience."""
        out, self._outgoing = self._outgoing, []
        out += self._votes.poll(now)
        for number, times in self._votes.overdue() if self._others else ():
            other = self._others[(self._voter + times) % len(self._others)]
            out.append((other, self._message(ASK, number, 0)))
        return out

    def next_deadline(self) -> int | None:
        """Return when to poll again though nothing has come in, or None."""
        return self._votes.next_deadline()

    def _message(self, kind: int, number: int, value: int, status: int = 0) -> bytes:
        fields = {"voter": self._voter, "status": status, "epoch": self._epoch or 0, "value": value}
        return self._schema.encode(Message(kind, self._quorum.name, serial(number), fields))


class QuorumServer:
    """The endpoint that the votes of a `Quorum` with `forward` are addressed to (an `Endpoint`).

    It learns what is decided, answers every later vote, and keeps what it has told: `decided`, by number. Where no
    switch is on the way it counts the votes itself, by the primitive's own kernel.
    """

    def __init__(self, quorum: Quorum, schema: Schema) -> None:
        if quorum.result != "forward":
            raise MidflightError(
                f"{quorum.name} tells its results to all by multicast, and has no server of its own",
                hint='make it result="forward", or take a SoftwareServer where no switch computes',
            )
        self.decided: dict[int, int] = {}
        self.malformed = 0
        self._quorum = quorum
        self._schema = schema
        self._counting = quorum.reference()
        self._latest = 1
        self._outgoing: list[tuple[Address, bytes]] = []

    def receive(self, source: Address, datagram: bytes, _now: int) -> None:
        """Take a vote that a switch has passed on, or nobody has seen yet; or a question for a result."""
        message = decoded(self._schema, self._quorum.name, datagram)
        if message is None or message.kind not in (REQUEST, ASK) or message.sequence == 0:
            self.malformed += 1
            return
        number = unwrap(message.sequence, self._latest)
        told = message
        if message.kind == REQUEST and number not in self.decided and whole(message, "status") == 0:
            outcome = self._counting.process(message)
            if outcome.verdict == Verdict.REPLY:
                self._outgoing.append((source, self._schema.encode(replace(outcome.message, kind=RESULT))))
            told = outcome.message
        if message.kind == REQUEST and whole(told, "status") in _DECIDED:
            self.decided.setdefault(number, whole(told, "value"))
            self._latest = max(self._latest, number)
        if number in self.decided:
            status = Quorum.AGAIN if message.kind == ASK else whole(told, "status") or Quorum.AGAIN
            fields = {**told.fields, "status": status, "value": self.decided[number]}
            self._outgoing.append((source, self._schema.encode(replace(told, kind=RESULT, fields=fields))))

    def poll(self, _now: int) -> list[tuple[Address, bytes]]:
        """Return what is to be sent now."""
        out, self._outgoing = self._outgoing, []
        return out

    def next_deadline(self) -> int | None:
        """Return None: a server only ever answers."""
        return None
