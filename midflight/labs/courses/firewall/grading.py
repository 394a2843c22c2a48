"""Tests of the lab "Bloom-filter firewall". The oracle remembers connections exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from midflight.labs.bench import Bench, GradedTest, Incorrect, Packet, compare, require
from midflight.labs.draw import draw_bytes, draw_mac, packet_order
from midflight.labs.packets import ETHERNET, IP_LAYOUT, IPV4, TCP, UDP, join, sealed

__all__ = ["TESTS"]

NAME = "firewall.p4"
SYN, ACK = 0x02, 0x10
INSIDE, OUTSIDE, NOWHERE = (1, 2), (3, 4), (5, 6)
COMMANDS = [
    "table_add ingress.routes ingress.send 10.0.0.0/8 => 1",
    "table_add ingress.routes ingress.send 0.0.0.0/0 => 3",
    *(f"table_add ingress.zones ingress.inside {port} =>" for port in INSIDE),
    *(f"table_add ingress.zones ingress.outside {port} =>" for port in OUTSIDE),
]


@dataclass(frozen=True)
class Connection:
    """A connection: address and port of the host inside and of the host outside, as numbers, and the IP protocol."""

    inner: int
    inner_port: int
    outer: int
    outer_port: int
    protocol: int

    def packet(self, random: Random, *, outgoing: bool, tcp: int = SYN, **ip: int) -> bytes:
        """Return a packet of the connection: from inside if `outgoing`, otherwise from outside.

        `tcp` are the flags of a TCP header, to which PSH may be added. `ip` are other fields of the IPv4 header, by
        name.
        """
        ends = [(self.inner, self.inner_port), (self.outer, self.outer_port)]
        (src, sport), (dst, dport) = ends if outgoing else ends[::-1]
        rest = draw_bytes(random)
        ports = {"sport": sport, "dport": dport}
        if self.protocol == 6:
            ports.update(offset=5, flags=tcp | random.choice([0, 8]), seq=random.getrandbits(32))
            inner = TCP.pack(ports)
        elif self.protocol == 17:
            inner = UDP.pack({**ports, "length": UDP.size + len(rest)})
        else:
            inner = random.randbytes(8)
        values = {
            "version": 4, "ihl": 5, "ttl": 60, "id": random.getrandbits(16), "src": src, "dst": dst,
            "protocol": self.protocol, "length": IPV4.size + len(inner) + len(rest), **ip,
        }  # fmt: skip
        outer = {"dst": draw_mac(random), "src": draw_mac(random), "type": 0x0800}
        return join([(ETHERNET, outer), (IPV4, sealed(values))], inner + rest)


def draw_connection(random: Random, protocol: int | None = None) -> Connection:
    """Return a random connection between a host of 10.0.0.0/8 and one of 20.0.0.0/6; without a protocol, it is TCP or
    UDP.
    """
    ports = random.sample(range(1, 1 << 16), 2)
    chosen = random.choice([6, 17]) if protocol is None else protocol
    return Connection(10 << 24 | random.getrandbits(24), ports[0], 20 << 24 | random.getrandbits(26), ports[1], chosen)


class Trace:
    """Packets in order, each with what must leave because of it and a note for the student."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.sent: list[Packet] = []
        self.wanted: list[list[Packet]] = []
        self.notes: list[str] = []

    def out(self, data: bytes, note: str = "", *, passes: bool = True, port: int | None = None) -> None:
        """Add a packet from inside, which must leave by port 3 if it `passes`. It arrives by `port`; None is one of
        those inside.
        """
        self._add(data, self.random.choice(INSIDE) if port is None else port, 3 if passes else None, note)

    def back(self, data: bytes, note: str, *, passes: bool, port: int | None = None) -> None:
        """Add a packet from outside, which must leave by port 1 if it `passes`. It arrives by `port`; None is one of
        those outside.
        """
        self._add(data, self.random.choice(OUTSIDE) if port is None else port, 1 if passes else None, note)

    def _add(self, data: bytes, port: int, to: int | None, note: str) -> None:
        self.sent.append((port, data))
        self.wanted.append([] if to is None else [(to, data)])
        self.notes.append(note)

    def check(self, bench: Bench) -> None:
        """Send the packets to a new switch. Incorrect if what leaves differs from what must leave."""
        got = bench.switch(NAME, *COMMANDS).send(self.sent).by_source(len(self.sent))
        compare(IP_LAYOUT, self.sent, self.wanted, got, self.notes)


def outgoing(bench: Bench) -> None:
    """Test that packets from inside pass, with any TCP flags. Incorrect otherwise."""
    trace = Trace(bench.random)
    for _ in range(30):
        flags = bench.random.choice([SYN, ACK, SYN | ACK, 1 | ACK])
        trace.out(draw_connection(bench.random).packet(bench.random, outgoing=True, tcp=flags), "from inside")
    trace.check(bench)


def answers(bench: Bench) -> None:
    """Test that answers to connections from inside pass, in any order. Incorrect otherwise."""
    random, trace = bench.random, Trace(bench.random)
    connections = [draw_connection(random) for _ in range(30)]
    for each in connections:
        trace.out(each.packet(random, outgoing=True))
    for each in random.sample(connections, 30):
        trace.back(each.packet(random, outgoing=False, tcp=SYN | ACK), "an answer", passes=True)
    trace.check(bench)


