"""Paxos on a host: it proposes values to `Acceptor`s on switches and learns what a majority of them has accepted."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from midflight.errors import MidflightError, WireError
from midflight.primitives import Acceptor, Message, Schema
from midflight.primitives.wire import REQUEST, RESULT
from midflight.runtime.endpoint.messages import Refused
from midflight.runtime.endpoint.reliable import Address, NoAnswerError, Timing

__all__ = ["PaxosHost"]


@dataclass(slots=True)
class PaxosStatistics:
    """Counters of a `PaxosHost`: `ballots` that it started, answers of acceptors that refuse, and refused datagrams.

    The answers in `outbid` refuse a ballot because a larger one was promised. Those in `forgotten` come from acceptors
    that have overwritten the instance or lost their state.
    """

    ballots: int = 0  # ballots started by this host
    outbid: int = 0  # answers that refuse a ballot because a larger one was promised
    forgotten: int = 0  # answers of acceptors that have overwritten the instance or lost their state
    refused: Refused = field(default_factory=Refused)


@dataclass(slots=True)
class _Proposal:
    """An instance in which this host proposes a value."""

    value: int
    since: int | None = None
    ballot: int = 0
    accepting: bool = False
    """Whether the ballot is in phase 2."""
    promises: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By acceptor, the ballot and value that it had accepted before."""
    largest: int = 0
    """The largest ballot that any host is known to have started."""
    deadline: int = 0
    timeout: int = 0
    repeats: int = 0


