"""Tests of the lab "Paxos acceptor". The oracle is an acceptor with a dictionary of instances."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from midflight.labs.bench import Bench, GradedTest, Packet, compare
from midflight.labs.draw import draw_bytes, draw_ip, draw_mac, draw_port
from midflight.labs.packets import ETHERNET, IPV4, UDP, Layout, header, join, udp_packet

__all__ = ["TESTS"]

NAME = "acceptor.p4"
PORT = 7100
PAXOS = header("paxos", "kind:8 instance:32 round:16 voted:16 acceptor:16 value:64", "kind instance round")
LAYOUT = Layout(
    ETHERNET,
    {ETHERNET: ("type", {0x800: IPV4}), IPV4: ("protocol", {17: UDP}), UDP: ("dport", {-1: PAXOS})},
)
PREPARE, PROMISE, ACCEPT, VOTE, REFUSAL = range(1, 6)
NAMES = {PREPARE: "prepare", ACCEPT: "accept"}


@dataclass
class Instance:
    """What an acceptor remembers of an instance."""

    promised: int = 0
    voted: int = 0
    value: int = 0


class Oracle:
    """An acceptor with a random number and random learners, for 128 instances from a random first one."""

    def __init__(self, random: Random) -> None:
        self.number, self.first = random.getrandbits(16), random.getrandbits(31)
        self.learners = random.sample(range(1, 60), 3)
        self.instances: dict[int, Instance] = {}
        self.notes: list[str] = []

    @property
    def commands(self) -> list[str]:
        """The commands that write the entries."""
        return [
            f"table_set_default ingress.setup ingress.member {self.number} 5 {self.first}",
            "mc_mgrp_create 5",
            f"mc_node_create 1 {' '.join(map(str, self.learners))}",
            "mc_node_associate 5 0",
        ]

    def arrive(self, port: int, data: bytes) -> list[Packet]:
        """Return what leaves because of a message, and note the state of its instance."""
        self.notes.append("")
        parts, payload = LAYOUT.parse(data)
        if len(parts) < 4 or parts[2][1]["dport"] != PORT:
            return []
        message = parts[3][1]
        kind = message["kind"]
        self.notes[-1] = f"{NAMES.get(kind, f'kind {kind}')} for instance first + {message['instance'] - self.first}"
        if kind not in NAMES or not 0 <= message["instance"] - self.first < 128:
            return []
        held = self.instances.setdefault(message["instance"], Instance())
        self.notes[-1] += f"; promised {held.promised}, voted {held.voted}"
        message["acceptor"] = self.number
        parts[2][1]["checksum"] = 0
        if kind == ACCEPT and message["round"] >= held.promised:
            held.promised = held.voted = message["round"]
            held.value = message["value"]
            message.update(kind=VOTE, voted=message["round"])
            return [(each, join(parts, payload)) for each in self.learners]
        if kind == PREPARE and message["round"] > held.promised:
            held.promised = message["round"]
            message.update(kind=PROMISE, voted=held.voted, value=held.value)
        else:
            message.update(kind=REFUSAL, round=held.promised, voted=0, value=0)
        pairs = (("src", "dst"), ("src", "dst"), ("sport", "dport"))
        for (_, values), (one, two) in zip(parts[:3], pairs, strict=True):
            values[one], values[two] = values[two], values[one]
        return [(port, join(parts, payload))]


def message(random: Random, kind: int, instance: int, round_: int, dport: int = PORT) -> bytes:
    """Return a message of a proposer."""
    fields = {"kind": kind, "instance": instance % (1 << 32), "round": round_, "voted": random.getrandbits(16),
              "acceptor": random.getrandbits(16), "value": random.getrandbits(64)}  # fmt: skip
    return udp_packet(
        ethernet={"dst": draw_mac(random), "src": draw_mac(random)},
        ip={"src": draw_ip(random), "dst": draw_ip(random)},
        udp={"sport": draw_port(random), "dport": dport, "checksum": random.getrandbits(16)},
        payload=PAXOS.pack(fields) + draw_bytes(random, 0, 8),
    )


def play(bench: Bench, kinds: tuple[int, ...], *, instances: int = 3, rounds: int = 6, count: int = 80,
         noise: bool = False) -> None:  # fmt: skip
    """Play messages of random rounds in random order."""
    random, oracle = bench.random, Oracle(bench.random)
    chosen = [0, 127, *range(1, instances - 1)] if instances > 2 else [random.randrange(128)]
    sent: list[Packet] = []
    for _ in range(count):
        place, kind, dport = random.choice(chosen), random.choice(kinds), PORT
        if noise and random.random() < 0.4:
            place, kind, dport = random.choice(
                [(-1, kind, PORT), (128, kind, PORT), (130, kind, PORT), (place, PROMISE, PORT), (place, VOTE, PORT),
                 (place, REFUSAL, PORT), (place, 0, PORT), (place, kind, PORT + 1)]
            )  # fmt: skip
        data = message(random, kind, oracle.first + place, random.randint(1, rounds), dport)
        sent.append((random.randrange(60, 80), data))
    wanted = [oracle.arrive(port, data) for port, data in sent]
    got = bench.switch(NAME, *oracle.commands).send(sent).by_source(len(sent))
    compare(LAYOUT, sent, wanted, got, oracle.notes)


TESTS = [
    GradedTest("prepare", 20, "Prepares are promised or refused", lambda bench: play(bench, (PREPARE,), rounds=30)),
    GradedTest("accept", 20, "Accepts are voted for or refused", lambda bench: play(bench, (ACCEPT,), rounds=30)),
    GradedTest("one instance", 20, "Promises and votes of one instance",
               lambda bench: play(bench, (PREPARE, ACCEPT), instances=1, rounds=60)),
    GradedTest("log", 20, "Many instances, which do not influence each other",
               lambda bench: play(bench, (PREPARE, ACCEPT), instances=20, rounds=12, count=200)),
    GradedTest("others", 20, "Other instances and other messages are dropped",
               lambda bench: play(bench, (PREPARE, ACCEPT), instances=4, noise=True)),
]  # fmt: skip
