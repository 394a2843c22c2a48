"""Barriers over a network with loss, duplication and reordering: no party leaves a round before all have arrived."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from random import Random

import pytest

from midflight.errors import MidflightError
from midflight.primitives import Barrier, Program, Schema
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.endpoint import Address, NoAnswerError, Timing
from midflight.runtime.endpoint.barrier import BarrierParty
from midflight.runtime.endpoint.software import SoftwareServer
from midflight.testbed import LinkQuality, Star
from tests.testbed.coordination import TIMING, address, admit, leave, listen, run

PARTIES = 4
BARRIERS = 2
PROGRAM = Program(Barrier("steps", parties=PARTIES, barriers=BARRIERS))


@dataclass
class Referee:
    """Records the last round of each barrier in which each party has arrived."""

    arrived: dict[int, Counter[int]] = field(default_factory=dict)
    left: int = 0

    def arrive(self, barrier: int, party: int, number: int) -> None:
        latest = self.arrived.setdefault(barrier, Counter())
        latest[party] = max(latest[party], number)

    def leave(self, barrier: int, party: int, number: int) -> None:
        missing = [each for each in range(PARTIES) if self.arrived[barrier][each] < number]
        assert not missing, f"{party} leaves round {number} of {barrier} before {missing} arrived"
        self.left += 1


class Worker:
    """An `Endpoint` that alternately works and waits for the others, round after round, at two barriers in turn."""

    def __init__(self, party: BarrierParty, referee: Referee, random: Random, rounds: int) -> None:
        self.party, self.referee, self.random, self.rounds = party, referee, random, rounds
        self.barrier = self.alarm = 0
        self.waits = False

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        self.party.receive(source, datagram, now)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        if self.waits and not self.party.waiting(self.barrier):
            self.referee.leave(self.barrier, self.party.party, self.party.released(self.barrier))
            self.waits, self.barrier = False, (self.barrier + 1) % BARRIERS
            self.alarm = now + self.random.choice((0, self.random.randrange(100_000)))
        if not self.waits and not self.done and now >= self.alarm:
            self.referee.arrive(self.barrier, self.party.party, self.party.arrive(self.barrier))
            self.waits = True
        return self.party.poll(now)

    def next_deadline(self) -> int | None:
        waits = [] if self.waits or self.done else [self.alarm]
        deadline = self.party.next_deadline()
        return min([*waits, *([] if deadline is None else [deadline])], default=None)

    @property
    def done(self) -> bool:
        return not self.waits and self.party.released(self.barrier) >= self.rounds


def party(net: Star, number: int, *, peers: bool = True, timing: Timing = TIMING) -> BarrierParty:
    others = [address(net, each) for each in range(PARTIES) if each != number] if peers else []
    return BarrierParty(Schema(PROGRAM.schema()), "steps", number, address(net, PARTIES, UDP_PORT), others, timing)


def worker(net: Star, number: int, referee: Referee, *, seed: int, rounds: int) -> Worker:
    made = Worker(party(net, number), referee, Random(f"{seed}/{number}/{net.now}"), rounds)
    listen(net, number, made)
    return made


@pytest.mark.parametrize("faults", ["none", "parties", "switch", "server"])
def test_no_party_leaves_a_round_before_all_have_arrived(faults: str) -> None:
    rounds, reported = 8, 0
    with Star(PARTIES + 1, program=PROGRAM, loss=0.1, duplicate=0.1, reorder=0.2) as net:
        epochs = count(2)
        for seed in range(15):
            referee, random = Referee(), Random(seed)
            net.state("steps").clear()
            if faults == "server":
                server = SoftwareServer(PROGRAM)
                server.serve("steps", [address(net, each) for each in range(PARTIES)])
                listen(net, PARTIES, server, UDP_PORT)
            else:
                admit(net, "steps", range(PARTIES))
            workers = [worker(net, each, referee, seed=seed, rounds=rounds) for each in range(PARTIES)]

            def restart(number: int, workers: list[Worker] = workers, seed: int = seed) -> None:
                leave(net, number)
                workers[number] = worker(net, number, workers[number].referee, seed=seed, rounds=rounds)

            def forget() -> None:
                net.state("steps").clear()
                admit(net, "steps", range(PARTIES), epoch=next(epochs))

            for _ in range(3):
                if faults == "parties":
                    net.after(random.randrange(3_000_000), restart, random.randrange(PARTIES))
                elif faults == "switch":
                    net.after(random.randrange(3_000_000), forget)
            run(net)
            assert all(each.done for each in workers)
            assert all(each.party.released(barrier) == rounds for each in workers for barrier in range(BARRIERS))
            assert referee.left >= rounds * PARTIES * BARRIERS
            reported += sum(each.party.from_peers for each in workers)
            leave(net, *range(PARTIES))
            leave(net, PARTIES, port=UDP_PORT)
        assert (next(epochs) == 2) is (faults != "switch")
        assert reported


@pytest.mark.parametrize("peers", [True, False])
def test_a_peer_provides_the_last_release_after_the_switch_lost_its_state(peers: bool) -> None:
    timing = Timing(initial=500_000, maximum=2_000_000, patience=50_000_000)
    with Star(PARTIES + 1, program=PROGRAM) as net:
        admit(net, "steps", range(PARTIES - 1))  # the last party does not get the multicast
        every = [party(net, each, peers=peers, timing=timing) for each in range(PARTIES)]
        for each in every:
            each.arrive()
            listen(net, each.party, each)
        run(net, until=100_000)
        assert [each.waiting() for each in every] == [False, False, False, True]
        admit(net, "steps", range(PARTIES), epoch=2)
        net.state("steps").clear()
        if peers:
            run(net)
            assert (every[3].waiting(), every[3].released(), every[3].from_peers) == (False, 1, 1)
        else:
            with pytest.raises(NoAnswerError, match="no answer for"):
                run(net)


def test_all_parties_may_restart_in_a_newer_round() -> None:
    with Star(PARTIES + 1, program=PROGRAM, quality=LinkQuality(duplicate=0.5)) as net:
        admit(net, "steps", range(PARTIES))
        for first in (1, 2):
            every = [party(net, each) for each in range(PARTIES)]
            for each in every:
                each.begin(first)
                assert each.arrive() == first
            sockets = [listen(net, each.party, each) for each in every[: PARTIES - 1]]
            run(net, until=net.now + 300_000)
            assert all(each.waiting() for each in every)
            sockets.append(listen(net, PARTIES - 1, every[-1]))
            run(net)
            assert [each.released() for each in every] == [first] * PARTIES
            leave(net, *range(PARTIES))


def test_invalid_arguments_are_rejected() -> None:
    alone = BarrierParty(Schema(PROGRAM.schema()), "steps", 1, ("10.0.0.9", UDP_PORT))
    assert (alone.arrive(1), alone.waiting(1), alone.waiting(0), alone.released(1)) == (1, True, False, 0)
    with pytest.raises(MidflightError, match="party 1 is already waiting at barrier 1"):
        alone.arrive(1)
    with pytest.raises(MidflightError, match="party 1 cannot begin round 7 of barrier 1 now"):
        alone.begin(7, 1)
    alone.receive(("10.0.0.9", 1), b"nonsense", 0)
    assert alone.refused.malformed == 1
