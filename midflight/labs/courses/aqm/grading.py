"""Tests of the lab "ECN and active queue management". The oracle is a queue that sends a packet each millisecond."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from midflight.labs.bench import Bench, GradedTest, Incorrect, require
from midflight.labs.draw import draw_bytes, draw_mac, draw_port
from midflight.labs.packets import IP_LAYOUT, IPV4, join, sealed, udp_packet
from midflight.labs.switch import Played, Switch

__all__ = ["TESTS"]

NAME = "aqm.p4"
DEPTH, GAP = 32, 1_000_000  # packets, ns
DELAY = 1_000  # ns from arrival to the queue
QUEUES = {"depth": DEPTH, "rate": "1kpps"}


@dataclass
class Queue:
    """The oracle for one port.

    `mark` is the number of packets before one from which it is marked, `target` the wait in us from which it may be
    dropped. `leaving` are the times in ns at which packets leave, `late` counts packets that waited too long, `marked`
    and `dropped` what the policy did.
    """

    mark: int
    target: int
    leaving: list[int] = field(default_factory=list)
    late: int = 0
    marked: int = 0
    dropped: int = 0

    def offer(self, time: int, data: bytes) -> tuple[int, bytes, str] | None:
        """Add a packet that arrives at a time in ns; return when it leaves, its bytes then, and a note about it.

        The bytes are b"" if the policy drops it. None if the queue is full, so that it is dropped without a trace.
        """
        joins = time + DELAY
        before = sum(each > joins for each in self.leaving)
        if before >= DEPTH:
            return None
        # A packet leaves a gap after the one before it, and the first of all waits for one gap.
        leaves = max(joins, (self.leaving[-1] if self.leaving else joins) + GAP)
        self.leaving.append(leaves)
        parts, payload = IP_LAYOUT.parse(data)
        ip = parts[1][1]
        waited = (leaves - joins) // 1000
        note = f"ecn {ip['ecn']}, {before} packets before it, waited {waited} us"
        if ip["ecn"] in (1, 2) and before >= self.mark:
            self.marked += 1
            parts[1] = (IPV4, sealed({**ip, "ecn": 3}))
        elif ip["ecn"] == 0 and waited > self.target:
            self.late += 1
            if self.late % 2:
                self.dropped += 1
                return leaves, b"", note
        return leaves, join(parts, payload), note


def packet_to(random: Random, host: int, ecn: int, number: int) -> bytes:
    """Return a random UDP packet to 10.0.HOST.x with an ECN field; its identification is `number`."""
    return udp_packet(
        ethernet={"dst": draw_mac(random), "src": draw_mac(random)},
        ip={"src": 10 << 24 | 9, "dst": 10 << 24 | host << 8 | random.randrange(256), "ecn": ecn, "id": number},
        udp={"sport": draw_port(random), "dport": draw_port(random)},
        payload=draw_bytes(random),
    )


def draw_trace(random: Random, kinds: Sequence[int], ports: Sequence[int], count: int) -> list[tuple[int, bytes]]:
    """Return `count` packets as (time in ns, bytes), in order of time, in bursts that fill queues to different depths.

    Their ECN fields are of `kinds`, their ports of `ports`. Times are multiples of 100 us.
    """
    times: list[int] = []
    time = 0
    while len(times) < count:
        for _ in range(random.randint(2, 40)):
            time += random.choice([0, 1, 1, 2, 4, 8]) * 100_000
            times.append(time)
        time += random.randrange(5, 300) * 100_000
    return [
        (at, packet_to(random, random.choice(ports), random.choice(kinds), number))
        for number, at in enumerate(sorted(times)[:count])
    ]


def spaced(trace: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Return the trace with at least 2 us between packets, so that the order of arrivals and departures is certain."""
    made: list[tuple[int, bytes]] = []
    last = -10_000
    for at, data in trace:
        last = max(at, last + 2_000)
        made.append((last, data))
    return made


