"""Hosts that join a program's applications, over real sockets."""

from __future__ import annotations

import pytest

from midflight.primitives import Barrier, Lock, Program, Sequencer
from midflight.testbed import Star
from tests.bmv2 import BMV2, ROOT

pytestmark = ROOT

PROGRAM = Program(Barrier("steps", parties=3), Lock("locks", locks=2, clients=3, depth=2), Sequencer("orders"))


def wait(net: Star, span: int) -> None:
    end = net.now + span
    net.run(lambda: net.now >= end)


@pytest.mark.parametrize("device", ["host", pytest.param("bmv2", marks=BMV2)])
def test_hosts_join_barrier_lock_and_sequencer(device: str) -> None:
    with Star(5, program=PROGRAM, fabric="netns", device=device, ipv6=device == "host", loss=0.02, seed=3) as net:
        parties = net.join("steps", net.hosts[:3])
        for number in (1, 2, 3):
            for party in parties[:2]:
                party.arrive()
            wait(net, 5_000_000)
            assert [party.waiting() for party in parties] == [True, True, False]
            parties[2].arrive()
            net.run(lambda: not any(party.waiting() for party in parties))
            assert {party.released() for party in parties} == {number}
        one, other = net.join("locks", net.hosts[:2])
        one.acquire(1)
        net.run(lambda: bool(one.holds(1)))
        other.acquire(1)
        one.release(1)
        net.run(lambda: bool(other.holds(1)))
        orders = net.join("orders", net.hosts[:3], clients=net.hosts[3:4])
        for body in (b"first", b"second"):
            orders.clients[0].request(body)
            net.run(lambda: bool(orders.clients[0].idle))
        assert [[each.body for each in replica.delivered] for replica in orders] == [[b"first", b"second"]] * 3