@dataclass(slots=True)
class PaxosHost:
    """The endpoint of a proposer and learner, number `number` of `hosts` (an `Endpoint`).

    schema: the wire schema of the program.
    acceptors: the applications that are an `Acceptor`, each with the 16-bit epoch of its state that the hosts rely on.
        The epoch is part of the membership: an acceptor in another epoch has no vote.
    server: the address that messages to the acceptors are sent to, and that their answers come from.
    random: for the pause after a refusal, so that competing hosts do not refuse each other indefinitely.

    `chosen` holds the learned values, by instance (1 to 2**32 - 1).

    A value is chosen when a majority of the acceptors has accepted it in one ballot. Messages are retransmitted until
    then. MidflightError if `number` is not 0 to `hosts` - 1.
    """

    schema: Schema
    acceptors: Mapping[str, int]
    server: Address
    number: int
    hosts: int
    random: Random
    timing: Timing = field(default_factory=Timing)
    chosen: dict[int, int] = field(default_factory=dict)
    statistics: PaxosStatistics = field(default_factory=PaxosStatistics)
    _proposals: dict[int, _Proposal] = field(default_factory=dict)
    _votes: dict[tuple[int, int], set[str]] = field(default_factory=dict)
    """By instance and ballot, the acceptors that have accepted."""

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.hosts:
            raise MidflightError(f"there is no host number {self.number} of {self.hosts}")

    def propose(self, instance: int, value: int) -> None:
        """Propose a value, bit[64], for an instance, 1 to 2**32 - 1. The value that is chosen may be another host's.

        `poll` sends the messages; the outcome appears in `chosen`. MidflightError if a number is out of its range, or
        if this host has already proposed in the instance or knows the chosen value.
        """
        if not (0 < instance < 1 << 32 and 0 <= value < 1 << 64):
            hint = "values are bit[64], and instances 1 to 2**32 - 1"
            raise MidflightError(f"{value} cannot be proposed in instance {instance}", hint=hint)
        if instance in self._proposals or instance in self.chosen:
            raise MidflightError(f"this host has already proposed in instance {instance} or knows its chosen value")
        self._proposals[instance] = _Proposal(value)

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Process a datagram: the answer of an acceptor, to this host or to all.

        Other datagrams, and answers of another epoch, are ignored and counted in `statistics.refused`; answers of an
        acceptor that has forgotten the instance are counted in `statistics.forgotten`.
        """
        try:
            message = self.schema.decode(datagram)
        except WireError:
            self.statistics.refused.malformed += 1
            return
        epoch = self.acceptors.get(message.application)
        if epoch is None or message.kind != RESULT:
            self.statistics.refused.malformed += 1
            return
        if message.token != self.schema.token(message.application):
            self.statistics.refused.token += 1
            return
        if source != self.server:
            self.statistics.refused.source += 1
            return
        answer = {name: operator.index(value) for name, value in message.fields.items()}  # type: ignore[arg-type]
        if answer["phase"] == Acceptor.FORGOTTEN:
            self.statistics.forgotten += 1
        elif answer["epoch"] != epoch:
            self.statistics.refused.epoch += 1
        elif answer["phase"] == Acceptor.ACCEPTED:
            self._accepted(message.application, message.sequence, answer["ballot"], answer["value"])
        elif message.sequence in self._proposals:
            self._answer(message.application, self._proposals[message.sequence], answer, now)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the datagrams to send now: messages of new ballots, and retransmissions.

        NoAnswerError if no value is chosen in an instance within the configured patience after its first `poll`.
        """
        out: list[tuple[Address, bytes]] = []
        for instance, proposal in self._proposals.items():
            if proposal.since is None:
                proposal.since = proposal.deadline = now
            elif now - proposal.since >= self.timing.patience:
                raise NoAnswerError(
                    f"no value was chosen in instance {instance} within {self.timing.patience / 1e9:g} s",
                    hint="check that a majority of the acceptors is reachable and in the epochs of the membership",
                )
            if now >= proposal.deadline:
                out += self._send(instance, proposal, now)
        return out

    def next_deadline(self) -> int | None:
        """Return the time in nanoseconds of the next message, when to `poll`; None if this host proposes nothing."""
        return min((each.deadline for each in self._proposals.values()), default=None)

    @property
    def _majority(self) -> int:
        return len(self.acceptors) // 2 + 1

    def _send(self, instance: int, proposal: _Proposal, now: int) -> list[tuple[Address, bytes]]:
        """Start a ballot, or retransmit its messages.

        After several retransmissions without success the next ballot starts.
        """
        if proposal.ballot <= proposal.largest or proposal.repeats > self.timing.timeouts_before_asking:
            above = max(proposal.ballot, proposal.largest)
            proposal.ballot = (above // self.hosts + 1) * self.hosts + self.number
            proposal.accepting, proposal.promises, proposal.repeats = False, {}, 0
            proposal.timeout = proposal.timeout or self.timing.initial
            self.statistics.ballots += 1
        elif proposal.repeats:
            proposal.timeout = min(2 * proposal.timeout, self.timing.maximum)
        proposal.repeats += 1
        proposal.deadline = now + proposal.timeout
        phase, value = (Acceptor.ACCEPT, self._value(proposal)) if proposal.accepting else (Acceptor.PREPARE, 0)
        fields: dict[str, Any] = {"phase": phase, "acceptor": 0, "ballot": proposal.ballot, "voted": 0, "value": value}
        return [
            (self.server, self.schema.encode(Message(REQUEST, name, instance, {**fields, "epoch": epoch})))
            for name, epoch in self.acceptors.items()
            if proposal.accepting or name not in proposal.promises
        ]

    def _value(self, proposal: _Proposal) -> int:
        """Return the value to propose: the one accepted in the largest ballot, if there is any, or this host's own."""
        voted, value = max(proposal.promises.values())
        return value if voted else proposal.value

    def _answer(self, acceptor: str, proposal: _Proposal, answer: Mapping[str, int], now: int) -> None:
        if answer["phase"] == Acceptor.REFUSED and answer["ballot"] > max(proposal.ballot, proposal.largest):
            self.statistics.outbid += 1
            proposal.largest = answer["ballot"]
            proposal.deadline = now + self.random.randrange(1, 2 * self.timing.initial)
        elif answer["phase"] == Acceptor.PROMISE and answer["ballot"] == proposal.ballot and not proposal.accepting:
            proposal.promises[acceptor] = answer["voted"], answer["value"]
            if len(proposal.promises) >= self._majority and proposal.ballot > proposal.largest:
                proposal.accepting, proposal.repeats, proposal.deadline = True, 0, now

    def _accepted(self, acceptor: str, instance: int, ballot: int, value: int) -> None:
        votes = self._votes.setdefault((instance, ballot), set())
        votes.add(acceptor)
        if len(votes) >= self._majority and instance not in self.chosen:
            self.chosen[instance] = value
            self._proposals.pop(instance, None)
