"""Switches compute only on requests of members, each with its own number and through its own port."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import numpy as np
import pytest

from midflight.primitives import Aggregate, Barrier, Lock, Message, Program, Schema
from midflight.primitives.wire import REQUEST, RESULT_FOR_ALL
from midflight.runtime.endpoint import Address
from midflight.runtime.endpoint.frames import UdpFlow, decode
from midflight.testbed import Star
from midflight.testbed.hierarchy import Hierarchy
from midflight.testbed.net import Net
from midflight.testbed.topology import Topology

NOT_ADMITTED, WRONG_TOKEN, NO_MEMBER = range(3)
LANES, SLOTS = 8, 8
Lies = Callable[[Message, Address], Iterable[tuple[Address, Message]]]


def refused(net: Net, reason: int, switch: str = "s1") -> int:
    return net.sessions[switch].read_counter("ingress.refused", reason).packets


def lying(net: Net, victim: str, liar: str, lies: Lies) -> None:
    """Make a host send forged messages, with given sources, before every request of another host."""
    hosts: dict[str, Any] = {each.name: each for each in net.hosts}
    schema, transmit, send = Schema(net.program.schema()), hosts[victim].transmit, hosts[liar].transmit

    def lie_first(frame: bytes) -> None:
        seen = decode(frame)
        message = schema.decode(seen.payload)
        source = str(hosts[victim].address), seen.source_port
        for (address, port), lie in lies(message, source) if message.kind == REQUEST else ():
            flow = UdpFlow(
                source_mac=hosts[liar].mac,
                destination_mac=0,
                source=IPv4Address(address),
                destination=IPv4Address(seen.destination),
                source_port=port,
                destination_port=seen.destination_port,
            )
            send(flow.encode(schema.encode(lie)))
        transmit(frame)

    hosts[victim].transmit = lie_first


def as_others(message: Message, source: Address) -> Iterable[tuple[Address, Message]]:
    """Yield contributions in the names of workers 1 and 2, from the host's own address and from theirs."""
    for worker in (1, 2):
        for address in (source[0], f"10.0.0.{worker + 1}"):
            fields = {**message.fields, "worker": worker, "values": [666] * LANES}
            yield (address, source[1]), replace(message, fields=fields)


def jump(message: Message, source: Address) -> Iterable[tuple[Address, Message]]:
    """Yield one packet for each slot, 16,000 jobs ahead, in the names of all workers, including the host's own."""
    for worker in range(3 if message.sequence == 1 else 0):
        for slot in range(2 * SLOTS):
            job = (int(message.fields["job"]) + 16_000) % 2**16  # type: ignore[arg-type]
            yield source, replace(message, fields={**message.fields, "worker": worker, "slot": slot, "job": job})


def results(message: Message, source: Address) -> Iterable[tuple[Address, Message]]:
    """Yield results as if from the switch above, which sends them for all members."""
    for address in (source[0], "10.0.0.6"):
        lie = replace(message, kind=RESULT_FOR_ALL, fields={**message.fields, "values": [666] * LANES})
        yield (address, source[1]), lie


def check(net: Net, workers: int = 3) -> None:
    with net.group("sums", net.hosts[:workers]) as group:
        for each in group.allreduce([np.full(300, worker + 1, np.int32) for worker in range(workers)]):
            assert set(each.tolist()) == {sum(range(1, workers + 1))}
        assert sum(each.reliable.retransmitted for each in group.statistics) == 0, "nothing was disturbed"


@pytest.fixture
def net() -> Iterable[Star]:
    with Star(hosts=6, program=Program(Aggregate("sums", workers=3, lanes=LANES, slots=SLOTS))) as made:
        yield made


@pytest.mark.parametrize("liar", ["h1", "h5", "h6"], ids=["a member", "another host", "the server"])
@pytest.mark.parametrize("lies", [as_others, results], ids=["contributions", "results"])
def test_hosts_cannot_contribute_in_the_name_of_others(net: Star, lies: Lies, liar: str) -> None:
    lying(net, "h1", liar, lies)
    check(net)
    assert refused(net, NO_MEMBER if liar == "h1" else NOT_ADMITTED)


@pytest.mark.parametrize("liar", ["h1", "h2", "h5"], ids=["itself", "a member", "another host"])
def test_a_jump_to_a_later_job_has_no_effect(net: Star, liar: str) -> None:
    lying(net, "h1", liar, jump)
    check(net)
    assert refused(net, NOT_ADMITTED if liar == "h5" else NO_MEMBER)


