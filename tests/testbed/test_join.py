"""`Net.join`: hosts take part in a program's applications, and run until their results have arrived."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from midflight.errors import MidflightError
from midflight.primitives import Barrier, Cache, GroupBy, Lock, Program, Quorum, Sequencer, Threshold
from midflight.runtime.endpoint.membership import Joined
from midflight.testbed import Star

PROGRAM = Program(
    Barrier("steps", parties=4),
    Quorum("commits", voters=4, needed=3),
    Quorum("elections", voters=4, needed=2, result="forward"),
    Lock("locks", locks=2, clients=5, depth=4),
    Cache("store", entries=4, lanes=2, rows=2, columns=64, keys=[7]),
    GroupBy("words", workers=5, lanes=2, cells=8, window=4),
    Sequencer("orders", clients=2),
)
STEPS = Program(Barrier("steps", parties=4), Threshold("pressure", above=900, clear=850))


def wait(net: Star, span: int) -> None:
    end = net.now + span
    net.run(lambda: net.now >= end)


def idle(endpoints: Joined) -> bool:
    return all(each.idle for each in endpoints)


def released(parties: Joined) -> bool:
    return not any(party.waiting() for party in parties)


@pytest.mark.parametrize(("offload", "ipv6"), [(True, True), (False, False)], ids=["on the switch", "at the server"])
def test_hosts_can_join_every_application(offload: bool, ipv6: bool) -> None:
    with Star(6, program=PROGRAM, loss=0.05, duplicate=0.05, reorder=0.05, offload=offload, ipv6=ipv6) as net:
        four = net.hosts[:4]

        parties = net.join("steps", four)
        for number in range(1, 4):
            for party in parties[:3]:
                party.arrive()
            wait(net, 3_000_000)
            assert all(party.waiting() for party in parties[:3])
            parties[3].arrive()
            net.run(lambda: not any(party.waiting() for party in parties))
            assert [party.released() for party in parties] == [number] * 4

        for name in ("commits", "elections"):
            voters = net.join(name, four)
            for voter, value in zip(voters, (5, 9, 5, 5), strict=True):
                voter.vote(value)
            net.run(partial(idle, voters))
            assert [voter.decided for voter in voters] == [{1: 5}] * 4
            net.leave(name)

        one, other = net.join("locks", four[:2])
        one.acquire(1)
        net.run(lambda: one.holds(1))
        other.acquire(1)
        one.release(1)
        net.run(lambda: other.holds(1) and one.idle(1))

        reader, writer = net.join("store", four[:2])
        writer.put(7, (1, 2))
        net.run(lambda: writer.outcome is not None)
        reader.get(7, 2)
        net.run(lambda: reader.outcome is not None)
        assert (reader.outcome.value, reader.outcome.cached) == ((1, 2), offload)
        net.leave("store")
        net.leave("locks")

        words = net.join("words", four)
        for worker in words:
            worker.put([(1, 10), (2, -1)])
        net.run(lambda: all(worker.idle for worker in words))
        words.server.flush()
        net.run(lambda: bool(words.server.idle))
        assert words.server.totals == {1: 40, 2: -4}
        net.leave("words")

        orders = net.join("orders", net.hosts[:3], clients=net.hosts[3:5])
        for number, replica in enumerate(orders):
            replica.execute = lambda ordered, number=number: b"%d: %s" % (number, ordered.body)
        for client in orders.clients:
            client.request(b"from %d" % client.client)
        net.run(lambda: all(client.idle for client in orders.clients))
        assert sorted(orders.clients[1].answers.values()) == [b"0: from 1", b"1: from 1", b"2: from 1"]
        assert orders[0].delivered == orders[1].delivered == orders[2].delivered
        assert len(orders[0].delivered) == 2


def test_joining_again_restarts_and_a_custom_endpoint_can_take_a_place() -> None:
    with Star(6, program=STEPS) as net:
        for _ in range(2):
            parties = net.join("steps", net.hosts[:4])
            assert [party.arrive() for party in parties] == [1] * 4
            net.run(partial(released, parties))
        again = replace(parties[0], _arrivals={})
        net.listen(net.hosts[0], again, 49152 + STEPS.applications["steps"].id)
        assert again.arrive() == 1  # this round is already complete
        net.run(lambda: not again.waiting())
        for party in (again, *parties[1:]):
            party.arrive()
        net.run(lambda: not any(party.waiting() for party in (again, *parties[1:])))
        assert net.state("steps").round.read()[0] == 2


def test_a_revived_switch_has_its_joined_applications() -> None:
    with Star(6, program=STEPS) as net:
        parties = net.join("steps", net.hosts[:4])
        for party in parties:
            party.arrive()
        net.kill("s1")
        net.after(1_000_000, net.revive, "s1")
        net.run(lambda: not any(party.waiting() for party in parties))
        assert len({party.epoch for party in parties}) == 1


def test_values_that_do_not_fit_are_rejected() -> None:
    with Star(6, program=STEPS) as net:
        for application, hosts, refusal in (
            ("steps", net.hosts[:3], "steps takes 4 hosts, not 3"),
            ("pressure", net.hosts[:1], r"hosts cannot join a Threshold\(\"pressure\"\)"),
            ("steps", net.hosts, "steps needs different hosts, and one more as its server"),
            ("steps", [net.hosts[0]] * 2, "steps needs different hosts"),
            ("nothing", net.hosts[:1], "the program has no application 'nothing'"),
        ):
            with pytest.raises(MidflightError, match=refusal):
                net.join(application, hosts)
        with pytest.raises(MidflightError, match="steps has no separate clients"):
            net.join("steps", net.hosts[:4], clients=net.hosts[4:5])
        parties = net.join("steps", net.hosts[:4])
        with pytest.raises(MidflightError, match="the simulated network has no more events"):
            net.run(lambda: parties[0].waiting())
