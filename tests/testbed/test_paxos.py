"""Consensus over a network with loss, duplication and reordering: all learn the same value for each instance."""

from __future__ import annotations

from random import Random

import pytest

from midflight.errors import MidflightError
from midflight.primitives import Acceptor, Program, Schema
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.endpoint import NoAnswerError, Timing
from midflight.runtime.endpoint.paxos import PaxosHost
from midflight.testbed import Star
from tests.testbed.coordination import TIMING, address, admit, listen, run

HOSTS = 3
NAMES = ("first", "second", "third")
PROGRAM = Program(*(Acceptor(name, number=number, instances=16) for number, name in enumerate(NAMES)))


def hosts(net: Star, *, seed: int = 0, timing: Timing = TIMING, epoch: int = 1) -> list[PaxosHost]:
    schema, server = Schema(PROGRAM.schema()), address(net, HOSTS, UDP_PORT)
    return [
        PaxosHost(schema, dict.fromkeys(NAMES, epoch), server, each, HOSTS, Random(f"{seed}/{each}"), timing)
        for each in range(HOSTS)
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("acceptors", [3, 2])
def test_all_learners_learn_one_proposed_value(seed: int, acceptors: int) -> None:
    with Star(HOSTS + 1, program=PROGRAM, loss=0.1, duplicate=0.1, reorder=0.2, seed=seed) as net:
        for name in NAMES[:acceptors]:  # a minority may be down
            admit(net, name, range(HOSTS))
        every = hosts(net, seed=seed)
        for number, each in enumerate(every):
            for instance in range(1, 13):
                each.propose(instance, 100 * instance + number)
            listen(net, number, each)
        run(net)
        assert every[0].chosen == every[1].chosen == every[2].chosen
        assert sorted(every[0].chosen) == list(range(1, 13))
        assert all(value // 100 == instance for instance, value in every[0].chosen.items())
        assert sum(each.statistics.outbid for each in every)


def test_a_chosen_value_remains_chosen_for_later_proposers() -> None:
    with Star(HOSTS + 1, program=PROGRAM) as net:
        for name in NAMES:
            admit(net, name, [0])
        first, second, _ = hosts(net)
        first.propose(1, 42)
        listen(net, 0, first)
        run(net)
        for name in NAMES:
            admit(net, name, [0, 1])
        second.propose(1, 13)
        listen(net, 1, second)
        run(net)
        assert first.chosen == second.chosen == {1: 42}


def test_acceptors_that_lost_their_state_do_not_vote() -> None:
    with Star(HOSTS + 1, program=PROGRAM) as net:
        for name in NAMES:
            admit(net, name, range(HOSTS))
        first, second, _ = hosts(net)
        first.propose(1, 42)
        listen(net, 0, first)
        run(net)
        net.kill("s1")
        net.revive("s1")
        for name in NAMES:
            admit(net, name, range(HOSTS), epoch=2)
        second.timing = Timing(initial=500_000, maximum=2_000_000, patience=20_000_000)
        second.propose(1, 13)
        listen(net, 1, second)
        with pytest.raises(NoAnswerError, match="no value was chosen in instance 1"):
            run(net)
        assert second.statistics.forgotten
        assert second.chosen == {}


def test_invalid_arguments_are_rejected() -> None:
    host = PaxosHost(Schema(PROGRAM.schema()), dict.fromkeys(NAMES, 1), ("10.0.0.9", 1), 0, 1, Random(1))
    host.propose(1, 5)
    with pytest.raises(MidflightError, match="has already proposed in instance 1"):
        host.propose(1, 6)
    for instance, value in ((0, 1), (1 << 32, 1), (2, -1), (2, 1 << 64)):
        with pytest.raises(MidflightError, match=f"{value} cannot be proposed in instance {instance}"):
            host.propose(instance, value)
    assert host.poll(0), "what was proposed before is sent"
    host.receive(("10.0.0.9", 1), b"nonsense", 0)
    assert host.statistics.refused.malformed == 1
    with pytest.raises(MidflightError, match="no host number 3 of 3"):
        PaxosHost(host.schema, host.acceptors, host.server, 3, 3, Random(1))
