"""Tests of the lab "All-reduce". The oracle adds lists of Python integers."""

from __future__ import annotations

from random import Random

from midflight.labs.bench import Bench, GradedTest, Packet, compare
from midflight.labs.draw import draw_bytes, draw_mac
from midflight.labs.packets import ETHERNET, Layout, header, join

__all__ = ["TESTS"]

NAME = "allreduce.p4"
TYPE = 0x88BA
REDUCE = header("reduce", "kind:8 slot:8 round:16 count:8 v0:32 v1:32 v2:32 v3:32", "kind slot round")
LAYOUT = Layout(ETHERNET, {ETHERNET: ("type", {TYPE: REDUCE})})
LANES = ("v0", "v1", "v2", "v3")


class Oracle:
    """The contributions of each slot, and the workers by port."""

    def __init__(self, random: Random, count: int) -> None:
        ports = random.sample(range(1, 60), count)
        self.macs = {port: draw_mac(random) for port in ports}
        self.slots: dict[int, list[list[int]]] = {}

    @property
    def commands(self) -> list[str]:
        """The commands that write the entries."""
        ports = " ".join(str(each) for each in self.macs)
        return [
            f"table_set_default ingress.setup ingress.workers {len(self.macs)} 7",
            "mc_mgrp_create 7",
            f"mc_node_create 1 {ports}",
            "mc_node_associate 7 0",
            *(f"table_add egress.hosts egress.host {port} => {mac:#x}" for port, mac in self.macs.items()),
        ]

    def arrive(self, data: bytes) -> list[Packet]:
        """Return what leaves because of a packet."""
        parts, payload = LAYOUT.parse(data)
        if len(parts) < 2 or parts[1][1]["kind"] != 1 or parts[1][1]["slot"] > 63:
            return []
        values = parts[1][1]
        held = self.slots.setdefault(values["slot"], [])
        held.append([values[lane] for lane in LANES])
        if len(held) < len(self.macs):
            return []
        sums = [sum(column) % (1 << 32) for column in zip(*self.slots.pop(values["slot"]), strict=True)]
        values.update(kind=2, count=len(self.macs), **dict(zip(LANES, sums, strict=True)))
        outer = parts[0][1]
        return [
            (port, join([(ETHERNET, {**outer, "dst": mac, "src": 0x02 << 40 | 1}), (REDUCE, values)], payload))
            for port, mac in self.macs.items()
        ]


def contribution(random: Random, place: int, round_: int, big: bool, **changed: int) -> bytes:
    """Return a contribution with random values."""
    values = {lane: random.getrandbits(32 if big else 12) for lane in LANES}
    outer = {"dst": draw_mac(random), "src": draw_mac(random), "type": TYPE}
    inner = {"kind": 1, "slot": place, "round": round_, "count": random.choice([0, 9]), **values, **changed}
    return join([(ETHERNET, outer), (REDUCE, inner)], draw_bytes(random, 8, 8))


def play(bench: Bench, workers: int, *, slots: int = 1, rounds: int = 3, big: bool = False, noise: int = 0) -> None:
    """Play rounds in which each worker contributes once to each slot, in random order, with packets to be dropped."""
    random, oracle = bench.random, Oracle(bench.random, workers)
    switch = bench.switch(NAME, *oracle.commands)
    used = [*random.sample(range(1, 63), slots - 2), 0, 63] if slots > 2 else random.sample(range(64), slots)
    sent: list[Packet] = []
    notes: list[str] = []
    for round_ in range(rounds):
        number = random.getrandbits(16)
        batch = [(port, slot) for port in oracle.macs for slot in used]
        random.shuffle(batch)
        for port, slot in batch:
            sent.append((port, contribution(random, slot, number, big)))
            notes.append(f"slot {slot}, round {round_ + 1}")
            while random.random() < noise / 10:
                note, changed = random.choice([("a result from outside", {"kind": 2}), ("kind 0", {"kind": 0}),
                                               (f"slot {64 + slot % 64}", {"slot": 64 + slot % 64})])  # fmt: skip
                data = contribution(random, slot, number, big, **changed)
                if random.random() < 0.2:
                    note, data = "another type", data[:12] + b"\x08\x00" + data[14:]
                sent.append((port, data))
                notes.append(note)
    wanted = [oracle.arrive(data) for _, data in sent]
    compare(LAYOUT, sent, wanted, switch.send(sent).by_source(len(sent)), notes)


TESTS = [
    GradedTest("one worker", 10, "The contribution of a single worker is its result",
               lambda bench: play(bench, 1, rounds=8)),
    GradedTest("one slot", 20, "The sum of some workers goes to all of them", lambda bench: play(bench, 4, rounds=1)),
    GradedTest("rounds", 25, "A slot is used again", lambda bench: play(bench, 3, rounds=6)),
    GradedTest("slots", 20, "Slots do not influence each other",
               lambda bench: play(bench, bench.random.randint(3, 5), slots=40, rounds=3)),
    GradedTest("limits", 10, "Sums wrap, with up to 40 workers",
               lambda bench: play(bench, 40, slots=2, rounds=2, big=True)),
    GradedTest("others", 15, "Other packets are dropped, and change nothing",
               lambda bench: play(bench, 3, slots=4, rounds=3, noise=4)),
]  # fmt: skip
