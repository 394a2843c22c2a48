"""Tests of the lab "Reliable all-reduce". The oracle keeps who has contributed what; whole jobs are simulated."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from midflight.labs.bench import Bench, GradedTest, Incorrect, Packet, compare, require
from midflight.labs.draw import draw_bytes, draw_mac
from midflight.labs.packets import ETHERNET, Layout, header, join
from midflight.labs.switch import Switch

__all__ = ["TESTS"]

NAME = "allreduce.p4"
TYPE = 0x88BB
REDUCE = header("reduce", "kind:8 worker:8 copy:8 slot:8 round:16 v0:32 v1:32", "kind worker copy slot round")
LAYOUT = Layout(ETHERNET, {ETHERNET: ("type", {TYPE: REDUCE})})
TOP = 1 << 32
Transmit = Callable[[int, int, int], None]
"""Sends a worker's contribution to a slot: time, worker, slot."""


@dataclass
class Copy:
    """A copy of a slot: the values of its workers in this use, and who may not contribute any more."""

    values: dict[int, tuple[int, int]] = field(default_factory=dict)
    seen: list[int] = field(default_factory=list)
    sums: tuple[int, int] | None = None


class Oracle:
    """The slots, and the ports of the workers."""

    def __init__(self, random: Random, count: int) -> None:
        self.ports = random.sample(range(1, 60), count)
        self.copies: dict[tuple[int, int], Copy] = {}
        self.notes: list[str] = []

    @property
    def commands(self) -> list[str]:
        """The commands that write the entries."""
        return [
            f"table_set_default ingress.setup ingress.workers {len(self.ports)} 4",
            "mc_mgrp_create 4",
            f"mc_node_create 1 {' '.join(map(str, self.ports))}",
            "mc_node_associate 4 0",
        ]

    def arrive(self, port: int, data: bytes) -> list[Packet]:
        """Return what leaves because of a packet, and note what it is."""
        self.notes.append("another packet")
        parts, payload = LAYOUT.parse(data)
        if len(parts) < 2:
            return []
        values = parts[1][1]
        worker, place = values["worker"], (values["copy"], values["slot"])
        known = "" if worker < len(self.ports) else "unknown "
        self.notes[-1] = f"{known}worker {worker}, copy {place[0]}, slot {place[1]}, kind {values['kind']}"
        if values["kind"] != 1 or known or place[0] > 1 or place[1] > 31:
            return []
        copy = self.copies.setdefault(place, Copy())
        other = self.copies.setdefault((1 - place[0], place[1]), Copy())
        outer = {**parts[0][1], "src": 0x02 << 40 | 1, "dst": (1 << 48) - 1}
        if worker in copy.seen:
            self.notes[-1] += f"; a repetition {'after' if copy.sums else 'before'} the result"
            if copy.sums is None:
                return []
            values.update(kind=2, v0=copy.sums[0], v1=copy.sums[1])
            return [(port, join([(ETHERNET, outer), (REDUCE, values)], payload))]
        copy.seen.append(worker)
        if worker in other.seen:
            other.seen.remove(worker)
        if copy.sums is not None:
            copy.values, copy.sums = {}, None
        copy.values[worker] = (values["v0"], values["v1"])
        self.notes[-1] += f"; contribution {len(copy.values)} of {len(self.ports)}"
        if len(copy.values) < len(self.ports):
            return []
        one, two = (sum(each[lane] for each in copy.values.values()) % TOP for lane in (0, 1))
        copy.sums = (one, two)
        values.update(kind=2, v0=one, v1=two)
        return [(each, join([(ETHERNET, outer), (REDUCE, values)], payload)) for each in self.ports]


def contribution(random: Random, fields: dict[str, int]) -> bytes:
    """Return a contribution with these fields; values are random if they are not given."""
    outer = {"dst": draw_mac(random), "src": draw_mac(random), "type": TYPE}
    inner = {"kind": 1, "v0": random.getrandbits(32), "v1": random.getrandbits(32), **fields}
    return join([(ETHERNET, outer), (REDUCE, inner)], draw_bytes(random, 8, 8))


