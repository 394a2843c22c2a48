"""The simulated network: frames that other tools can read, the behaviour of links, and determinism."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from midflight.errors import MidflightError, WireError
from midflight.runtime.endpoint import Address
from midflight.runtime.endpoint.frames import UdpFlow, decode
from midflight.testbed.sim import Network
from midflight.testbed.sim.simulator import Simulator
from midflight.testbed.topology import Link, LinkQuality, Port, Topology, star
from tests.testbed.standin import StandIn
from tests.testbed.test_allreduce import Cluster, vectors


class Inbox:
    """An endpoint that sends given datagrams and records those that arrive, with their times."""

    def __init__(self) -> None:
        self.outgoing: list[tuple[Address, bytes]] = []
        self.incoming: list[tuple[int, Address, bytes]] = []

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        self.incoming.append((now, source, datagram))

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        outgoing, self.outgoing = self.outgoing, []
        return outgoing

    def next_deadline(self) -> int | None:
        return None


def send(count: int, quality: LinkQuality, seed: int = 0, size: int = 58) -> tuple[Network, Inbox]:
    """Send numbered datagrams (by default in frames of 100 bytes) from h1 to h2 at once."""
    network = Network(star(2, quality), {"s1": StandIn(0, 0, 0, offload=False)}, seed=seed)
    sender, inbox = Inbox(), Inbox()
    socket = network.hosts["h1"].listen(1000, sender)
    network.hosts["h2"].listen(2000, inbox)
    sender.outgoing = [(("10.0.0.2", 2000), number.to_bytes(size, "big")) for number in range(count)]
    socket.pump()
    assert not network.simulator.run()
    return network, inbox


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1))
def test_frames_equal_those_of_scapy(payload: bytes, source: int, destination: int, port: int) -> None:
    flow = UdpFlow(
        source_mac=0x020000000001, destination_mac=0x02000000FFFE, source_port=port, destination_port=19782,
        source=IPv4Address(source), destination=IPv4Address(destination),
    )  # fmt: skip
    expected = (
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:ff:fe")
        / IP(src=str(IPv4Address(source)), dst=str(IPv4Address(destination)), id=0, flags="DF", ttl=64)
        / UDP(sport=port, dport=19782)
        / payload
    )
    frame = flow.encode(payload)
    assert frame == bytes(expected)
    datagram = decode(frame + b"\0" * 7)  # Ethernet pads short frames
    assert (datagram.source, datagram.destination, datagram.source_port) == (source, destination, port)
    assert (datagram.destination_port, datagram.payload) == (19782, payload)


@given(st.binary(max_size=40), st.integers(12, 81), st.integers(0, 7))
def test_checksums_detect_every_flipped_bit(payload: bytes, position: int, bit: int) -> None:
    flow = UdpFlow(
        source_mac=1, destination_mac=2, source_port=1, destination_port=2,
        source=IPv4Address("10.0.0.1"), destination=IPv4Address("10.0.0.2"),
    )  # fmt: skip
    frame = bytearray(flow.encode(payload))
    frame[position % len(frame) if position % len(frame) >= 12 else 12] ^= 1 << bit
    with pytest.raises(WireError):
        decode(bytes(frame))


def ipv6_flow(source: int = 1, destination: int = 2, port: int = 1) -> UdpFlow:
    return UdpFlow(
        source_mac=0x020000000001, destination_mac=0x02000000FFFE, source_port=port, destination_port=19782,
        source=IPv6Address(source), destination=IPv6Address(destination),
    )  # fmt: skip


@given(st.binary(max_size=200), st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1), st.integers(0, 2**16 - 1))
def test_ipv6_frames_equal_those_of_scapy(payload: bytes, source: int, destination: int, port: int) -> None:
    expected = (
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:ff:fe")
        / IPv6(src=str(IPv6Address(source)), dst=str(IPv6Address(destination)), hlim=64)
        / UDP(sport=port, dport=19782)
        / payload
    )
    frame = ipv6_flow(source, destination, port).encode(payload)
    assert frame == bytes(expected)
    datagram = decode(frame + b"\0" * 7)
    assert (datagram.version, datagram.source, datagram.destination) == (6, source, destination)
    assert (datagram.source_port, datagram.destination_port, datagram.payload) == (port, 19782, payload)


@given(st.binary(max_size=40), st.integers(0, 200), st.integers(0, 7))
def test_checksums_detect_every_flipped_bit_that_ipv6_covers(payload: bytes, place: int, bit: int) -> None:
    frame = bytearray(ipv6_flow().encode(payload))
    frame[22 + place % (len(frame) - 22)] ^= 1 << bit
    with pytest.raises(WireError):
        decode(bytes(frame))


def test_over_ipv6_there_is_always_a_checksum() -> None:
    udp = [ipv6_flow().encode(low.to_bytes(2, "big"))[60:62] for low in range(1 << 16)]
    assert udp.count(b"\xff\xff") >= 1
    assert b"\0\0" not in udp
    frame = ipv6_flow().encode(b"data")
    with pytest.raises(WireError, match="checksum"):
        decode(frame[:60] + b"\0\0" + frame[62:])
    with pytest.raises(WireError, match="no packet goes from"):
        UdpFlow(
            source_mac=1, destination_mac=2, source_port=1, destination_port=2,
            source=IPv4Address("10.0.0.1"), destination=IPv6Address("::1"),
        )  # fmt: skip


def test_checksums_of_sums_with_all_bits_set() -> None:
    def flow(source: int) -> UdpFlow:
        return UdpFlow(
            source_mac=1, destination_mac=2, source_port=1, destination_port=2,
            source=IPv4Address(source), destination=IPv4Address("10.0.0.2"),
        )  # fmt: skip

    header = [flow(0x0A000000 + low).encode(b"")[24:26] for low in range(1 << 16)]
    assert header.count(b"\0\0") >= 1
    assert b"\xff\xff" not in header
    one = flow(0x0A000001)
    udp = [one.encode(low.to_bytes(2, "big"))[40:42] for low in range(1 << 16)]
    assert udp.count(b"\xff\xff") >= 1
    assert b"\0\0" not in udp, "0 means that there is no checksum"


def test_a_datagram_has_a_maximum_size() -> None:
    flow = UdpFlow(
        source_mac=1, destination_mac=2, source_port=1, destination_port=2,
        source=IPv4Address("10.0.0.1"), destination=IPv4Address("10.0.0.2"),
    )  # fmt: skip
    assert len(decode(flow.encode(bytes(65507))).payload) == 65507
    with pytest.raises(WireError, match="65508 bytes"):
        flow.encode(bytes(65508))


def test_hosts_count_and_drop_packets_for_others() -> None:
    network, inbox = send(1, LinkQuality())
    [(_, source, datagram)] = inbox.incoming
    assert (source, datagram) == (("10.0.0.1", 1000), bytes(58))
    host, flow = network.hosts["h2"], network.hosts["h1"].flow(1000, ("10.0.0.2", 2000))
    host.receive(0, flow.encode(b"x")[:-1])
    host.receive(0, b"")
    host.receive(0, network.hosts["h1"].flow(1000, ("10.0.0.2", 2001)).encode(b"x"))
    host.receive(0, network.hosts["h1"].flow(1000, ("10.0.0.3", 2000)).encode(b"x"))
    assert (host.malformed, host.unclaimed, len(inbox.incoming)) == (2, 2, 1)


def test_delay_and_rate_determine_arrival_times() -> None:
    # 100 bytes at 1 Gbit/s take 800 ns; two links of 1 us; the switch takes 1 us.
    _, inbox = send(3, LinkQuality(delay=1_000, rate=1_000_000_000))
    assert [time for time, *_ in inbox.incoming] == [4_600, 5_400, 6_200]
    _, inbox = send(3, LinkQuality(delay=1_000, rate=None))
    assert [time for time, *_ in inbox.incoming] == [3_000] * 3


def test_a_queue_overflow_is_counted() -> None:
    network, inbox = send(10, LinkQuality(rate=1_000_000_000, queue=500))
    statistics = network.channels["h1->s1"].statistics
    assert (statistics.packets, statistics.overflowed, len(inbox.incoming)) == (6, 4, 6)


def test_counters_are_per_direction_and_consistent() -> None:
    quality = LinkQuality(loss=0.2, duplicate=0.1, reorder=0.3)
    network, inbox = send(2000, quality)
    first, second = network.channels["h1->s1"].statistics, network.channels["s1->h2"].statistics
    assert (first.packets, first.bytes) == (2000, 200_000)
    assert 300 < first.lost < 500
    assert 100 < first.duplicated < 220
    assert 400 < first.reordered < 600
    assert first.delivered == first.packets - first.lost + first.duplicated == second.packets
    assert len(inbox.incoming) == second.delivered
    assert network.channels["s1->h1"].statistics.packets == network.channels["h2->s1"].statistics.packets == 0
    assert network.link("s1", "h2") == second
    assert network.totals().lost == first.lost + second.lost
    numbers = [int.from_bytes(datagram, "big") for *_, datagram in inbox.incoming]
    assert numbers != sorted(numbers)
    assert len(set(numbers)) < len(numbers)


def test_a_frame_to_nowhere_is_counted() -> None:
    network = Network(star(1), {"s1": StandIn(0, 0, 0, offload=False)})
    inbox = Inbox()
    inbox.outgoing = [(("10.0.0.77", 1), b"")]
    network.hosts["h1"].listen(1, inbox).pump()
    network.simulator.run()
    assert network.switches["s1"].unconnected == 1


def run(seed: int, loss: float = 0.1) -> str:
    cluster = Cluster(4, seed=seed, quality=LinkQuality(loss=loss, duplicate=0.05, reorder=0.1))
    cluster.submit(vectors(4, 500))
    cluster.finish()
    return cluster.network.simulator.trace_hash()


def test_the_same_seed_gives_the_same_run() -> None:
    assert run(7) == run(7)
    assert run(7) != run(8)
    assert run(7) != run(7, loss=0.11)


def test_random_faults_of_a_link_are_independent_of_other_links() -> None:
    alone = send(200, LinkQuality(loss=0.3))[0].channels["h1->s1"].statistics
    quality = LinkQuality(loss=0.3)
    topology = Topology(
        ("h1", "h2"), ("s1",), (Link(Port("h2"), Port("s1", 2)), Link(Port("h1"), Port("s1", 1), quality))
    )
    network = Network(topology, {"s1": StandIn(0, 0, 0, offload=False)})
    sender = Inbox()
    sender.outgoing = [(("10.0.0.2", 2000), bytes(58))] * 200
    network.hosts["h1"].listen(1000, sender).pump()
    network.simulator.run()
    assert network.channels["h1->s1"].statistics.lost == alone.lost


def test_simultaneous_events_run_in_order_of_scheduling() -> None:
    simulator, order = Simulator(), list[int]()
    for number in range(50):
        simulator.at(10 if number % 2 else 5, order.append, number)
    simulator.run()
    assert order == [*range(0, 50, 2), *range(1, 50, 2)]
    with pytest.raises(ValueError, match="scheduled at 10 ns"):
        simulator.at(9, order.append, 0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: LinkQuality(loss=1.5), "loss is a probability"),
        (lambda: LinkQuality(loss=1.0), "must not lose every frame"),
        (lambda: LinkQuality(rate=0), "positive rate"),
        (lambda: star(0), "not 0"),
        (lambda: Topology(("a", "a"), (), ()), "same name"),
        (lambda: Topology(("a",), (), (Link(Port("a"), Port("b")),)), "not a node"),
        (lambda: Topology(("a", "b"), (), (Link(Port("a"), Port("b")), Link(Port("a"), Port("b", 1)))), "two links"),
        (lambda: Network(star(1), {}), "there is no processor for s1"),
    ],
)
def test_invalid_networks_are_rejected(wrong: object, words: str) -> None:
    assert callable(wrong)
    with pytest.raises(MidflightError, match=words):
        wrong()


def test_streams_depend_on_seed_and_name_alone() -> None:
    def draws(seed: int, name: str) -> list[float]:
        stream = Simulator(seed).random(name)
        return [stream.random() for _ in range(4)]

    assert draws(1, "x") == draws(1, "x")
    assert draws(1, "x") != draws(2, "x")
    assert draws(1, "x") != draws(1, "y")
    assert np.mean(draws(1, "x") + draws(2, "x")) < 1