def play_strangers(bench: Bench, most: int, kinds: dict[str, int]) -> None:
    """Open connections, then send packets from outside that belong to none of them.

    `kinds` are the numbers of packets by what differs from a connection, such as "other port inside". Incorrect if more
    than `most` of a kind pass, or if a packet of a connection is dropped.
    """
    random = bench.random
    opened = [draw_connection(random) for _ in range(25)]
    switch = bench.switch(NAME, *COMMANDS)
    begin = [(random.choice(INSIDE), each.packet(random, outgoing=True)) for each in opened]
    answers = [(random.choice(OUTSIDE), each.packet(random, outgoing=False, tcp=ACK)) for each in opened]
    got = switch.send(begin + answers).by_source(50)
    require(all(got), "packets from inside, or answers to them, are dropped")
    for kind, count in kinds.items():
        sent = []
        for _ in range(count):
            each = random.choice(opened)
            match kind:
                case "other protocol":
                    each = replace(each, protocol=23 - each.protocol)
                case "other port outside":
                    each = replace(each, outer_port=each.outer_port ^ 1 << random.randrange(16))
                case "other port inside":
                    each = replace(each, inner_port=each.inner_port ^ 1 << random.randrange(16))
                case "other address outside":
                    each = replace(each, outer=each.outer ^ 1 << random.randrange(26))
                case "other address inside":
                    each = replace(each, inner=each.inner ^ 1 << random.randrange(24))
                case _:
                    each = draw_connection(random)
            sent.append((random.choice(OUTSIDE), each.packet(random, outgoing=False, tcp=random.choice([SYN, ACK]))))
        if kind == "comes twice":
            sent += sent
        passed = [number for number, left in enumerate(switch.send(sent).by_source(len(sent))) if left]
        if len(passed) > most:
            first = IP_LAYOUT.brief(sent[passed[0]][1])
            raise Incorrect(f"{kind}: {len(passed)} of {len(sent)} strangers get in, the first is {first}")


def strangers(bench: Bench) -> None:
    """Test that packets of unknown connections are dropped, also when they are repeated. Incorrect as by
    `play_strangers`.
    """
    play_strangers(bench, 1, {"unknown connection": 60, "comes twice": 30})


def near(bench: Bench) -> None:
    """Test that packets are dropped that differ in one field from a connection. Incorrect as by `play_strangers`."""
    fields = ("protocol", "port outside", "port inside", "address outside", "address inside")
    kinds = [f"other {each}" for each in fields]
    play_strangers(bench, 1, dict.fromkeys(kinds, 25))


def syn(bench: Bench) -> None:
    """Test that only a TCP packet with SYN and without ACK opens a connection. Incorrect otherwise."""
    random, trace = bench.random, Trace(bench.random)
    for kind, flags in [("no SYN", ACK), ("SYN and ACK", SYN | ACK), ("no SYN", 1 | ACK), ("no SYN", 0), ("", SYN)] * 3:
        each = draw_connection(random, 6)
        trace.out(each.packet(random, outgoing=True, tcp=flags), kind)
        note = f"the packet from inside has {kind}" if kind else "an answer"
        trace.back(each.packet(random, outgoing=False, tcp=SYN | ACK), note, passes=not kind)
    trace.check(bench)


def unwanted(bench: Bench) -> None:
    """Test that other protocols, fragments, ports without a zone, and packets that are not IPv4 are dropped. Incorrect
    otherwise.
    """
    random, trace = bench.random, Trace(bench.random)
    for kind in packet_order(random, {"": 8, "other": 6, "fragment": 8, "no zone": 6, "not IPv4": 3}):
        each = draw_connection(random, 1 if kind == "other" else 17 if kind == "fragment" else None)
        changed = random.choice([{"flags": 1}, {"fragment": 5}]) if kind == "fragment" else {}
        data = each.packet(random, outgoing=True, **changed)
        if kind == "not IPv4":
            data = data[:12] + b"\x86\xdd" + data[14:]
        trace.out(data, kind, passes=not kind, port=random.choice(NOWHERE) if kind == "no zone" else None)
    trace.check(bench)


def full(bench: Bench) -> None:
    """Test a filter with 1500 connections. Incorrect if an answer is dropped, or if 60 of 600 strangers or more
    get in.
    """
    random = bench.random
    switch = bench.switch(NAME, *COMMANDS)
    opened = [draw_connection(random) for _ in range(1500)]
    switch.send([(1, each.packet(random, outgoing=True)) for each in opened])
    answers = [(3, each.packet(random, outgoing=False, tcp=ACK)) for each in random.sample(opened, 300)]
    stopped = sum(not each for each in switch.send(answers).by_source(300))
    require(stopped == 0, f"with 1500 connections, an answer to a connection is dropped ({stopped} of 300)")
    foreign = [(3, draw_connection(random).packet(random, outgoing=False, tcp=ACK)) for _ in range(600)]
    passed = sum(bool(each) for each in switch.send(foreign).by_source(600))
    require(passed < 60, f"with 1500 connections, {passed} of 600 strangers get in")


TESTS = [
    GradedTest("outgoing", 10, "Packets from inside pass", outgoing),
    GradedTest("answers", 20, "Answers pass", answers),
    GradedTest("strangers", 15, "What nobody asked for is dropped", strangers),
    GradedTest("near", 15, "A connection is all five fields", near),
    GradedTest("syn", 10, "Only SYN opens a TCP connection", syn),
    GradedTest("unwanted", 10, "Other protocols, fragments and ports without a zone are dropped", unwanted),
    GradedTest("full", 20, "1,500 connections, and less than one stranger in ten", full),
]
