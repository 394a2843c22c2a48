"""Tests of the lab "Decision tree". The oracle walks down a tree that the grader draws."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from random import Random

from midflight.labs.bench import Bench, GradedTest, Packet, compare, require
from midflight.labs.draw import draw_ip, draw_mac, draw_port
from midflight.labs.packets import ETHERNET, IP_LAYOUT, IPV4, TCP, UDP, join, sealed
from midflight.labs.switch import Switch

__all__ = ["TESTS"]

NAME = "tree.p4"
FEATURES = ("length", "life", "service")
TOPS = {"length": 65535, "life": 255, "service": 65535}
Leaf = tuple[int, int] | None
"""A class and a port; None rejects."""


@dataclass(frozen=True)
class Question:
    """A question of the tree: is a feature at most a limit?"""

    feature: str
    limit: int
    below: Question | Leaf
    above: Question | Leaf


def draw_tree(random: Random, depth: int, features: Sequence[str]) -> Question | Leaf:
    """Return a random tree with this many questions on each way down."""
    if depth == 0:
        return None if random.random() < 0.2 else (random.randrange(1, 64), random.randrange(2, 60))
    feature = random.choice(features)
    limit = {"length": random.randrange(40, 700), "life": random.randrange(2, 250),
             "service": random.choice([80, 443, 1023, 5000, random.randrange(1, 65000)])}[feature]  # fmt: skip
    return Question(feature, limit, draw_tree(random, depth - 1, features), draw_tree(random, depth - 1, features))


def walk(tree: Question | Leaf, values: dict[str, int]) -> Leaf:
    """The oracle: return the leaf for values of the features."""
    while isinstance(tree, Question):
        tree = tree.below if values[tree.feature] <= tree.limit else tree.above
    return tree


def limits(tree: Question | Leaf) -> dict[str, list[int]]:
    """Return the limits that the tree asks for, by feature, in ascending order."""
    found: dict[str, list[int]] = {each: [] for each in FEATURES}
    waiting = [tree]
    while waiting:
        at = waiting.pop()
        if isinstance(at, Question):
            found[at.feature].append(at.limit)
            waiting += [at.below, at.above]
    return {feature: sorted(dict.fromkeys(listed)) for feature, listed in found.items()}


class Model:
    """A tree as entries. Some code words are left out, so that their packets are unknown."""

    def __init__(self, random: Random, depth: int, features: Sequence[str], missing: float) -> None:
        self.tree = draw_tree(random, depth, features)
        self.limits = limits(self.tree)
        self.commands: list[str] = []
        codes = {}
        for feature, listed in self.limits.items():
            edges = [-1, *(each for each in listed if each < TOPS[feature]), TOPS[feature]]
            names = random.sample(range(1, 256), len(edges) - 1)
            codes[feature] = names
            for code, low, high in zip(names, edges, edges[1:], strict=False):
                self.commands.append(
                    f"table_add ingress.{feature} ingress.{feature}_code {low + 1}->{high} => {code} 1"
                )
        self.unknown = set()
        for places in product(*(range(len(codes[each])) for each in FEATURES)):
            if random.random() < missing:
                self.unknown.add(places)
                continue
            edges_of = {each: [*self.limits[each], TOPS[each]] for each in FEATURES}
            values = {each: edges_of[each][place] for each, place in zip(FEATURES, places, strict=True)}
            leaf = walk(self.tree, values)
            words = " ".join(str(codes[each][place]) for each, place in zip(FEATURES, places, strict=True))
            action = "ingress.reject" if leaf is None else "ingress.classify"
            end = "" if leaf is None else f"{leaf[0]} {leaf[1]}"
            self.commands.append(f"table_add ingress.leaves {action} {words} => {end}".strip())

    def places(self, values: dict[str, int]) -> tuple[int, ...]:
        """Return the numbers of the ranges of values."""
        return tuple(bisect_left(self.limits[each], values[each]) for each in FEATURES)

    def draw(self, random: Random, feature: str) -> int:
        """Return a value of a feature, often one at a limit."""
        near = [each + random.choice([0, 1]) for each in self.limits[feature]]
        value = random.choice([*near, *near, random.randrange(40, 700), random.randrange(TOPS[feature] + 1)])
        return min(max(value, 48), 1400) if feature == "length" else min(max(value, 0), TOPS[feature])


def packet(random: Random, values: dict[str, int], protocol: int, fragment: int) -> bytes:
    """Return a packet with these features."""
    ports = {"sport": draw_port(random), "dport": values["service"]}
    inner = (TCP if protocol == 6 else UDP).pack(ports)
    rest = (inner + random.randbytes(values["length"]))[: values["length"] - IPV4.size]
    ip = {"version": 4, "ihl": 5, "dscp": random.randrange(64), "length": values["length"], "ttl": values["life"],
          "protocol": protocol, "fragment": fragment, "src": draw_ip(random), "dst": draw_ip(random)}  # fmt: skip
    outer = {"dst": draw_mac(random), "src": draw_mac(random), "type": 0x0800}
    return join([(ETHERNET, outer), (IPV4, sealed(ip))], rest)


def play(bench: Bench, features: Sequence[str], *, depth: int = 3, missing: float = 0.0, count: int = 60,
         noise: float = 0.0) -> tuple[Switch, Counter[int], int]:  # fmt: skip
    """Play packets and compare; return the switch, the numbers of classes, and that of unknown packets."""
    random = bench.random
    model = Model(random, depth, features, missing)
    switch = bench.switch(NAME, *model.commands)
    sent: list[Packet] = []
    wanted: list[list[Packet]] = []
    notes: list[str] = []
    classes: Counter[int] = Counter()
    unsure = 0
    for _ in range(count):
        values = {each: model.draw(random, each) for each in FEATURES}
        protocol, fragment, other = random.choice([6, 17]), 0, False
        note = "tcp" if protocol == 6 else "udp"
        if random.random() < noise:
            note = random.choice(["fragment", "other protocol", "not IPv4"])
            protocol = 47 if note == "other protocol" else protocol
            fragment = random.randrange(1, 100) if note == "fragment" else 0
            other = note == "not IPv4"
        values["length"] = max(values["length"], 48)
        data = packet(random, values, protocol, fragment)
        if protocol == 47 or fragment:
            values = {**values, "service": 0}
        shown = f"{note}, length {values['length']}, ttl {values['life']}, port {values['service']}"
        sent.append((random.randrange(60, 80), data[:12] + b"\x86\xdd" + data[14:] if other else data))
        leaf = walk(model.tree, values)
        parts, payload = IP_LAYOUT.parse(data)
        if other or (model.places(values) not in model.unknown and leaf is None):
            wanted.append([])
        else:
            known = model.places(values) not in model.unknown
            dscp, port = leaf if known and leaf is not None else (0, 1)
            shown += "" if known else ", unknown leaf"
            parts[1] = (IPV4, sealed({**parts[1][1], "dscp": dscp}))
            wanted.append([(port, join(parts, payload))])
            if known:
                classes[dscp] += 1
            else:
                unsure += 1
        notes.append(shown)
    compare(IP_LAYOUT, sent, wanted, switch.send(sent).by_source(len(sent)), notes)
    return switch, classes, unsure


def single(feature: str) -> GradedTest:
    """Return the test of trees that ask about one feature."""

    def run(bench: Bench) -> None:
        play(bench, (feature,))

    return GradedTest(feature, 15, f"Trees that ask about {feature} only", run)


def trees(bench: Bench) -> None:
    """Trees that ask about everything."""
    for depth in (2, 4):
        play(bench, FEATURES, depth=depth)


def unknown(bench: Bench) -> None:
    """Code words without a leaf."""
    play(bench, FEATURES, missing=0.4)


def others(bench: Bench) -> None:
    """Fragments, other protocols, and what is not IPv4."""
    play(bench, ("service", "service", "life"), noise=0.5, count=80)


def counted(bench: Bench) -> None:
    """The counters."""
    switch, classes, unsure = play(bench, FEATURES, missing=0.3, count=100)
    for dscp in range(64):
        (text,) = switch.commands(f"counter_read ingress.classes {dscp}")
        have = int(re.findall(r"\d+", text)[0])
        require(have == classes[dscp], f"ingress.classes of DSCP {dscp} is {have}, must be {classes[dscp]}")
    (text,) = switch.commands("counter_read ingress.unknown 0")
    have = int(re.findall(r"\d+", text)[0])
    require(have == unsure, f"ingress.unknown is {have}, must be {unsure}")


TESTS = [
    single("length"),
    single("life"),
    single("service"),
    GradedTest("trees", 20, "Trees that ask about all features", trees),
    GradedTest("unknown", 10, "Packets without a leaf leave by port 1", unknown),
    GradedTest("others", 10, "Fragments, other protocols, and what is not IPv4", others),
    GradedTest("counters", 15, "Classes and unknown packets are counted", counted),
]