def play(bench: Bench, count: int, sent: list[tuple[int, dict[str, int]]], oracle: Oracle) -> None:
    """Send contributions, given as worker and fields, and compare."""
    packets = [
        (oracle.ports[worker % count], contribution(bench.random, {"worker": worker, **fields}))
        for worker, fields in sent
    ]
    switch = bench.switch(NAME, *oracle.commands)
    wanted = [oracle.arrive(port, data) for port, data in packets]
    compare(LAYOUT, packets, wanted, switch.send(packets).by_source(len(packets)), oracle.notes)


def rounds(bench: Bench) -> None:
    """No loss: copies in turn."""
    random = bench.random
    count = random.randint(3, 6)
    oracle = Oracle(random, count)
    slots = random.sample(range(32), 4)
    sent = []
    for number in range(6):
        places = [{"copy": number % 2, "slot": slot, "round": number} for slot in slots]
        batch = [(worker, place) for worker in range(count) for place in places]
        random.shuffle(batch)
        sent += batch
    play(bench, count, sent, oracle)


def repeated(bench: Bench, *, before: bool, after: bool) -> None:
    """Repetitions before the result, after it, or both."""
    random = bench.random
    count = random.randint(3, 6) if not (before and after) else 16
    sent = []
    for slot in random.sample(range(32), 8):
        first = random.randrange(2)
        for number in range(3):
            place = {"copy": (first + number) % 2, "slot": slot, "round": number}
            order = random.sample(range(count), count)
            for at, worker in enumerate(order):
                sent.append((worker, place))
                if before and at < count - 1:
                    sent += [(random.choice(order[: at + 1]), place) for _ in range(random.randint(0, 2))]
            if after:
                sent += [(random.choice(order), place) for _ in range(3)]
    play(bench, count, sent, Oracle(random, count))


def ahead(bench: Bench) -> None:
    """Fast workers are in the next copy already, while slow ones ask for the result of the last one."""
    random, count = bench.random, 4
    oracle = Oracle(random, count)
    sent = []
    for slot in random.sample(range(32), 6):
        for number in range(4):
            now, before = ({"copy": each % 2, "slot": slot, "round": each} for each in (number, number - 1))
            order = random.sample(range(count), count)
            for at, worker in enumerate(order):
                if number:
                    sent += [(late, before) for late in order[at:] if random.random() < 0.5]
                sent.append((worker, now))
                if random.random() < 0.4:
                    sent.append((worker, now))
    play(bench, count, sent, oracle)


def others(bench: Bench) -> None:
    """Packets that are not contributions."""
    random, count = bench.random, 3
    oracle = Oracle(random, count)
    sent = []
    for number in range(8):
        place = {"copy": number % 2, "slot": 5, "round": number}
        for worker in random.sample(range(count), count):
            strange = random.choice([{"kind": 2}, {"kind": 0}, {"copy": 2}, {"copy": 3}, {"slot": 37}, {"slot": 32}])
            sent += [(worker, {**place, **strange}), (random.choice([3, 4, 8, 15]), place), (worker, place)]
    play(bench, count, sent, oracle)


@dataclass
class Worker:
    """A worker of a job: its number, its vector by slot and round, and what it has received."""

    number: int
    vector: dict[tuple[int, int], tuple[int, int]]
    rounds: dict[int, int] = field(default_factory=dict)
    received: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)