def check(
    bench: Bench, kinds: Sequence[int], ports: Sequence[int], count: int = 150
) -> tuple[Switch, dict[int, Queue]]:
    """Send a random trace of `count` packets to a new switch, and return the switch and the oracle of each port.

    Incorrect if a packet is wrongly marked, dropped or sent, or leaves at another time than at the oracle.
    """
    random = bench.random
    mark, target = random.randint(3, 12), random.randint(4, 14) * 1000
    routes = [f"table_add ingress.routes ingress.send 10.0.{port}.0/24 => {port}" for port in ports]
    commands = [*routes, f"table_set_default egress.policy egress.set {mark} {target}"]
    switch = bench.switch(NAME, *commands, queues=QUEUES)
    trace = spaced(draw_trace(random, kinds, ports, count))
    played = switch.play([(at, random.randrange(60, 70), data) for at, data in trace])
    queues = {port: Queue(mark, target) for port in ports}
    thresholds = f"mark {mark}, target {target} us"
    got = by_number(played)
    for number, (at, data) in enumerate(trace):
        port = data[32]
        wanted = queues[port].offer(at, data)
        if wanted is None:
            require(number not in got, f"packet {number + 1} leaves, although its queue is full")
            continue
        leaves, must, note = wanted
        head = f"packet {number + 1} ({note}; {thresholds}): {IP_LAYOUT.brief(data)}"
        if number not in got:
            require(not must, f"{head}\n  it is dropped, must leave by port {port}")
            continue
        out, time, have = got[number]
        require(bool(must), f"{head}\n  it leaves by port {out}, must be dropped")
        require(out == port, f"{head}\n  it leaves by port {out}, must leave by port {port}")
        said = IP_LAYOUT.differences(must, have)
        require(not said, "\n  ".join([head, *said[:5]]))
        require(time == leaves, f"{head}\n  it leaves after {time} ns, must leave after {leaves} ns")
    return switch, queues


def by_number(played: Played) -> dict[int, tuple[int, int, bytes]]:
    """Return port, time and bytes of the packets that left, by their identification. Incorrect if one leaves twice."""
    found: dict[int, tuple[int, int, bytes]] = {}
    for each in played.sent:
        number = int.from_bytes(each.data[18:20], "big")
        if number in found:
            raise Incorrect(f"packet {number + 1} leaves twice")
        found[number] = (each.port, each.time, each.data)
    return found


def counted(bench: Bench) -> None:
    """Test that the program counts its marks and drops by port. Incorrect otherwise."""
    switch, queues = check(bench, (0, 1, 2, 3), (1, 2), 240)
    for port, queue in queues.items():
        for name, must in (("marked", queue.marked), ("dropped", queue.dropped)):
            (text,) = switch.commands(f"counter_read egress.{name} {port}")
            have = int(re.findall(r"\d+", text)[0])
            require(have == must, f"egress.{name} of port {port} is {have}, must be {must}")


def traffic(kinds: Sequence[int], ports: Sequence[int], count: int = 150) -> Callable[[Bench], None]:
    """Return a test of `count` packets with ECN fields of `kinds` to these ports. It raises Incorrect as `check`
    does.
    """

    def run(bench: Bench) -> None:
        check(bench, kinds, ports, count)

    return run


TESTS = [
    GradedTest("marks", 25, "Packets of senders with ECN are marked", traffic((1, 2), (1,))),
    GradedTest("drops", 25, "Every second late packet of others is dropped",
               traffic((0, 3), (1,))),
    GradedTest("mixed", 15, "Mixed traffic", traffic((0, 0, 1, 2, 3), (1,), 240)),
    GradedTest("ports", 15, "Every port has its own queue and its own turn",
               traffic((0, 0, 1, 2), (1, 2, 3), 300)),
    GradedTest("counters", 20, "Marks and drops are counted", counted),
]  # fmt: skip
