"""Votings over a network with loss, duplication and reordering: each has one result, which all voters learn."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Literal

import pytest

from midflight.errors import MidflightError
from midflight.primitives import Program, Quorum, Schema
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.endpoint import Address, NoAnswerError, Timing
from midflight.runtime.endpoint.software import SoftwareServer
from midflight.runtime.endpoint.voting import QuorumServer, Voter
from midflight.testbed import Star
from tests.testbed.coordination import TIMING, address, admit, leave, listen, run

VOTERS, NEEDED, VOTINGS = 5, 3, 12
VALUES = (7, 2**64 - 1)


@dataclass
class Referee:
    """Records the votes, and the results that voters have accepted."""

    votes: dict[tuple[int, int], set[int]] = field(default_factory=dict)
    results: dict[int, int] = field(default_factory=dict)

    def vote(self, number: int, voter: int, value: int) -> None:
        self.votes.setdefault((number, value), set()).add(voter)

    def see(self, decided: dict[int, int]) -> None:
        for number, value in decided.items():
            assert self.results.setdefault(number, value) == value, f"{number} has the results {self.results}, {value}"
            assert len(self.votes.get((number, value), ())) >= NEEDED, f"too few voted for {value} in {number}"


class Watched:
    """An `Endpoint`: a voter whose results a referee checks continuously."""

    def __init__(self, voter: Voter, number: int, referee: Referee, random: Random) -> None:
        self.voter, self.referee = voter, referee
        for _ in range(VOTINGS):
            value = random.choice(VALUES)
            referee.vote(voter.vote(value), number, value)

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        self.voter.receive(source, datagram, now)
        self.referee.see(self.voter.decided)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        return self.voter.poll(now)

    def next_deadline(self) -> int | None:
        return self.voter.next_deadline()


def votings(
    result: Literal["multicast", "forward"], *, needed: int = NEEDED, choices: int = 2, slots: int = 4
) -> Quorum:
    return Quorum("commits", voters=VOTERS, needed=needed, slots=slots, choices=choices, result=result)


def voter(
    net: Star, quorum: Quorum, number: int, *, epoch: int | None = None, timing: Timing = TIMING, peers: bool = True
) -> Voter:
    others = [address(net, each) for each in range(VOTERS) if each != number] if peers else []
    schema, server = Schema(net.program.schema()), address(net, VOTERS, UDP_PORT)
    return Voter(quorum, schema, server, number, epoch=epoch, peers=others, timing=timing)


@pytest.mark.parametrize("result", ["multicast", "forward"])
@pytest.mark.parametrize("faults", ["none", "voters", "switch", "no switch"])
def test_a_voting_has_one_result(result: Literal["multicast", "forward"], faults: str) -> None:
    # If a voter loses a vote that no other voter has heard of, the switch must still have it.
    quorum, reported = votings(result, slots=16 if faults == "voters" else 4), 0
    program, epochs = Program(quorum), count(2)
    with Star(VOTERS + 1, program=program, loss=0.1, duplicate=0.1, reorder=0.2) as net:
        everybody = [address(net, each) for each in range(VOTERS)]
        for seed in range(12):
            referee, random = Referee(), Random(seed)
            net.state("commits").clear()
            if faults != "no switch":
                admit(net, "commits", range(VOTERS))
            if result == "forward":
                listen(net, VOTERS, QuorumServer(quorum, Schema(program.schema())), UDP_PORT)
            elif faults == "no switch":
                server = SoftwareServer(program)
                server.serve("commits", everybody)
                listen(net, VOTERS, server, UDP_PORT)

            def begin(
                number: int, referee: Referee = referee, random: Random = random, forgets: bool = faults == "voters"
            ) -> Watched:
                one = Watched(voter(net, quorum, number, epoch=1 if forgets else None), number, referee, random)
                listen(net, number, one)
                return one

            every = [begin(number) for number in range(VOTERS)]

            def restart(number: int, every: list[Watched] = every) -> None:
                leave(net, number)
                every[number] = begin(number)

            def forget() -> None:
                net.state("commits").clear()
                admit(net, "commits", range(VOTERS), epoch=next(epochs))

            for _ in range(3):
                if faults == "voters":
                    net.after(random.randrange(1_000_000), restart, random.randrange(VOTERS))
                elif faults == "switch":
                    net.after(random.randrange(1_000_000), forget)
            run(net)
            assert all(each.voter.idle for each in every)
            assert all(each.voter.decided == referee.results for each in every)
            assert sorted(referee.results) == list(range(1, VOTINGS + 1))
            reported += sum(each.voter.statistics.from_others for each in every)
            leave(net, *range(VOTERS))
            leave(net, VOTERS, port=UDP_PORT)
        assert reported


@pytest.mark.parametrize("result", ["multicast", "forward"])
def test_a_minority_decides_once_after_a_loss_of_state(result: Literal["multicast", "forward"]) -> None:
    """Voters rely on one epoch of the switch's state, and a server on its own answers."""
    quorum = votings(result, needed=1)
    program = Program(quorum)
    with Star(VOTERS + 1, program=program) as net:
        if result == "forward":
            listen(net, VOTERS, QuorumServer(quorum, Schema(program.schema())), UDP_PORT)
        else:
            with pytest.raises(MidflightError, match="1 of 5 voters are not a majority"):
                voter(net, quorum, 0)
        first, second = (voter(net, quorum, number, epoch=1) for number in range(2))
        admit(net, "commits", [0])
        first.vote(7)
        listen(net, 0, first)
        run(net)
        net.state("commits").clear()
        admit(net, "commits", [0, 1], epoch=2)
        second.vote(9)
        listen(net, 1, second)
        run(net)
        assert first.decided == second.decided == {1: 7}
        assert (second.statistics.refused.epoch > 0) is (result == "multicast")


