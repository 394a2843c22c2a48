"""Tests of the lab "Priority queues". The oracle serves three queues by strict priority."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from random import Random

from midflight.labs.bench import Bench, GradedTest, Incorrect, require
from midflight.labs.draw import draw_bytes, draw_mac, draw_port
from midflight.labs.packets import IP_LAYOUT, IPV4, join, sealed, udp_packet
from midflight.labs.switch import Switch

__all__ = ["TESTS"]

NAME = "priority.p4"
GAP, DELAY, WINDOW = 1_000_000, 1_000, 8_192_000  # ns
QUEUES = {"queues": 3, "depth": 200, "port_rate": "1kpps"}
URGENT = 46


@dataclass(frozen=True)
class Arrival:
    """A packet that arrives: its time in ns, its port and its bytes. Its identification is its number in the trace."""

    time: int
    port: int
    data: bytes

    @property
    def dscp(self) -> int:
        """The class of service of the packet, its DSCP, from 0 to 63."""
        return self.data[15] >> 2

    @property
    def out(self) -> int:
        """The port by which the packet must leave, the third byte of its address."""
        return self.data[32]


def draw_trace(random: Random, kinds: list[int], ports: int, count: int, gaps: list[int]) -> list[Arrival]:
    """Return `count` packets in order of time, with DSCPs of `kinds`, to ports 1 to `ports`.

    `gaps` are the times in us, one of which, chosen at random, is between two packets. No packet is near the border of
    a window.
    """
    made, time = [], random.randrange(100) * 10_000
    for number in range(count):
        time += random.choice(gaps) * 1000 + 3_000
        data = udp_packet(
            ethernet={"dst": draw_mac(random), "src": draw_mac(random)},
            ip={"src": 10 << 24 | 9, "dst": 10 << 24 | random.randint(1, ports) << 8 | 7,
                "dscp": random.choice(kinds), "id": number},
            udp={"sport": draw_port(random), "dport": draw_port(random)},
            payload=draw_bytes(random),
        )  # fmt: skip
        if time % WINDOW < 20_000 or time % WINDOW > WINDOW - 20_000:
            time += 50_000
        made.append(Arrival(time, random.randint(21, 22), data))
    return made


def police(trace: list[Arrival], classes: dict[int, int], limit: int) -> tuple[list[tuple[int, bytes]], Counter[int]]:
    """The first half of the oracle: return the queue and the bytes of each packet, and the demotions by ingress port.

    Of the packets for queue 2, `limit` in each window and from each port stay there; others go to queue 0 with DSCP 0.
    """
    used: Counter[tuple[int, int]] = Counter()
    demoted: Counter[int] = Counter()
    made = []
    for each in trace:
        queue, data = classes.get(each.dscp, 0), each.data
        slot = (each.port, each.time // WINDOW)
        if queue == 2 and used[slot] >= limit:
            demoted[each.port] += 1
            parts, payload = IP_LAYOUT.parse(data)
            parts[1] = (IPV4, sealed({**parts[1][1], "dscp": 0}))
            queue, data = 0, join(parts, payload)
        elif queue == 2:
            used[slot] += 1
        made.append((queue, data))
    return made, demoted


def serve(trace: list[Arrival], queues: list[int], port: int) -> list[int]:
    """The second half of the oracle: return the numbers of the packets in the order in which a port sends them.

    `queues` has the queue of each packet; a larger one goes first.
    """
    waiting = [(each.time + DELAY, -queues[number], number) for number, each in enumerate(trace) if each.out == port]
    order, free = [], 0
    while waiting:
        now = max(free, min(waiting)[0])
        chosen = min((each for each in waiting if each[0] <= now), key=lambda each: (each[1], each[0]))
        waiting.remove(chosen)
        order.append(chosen[2])
        free = now + GAP
    return order


def check(bench: Bench, kinds: list[int], *, ports: int = 1, count: int = 90, gaps: list[int] | None = None,
          limit: int = 1000) -> tuple[Switch, Counter[int]]:  # fmt: skip
    """Send a random trace to a new switch, and return the switch and the demotions by ingress port.

    Incorrect if a packet leaves with other bytes, by another port or in another order than at the oracle, or is
    dropped.
    """
    random = bench.random
    classes = {URGENT: 2, 34: 1, 36: 1, 38: 1}
    commands = [f"table_add ingress.classes ingress.class {dscp} => {queue}" for dscp, queue in classes.items()]
    commands += [f"table_add ingress.routes ingress.send 10.0.{port}.0/24 => {port}" for port in range(1, ports + 1)]
    switch = bench.switch(NAME, *commands, f"table_set_default ingress.policer ingress.limit {limit}", queues=QUEUES)
    trace = draw_trace(random, kinds, ports, count, gaps or [0, 0, 50, 300, 900])
    played = switch.play([(each.time, each.port, each.data) for each in trace])
    policed, demoted = police(trace, classes, limit)
    left: dict[int, list[int]] = {port: [] for port in range(1, ports + 1)}
    for sent in played.sent:
        number = int.from_bytes(sent.data[18:20], "big")
        if number >= len(trace) or sent.port != trace[number].out or number in left[sent.port]:
            raise Incorrect(f"a packet leaves by port {sent.port} that must not: {IP_LAYOUT.brief(sent.data)}")
        head = f"packet {number + 1} (dscp {trace[number].dscp}, limit {limit}): {IP_LAYOUT.brief(trace[number].data)}"
        said = IP_LAYOUT.differences(policed[number][1], sent.data)
        require(not said, "\n  ".join([head, *said[:5]]))
        left[sent.port].append(number)
    for port, numbers in left.items():
        wanted = serve(trace, [queue for queue, _ in policed], port)
        missing = sorted({*wanted} - {*numbers})
        require(not missing, f"packet {missing[0] + 1 if missing else 0} is dropped, must leave by port {port}")
        for place, (have, must) in enumerate(zip(numbers, wanted, strict=True)):
            if have != must:
                names = [
                    f"packet {each + 1} (dscp {trace[each].dscp}, queue {policed[each][0]})" for each in (have, must)
                ]
                raise Incorrect(f"wrong order on port {port}: departure {place + 1} is {names[0]}, must be {names[1]}")
    return switch, demoted


def order(bench: Bench) -> None:
    """Test that three classes leave by strict priority. Incorrect as by `check`."""
    check(bench, [URGENT, 34, 36, 38, 0, 1, 63])


def two(bench: Bench) -> None:
    """Test that urgent packets overtake those of another class. Incorrect as by `check`."""
    check(bench, [URGENT, 0])


def ports(bench: Bench) -> None:
    """Test that the queues of three ports do not influence each other. Incorrect as by `check`."""
    check(bench, [URGENT, 34, 0], ports=3, count=150)


def limited(bench: Bench) -> None:
    """Test that the limit of urgent packets holds in each window and for each ingress port. Incorrect as by `check`."""
    check(bench, [URGENT], count=120, gaps=[20, 300, 900, 2500], limit=bench.random.randint(3, 5))


def mixed(bench: Bench) -> None:
    """Test the limit under mixed traffic, and the order of demoted packets. Incorrect as by `check`."""
    check(bench, [URGENT, URGENT, 34, 0], ports=2, count=180, gaps=[0, 20, 300, 900], limit=bench.random.randint(2, 4))


def counted(bench: Bench) -> None:
    """Test that the program counts demoted packets by ingress port. Incorrect if a counter differs, or as by
    `check`.
    """
    switch, demoted = check(bench, [URGENT, URGENT, 0], count=120, gaps=[20, 300, 900], limit=3)
    for port in (21, 22):
        (text,) = switch.commands(f"counter_read ingress.demoted {port}")
        have = int(re.findall(r"\d+", text)[0])
        require(have == demoted[port], f"ingress.demoted of port {port} is {have}, must be {demoted[port]}")


TESTS = [
    GradedTest("two classes", 15, "Urgent packets overtake others", two),
    GradedTest("order", 20, "Three classes leave by strict priority", order),
    GradedTest("ports", 10, "Every port has its own queues", ports),
    GradedTest("limit", 25, "The limit holds in each window and for each port", limited),
    GradedTest("mixed", 15, "Demoted packets wait like others", mixed),
    GradedTest("counter", 15, "Demoted packets are counted", counted),
]