def test_requests_without_the_token_are_forwarded_and_counted(net: Star) -> None:
    lying(net, "h1", "h1", lambda message, source: [(source, replace(message, token=message.token ^ 1))])
    check(net)
    assert refused(net, WRONG_TOKEN)
    assert net.downlink(net.hosts[5]).packets == refused(net, WRONG_TOKEN)


def test_a_new_job_has_a_new_token_and_requests_with_the_old_one_are_forwarded(net: Star) -> None:
    tokens = []
    for hosts in (net.hosts[:3], net.hosts[1:4]):
        with net.group("sums", hosts) as group:
            tokens.append(net.controller.token("sums"))
            group.allreduce([np.ones(8, np.int32)] * 3)
    assert 0 not in tokens
    assert len({*tokens}) == 2
    assert net.controller.token("sums") == 0


def test_tokens_follow_from_the_seed_in_virtual_time() -> None:
    def drawn(seed: int) -> int:
        with Star(hosts=3, program=Program(Aggregate("sums", workers=2)), seed=seed) as net:
            net.group("sums", net.hosts[:2])
            return net.controller.token("sums")

    assert drawn(1) == drawn(1) != drawn(2)


@pytest.mark.parametrize("liar", ["h2", "h5"], ids=["a member", "the server"])
def test_in_a_tree_a_port_accepts_only_members_below_it(liar: str) -> None:
    links = [("h1", "a"), ("h2", "a"), ("h3", "b"), ("h4", "b"), ("a", "top"), ("b", "top"), ("h5", "top"), ("h6", "b")]
    program = Program(Aggregate("sums", workers=4, lanes=LANES, slots=SLOTS))
    with Hierarchy(Topology.of(links), program=program, workers=["h1", "h2", "h3", "h4"], server="h5") as net:

        def sums(message: Message, source: Address) -> Iterable[tuple[Address, Message]]:
            """Send what the switches would: b's sums by the port of a, a's by a port of the top, and results."""
            for number, address in ((5, "10.0.0.3"), (5, source[0]), (4, "10.0.0.1"), (4, "10.0.0.3")):
                if liar == "h5" or number == 5:
                    fields = {**message.fields, "worker": number, "values": [666] * LANES}
                    yield (address, source[1]), replace(message, fields=fields)
            for address in ("10.0.0.5", source[0]):
                lie = replace(message, kind=RESULT_FOR_ALL, fields={**message.fields, "values": [666] * LANES})
                yield (address, source[1]), lie

        lying(net, "h1", liar, sums)
        group = net.workers()
        for each in group.allreduce([np.full(300, worker + 1, np.int32) for worker in range(4)]):
            assert set(each.tolist()) == {10}
        if liar == "h2":
            assert refused(net, NO_MEMBER, "a")
            assert refused(net, NO_MEMBER, "top"), "in the name of b by the port of a"
        else:
            assert refused(net, NOT_ADMITTED, "top")


def test_a_party_cannot_arrive_for_another() -> None:
    def others(message: Message, source: Address) -> Iterable[tuple[Address, Message]]:
        for party in range(4):
            for address in (source[0], f"10.0.0.{party + 1}"):
                if (party, address) != (0, source[0]):
                    yield (address, source[1]), replace(message, fields={**message.fields, "party": party})

    with Star(hosts=6, program=Program(Barrier("steps", parties=4))) as net:
        parties = net.join("steps", net.hosts[:4])
        for liar in ("h1", "h5", "h6"):
            lying(net, "h1", liar, others)
        parties[0].arrive()
        net.after(2_000_000, lambda: None)
        end = net.now + 2_000_000
        net.run(lambda: net.now >= end)
        assert parties[0].waiting()
        assert refused(net, NO_MEMBER)
        for party in parties[1:]:
            party.arrive()
        net.run(lambda: not any(party.waiting() for party in parties))


def test_a_client_cannot_release_the_lock_of_another() -> None:
    def release(message: Message, source: Address) -> Iterable[tuple[Address, Message]]:
        for client in (0, 1):
            for address in (source[0], "10.0.0.1", "10.0.0.5"):
                fields = {**message.fields, "client": client, "wish": Lock.RELEASE, "epoch": 2}
                yield (address, source[1]), replace(message, sequence=2, fields=fields)

    with Star(hosts=5, program=Program(Lock("locks"))) as net:
        one, other = net.join("locks", net.hosts[:2])
        one.acquire(3)
        net.run(lambda: one.holds(3))
        lying(net, "h2", "h2", release)
        other.acquire(3)
        end = net.now + 2_000_000
        net.after(2_000_000, lambda: None)
        net.run(lambda: net.now >= end)
        assert (one.holds(3), other.holds(3)) == (True, False)
        assert refused(net, NO_MEMBER)
        one.release(3)
        net.run(lambda: other.holds(3))