def test_too_many_values_are_reported_and_a_voting_without_a_quorum_fails() -> None:
    quorum = votings("multicast", choices=2)
    timing = Timing(initial=500_000, maximum=2_000_000, patience=20_000_000)
    with Star(VOTERS + 1, program=Program(quorum)) as net:
        admit(net, "commits", range(VOTERS))
        three = [voter(net, quorum, number, timing=timing) for number in range(3)]
        for number, each in enumerate(three):
            each.vote(number + 1)
            listen(net, number, each)
        with pytest.raises(NoAnswerError, match="no answer for"):
            run(net)
        assert [each.statistics.crowded > 0 for each in three].count(True) == 1
        assert not any(each.decided for each in three)


def test_a_voter_does_not_vote_in_a_decided_voting() -> None:
    quorum = votings("multicast", needed=3)
    with Star(VOTERS + 1, program=Program(quorum)) as net:
        admit(net, "commits", range(VOTERS))
        every = [voter(net, quorum, number) for number in range(VOTERS)]
        late = listen(net, 4, every[4])
        for number, each in enumerate(every[:3]):
            each.vote(7)
            listen(net, number, each)
        run(net)
        before = net.uplink(net.hosts[4]).packets
        assert (every[4].decided, every[4].vote(9)) == ({1: 7}, 1)
        late.pump()
        run(net)
        assert (every[4].idle, every[4].decided, net.uplink(net.hosts[4]).packets) == (True, {1: 7}, before)


def test_invalid_arguments_are_rejected() -> None:
    quorum = votings("multicast")
    schema, server = Schema(Program(quorum).schema()), ("10.0.0.9", UDP_PORT)
    with pytest.raises(MidflightError, match="no voter 5, only 0 to 4"):
        Voter(quorum, schema, server, 5)
    one = Voter(quorum, schema, server, 4)
    for value in (0, 2**64):
        with pytest.raises(MidflightError, match=f"{value} is not a valid vote"):
            one.vote(value)
    with pytest.raises(MidflightError, match="has no server of its own"):
        QuorumServer(quorum, schema)
    counting = QuorumServer(votings("forward"), schema)
    one.receive(server, b"nonsense", 0)
    counting.receive(server, b"nonsense", 0)
    assert (one.statistics.refused.malformed, counting.refused.malformed) == (1, 1)