def job(bench: Bench, loss: float) -> None:
    """A whole job: workers with timeouts, and a network that loses packets."""
    random = bench.random
    count, slots, length = 4, 3, 5
    oracle = Oracle(random, count)
    switch: Switch = bench.switch(NAME, *oracle.commands)
    keys = [(slot, number) for slot in range(slots) for number in range(length)]
    team = [
        Worker(
            each,
            {key: (random.getrandbits(32), random.getrandbits(32)) for key in keys},
            dict.fromkeys(range(slots), 0),
        )
        for each in range(count)
    ]
    events: list[tuple[int, int, str, int, int, bytes]] = []
    arrivals = [0] * count  # the packets of a worker arrive in order

    def schedule(time: int, what: str, worker: int, slot: int, data: bytes = b"") -> None:
        heapq.heappush(events, (time, len(events) + random.getrandbits(40), what, worker, slot, data))

    def transmit(now: int, worker: int, slot: int) -> None:
        each = team[worker]
        number = each.rounds[slot]
        if number == length:
            return
        one, two = each.vector[slot, number]
        fields = {"worker": worker, "copy": number % 2, "slot": slot, "round": number, "v0": one, "v1": two}
        data = contribution(random, fields)
        if random.random() >= loss:
            arrivals[worker] = max(now + random.randrange(5, 60), arrivals[worker] + 1)
            schedule(arrivals[worker], "arrives", worker, slot, data)
        schedule(now + 200, "timeout", worker, slot * length + number)

    for worker in range(count):
        for slot in range(slots):
            transmit(random.randrange(20), worker, slot)
    steps = 0
    while events:
        steps += 1
        require(steps < 2000, "the job does not end: results do not reach all workers")
        now, _, what, worker, place, data = heapq.heappop(events)
        match what:
            case "timeout":
                slot, number = divmod(place, length)
                if team[worker].rounds[slot] == number:
                    transmit(now, worker, slot)
            case "arrives":
                for port, left in switch.play([(now * 1000, oracle.ports[worker], data)]).of(0):
                    if port in oracle.ports and random.random() >= loss:
                        schedule(now + random.randrange(5, 60), "result", oracle.ports.index(port), 0, left)
            case "result":
                receive(team[worker], data, now, transmit)
    for key in keys:
        must = tuple(sum(each.vector[key][lane] for each in team) % TOP for lane in (0, 1))
        for each in team:
            have = each.received.get(key)
            head = f"worker {each.number}, slot {key[0]}, round {key[1]}, over a network that loses {loss:.0%}"
            require(have == must, f"{head}: the sum is {have}, must be {must}")


def receive(worker: Worker, data: bytes, now: int, transmit: Transmit) -> None:
    """Accept a result, and go on with the next round of its slot."""
    parts, _ = LAYOUT.parse(data)
    if len(parts) < 2 or parts[1][1]["kind"] != 2:
        raise Incorrect("a worker gets a packet that is not a result")
    values = parts[1][1]
    slot, number = values["slot"], values["round"]
    if worker.rounds.get(slot) != number:
        return
    worker.received[slot, number] = (values["v0"], values["v1"])
    worker.rounds[slot] += 1
    transmit(now, worker.number, slot)


def jobs(*losses: float) -> Callable[[Bench], None]:
    """Return a test of jobs with these rates of loss."""

    def run(bench: Bench) -> None:
        for each in losses:
            job(bench, each)

    return run


TESTS = [
    GradedTest("rounds", 15, "Without loss, copies are used in turn", rounds),
    GradedTest("before", 15, "Repetitions before the result are absorbed",
               lambda bench: repeated(bench, before=True, after=False)),
    GradedTest("after", 15, "Repetitions after the result are answered",
               lambda bench: repeated(bench, before=False, after=True)),
    GradedTest("ahead", 20, "Fast workers do not disturb slow ones", ahead),
    GradedTest("sixteen", 10, "Sixteen workers", lambda bench: repeated(bench, before=True, after=True)),
    GradedTest("others", 10, "Other packets are dropped", others),
    GradedTest("jobs", 15, "Whole jobs over a network that loses packets", jobs(0.0, 0.1, 0.33), seconds=30),
]  # fmt: skip
