"""Tests of the lab "All-reduce over UDP". The oracle adds lists of Python integers."""

from __future__ import annotations

from random import Random

from midflight.labs.bench import Bench, GradedTest, Packet, compare
from midflight.labs.draw import draw_bytes, draw_ip, draw_mac, draw_port
from midflight.labs.packets import ETHERNET, IPV4, UDP, Header, Layout, Parts, header, join, sealed, udp_packet

__all__ = ["TESTS"]

NAME = "allreduce.p4"
MAGIC, SWITCH, WORKERS, SIZE = 0x4152, 6000, 6001, 35
LANES = tuple(f"v{number}" for number in range(8))
REDUCE = header("reduce", "magic:16 slot:8 " + " ".join(f"{lane}:32" for lane in LANES), "slot")


def following(parts: Parts) -> Header | None:
    """Return the header that comes after others."""
    last, values = parts[-1]
    if last is ETHERNET:
        return IPV4 if values["type"] == 0x0800 else None
    if last is IPV4:
        return UDP if values["protocol"] == 17 and values["fragment"] == 0 else None
    return REDUCE if last is UDP and values["dport"] in (SWITCH, WORKERS) else None


LAYOUT = Layout(ETHERNET, {}, following)


class Oracle:
    """The switch's address, its workers by port, and the contributions of each slot."""

    def __init__(self, random: Random, count: int) -> None:
        self.address = 10 << 24 | 200 << 16 | random.getrandbits(16)
        ports = random.sample(range(1, 60), count)
        self.workers = {port: (draw_mac(random), 10 << 24 | 1 << 16 | port) for port in ports}
        self.slots: dict[int, list[list[int]]] = {}

    @property
    def commands(self) -> list[str]:
        """The commands that write the entries."""
        return [
            f"table_set_default ingress.setup ingress.workers {len(self.workers)} 3 {self.address:#x}",
            "table_add ingress.routes ingress.send 10.9.0.0/16 => 61",
            "mc_mgrp_create 3",
            f"mc_node_create 1 {' '.join(map(str, self.workers))}",
            "mc_node_associate 3 0",
            *(f"table_add egress.hosts egress.host {port} => {mac} {ip}" for port, (mac, ip) in self.workers.items()),
        ]

    def arrive(self, data: bytes) -> list[Packet]:
        """Return what leaves because of a packet."""
        parts, payload = LAYOUT.parse(data)
        if len(parts) < 2:
            return []
        ip = parts[1][1]
        if ip["dst"] != self.address:
            return [(61, data)] if ip["dst"] >> 16 == (10 << 8 | 9) else []
        if len(parts) < 4 or ip["ihl"] != 5 or ip["protocol"] != 17 or ip["fragment"] or ip["flags"] % 2:
            return []
        udp, reduce = parts[2][1], parts[3][1]
        if udp["dport"] != SWITCH or udp["length"] != 8 + SIZE or reduce["magic"] != MAGIC or reduce["slot"] > 31:
            return []
        held = self.slots.setdefault(reduce["slot"], [])
        held.append([reduce[lane] for lane in LANES])
        if len(held) < len(self.workers):
            return []
        sums = [sum(column) % (1 << 32) for column in zip(*self.slots.pop(reduce["slot"]), strict=True)]
        reduce.update(zip(LANES, sums, strict=True))
        udp.update(sport=SWITCH, dport=WORKERS, checksum=0)
        made = []
        for port, (mac, address) in self.workers.items():
            outer = {**parts[0][1], "dst": mac, "src": 0x02 << 40 | 1}
            inner = sealed({**ip, "src": self.address, "dst": address, "ttl": 64})
            made.append((port, join([(ETHERNET, outer), (IPV4, inner), (UDP, udp), (REDUCE, reduce)], payload)))
        return made


def datagram(random: Random, destination: int, slot: int, *, magic: int = MAGIC, port: int = SWITCH,
             length: int = 8 + SIZE, damaged: bool = False, **ip: int) -> bytes:  # fmt: skip
    """Return a contribution, or something like it."""
    values = {"magic": magic, "slot": slot, **{lane: random.getrandbits(32) for lane in LANES}}
    data = udp_packet(
        ethernet={"dst": draw_mac(random), "src": draw_mac(random)},
        ip={"src": draw_ip(random), "dst": destination, "ttl": random.randrange(1, 256), **ip},
        udp={"sport": draw_port(random), "dport": port, "length": length, "checksum": random.getrandbits(16)},
        payload=REDUCE.pack(values) + draw_bytes(random, 0, 6),
    )
    return data[:24] + bytes([data[24] ^ 1]) + data[25:] if damaged else data


def foreign(random: Random, oracle: Oracle, slot: int) -> tuple[str, bytes]:
    """Return a packet that is not a contribution, and what is wrong."""
    me = oracle.address
    kind = random.choice(
        ["wrong magic", "slot", "wrong length", "wrong port", "fragment", "wrong protocol", "options", "other traffic",
         "other traffic", "other traffic", "no route"]
    )  # fmt: skip
    match kind:
        case "wrong magic":
            return kind, datagram(random, me, slot, magic=MAGIC ^ 1 << random.randrange(16))
        case "slot":
            return f"slot {slot + 32}", datagram(random, me, slot + 32)
        case "wrong length":
            return kind, datagram(random, me, slot, length=8 + SIZE + random.choice([-1, 1, 5]))
        case "wrong port":
            return kind, datagram(random, me, slot, port=random.choice([5999, 6001, 6000 ^ 256]))
        case "fragment":
            flags, offset = random.choice([(1, 0), (0, 9)])
            return kind, datagram(random, me, slot, flags=flags, fragment=offset)
        case "wrong protocol":
            return kind, datagram(random, me, slot, protocol=random.choice([6, 136]))
        case "options":
            return kind, datagram(random, me, slot, ihl=6)
        case "other traffic":
            other = 10 << 24 | 9 << 16 | random.getrandbits(16)
            return kind, datagram(random, other, slot, damaged=random.random() < 0.3)
    return kind, datagram(random, 11 << 24, slot)


def play(bench: Bench, workers: int, *, slots: int = 1, rounds: int = 3, noise: float = 0.0) -> None:
    """Play rounds in which each worker contributes once to each slot, in random order, with other packets between."""
    random, oracle = bench.random, Oracle(bench.random, workers)
    used = random.sample(range(32), slots)
    sent: list[Packet] = []
    notes: list[str] = []
    for round_ in range(rounds):
        batch = [(port, slot) for port in oracle.workers for slot in used]
        random.shuffle(batch)
        strange: dict[int, list[str]] = {}
        for port, slot in batch:
            before = f", after packets with: {'; '.join(strange[slot])}" if slot in strange else ""
            sent.append((port, datagram(random, oracle.address, slot)))
            notes.append(f"slot {slot}, round {round_ + 1}{before}")
            while random.random() < noise:
                note, data = foreign(random, oracle, slot)
                sent.append((random.choice([port, 70]), data))
                notes.append(note)
                strange.setdefault(slot, []).append(note)
    wanted = [oracle.arrive(data) for _, data in sent]
    got = bench.switch(NAME, *oracle.commands).send(sent).by_source(len(sent))
    compare(LAYOUT, sent, wanted, got, notes)


TESTS = [
    GradedTest("one worker", 15, "The contribution of a single worker comes back as a valid packet",
               lambda bench: play(bench, 1, rounds=8)),
    GradedTest("sums", 25, "The sum of several workers goes to all of them", lambda bench: play(bench, 4, rounds=4)),
    GradedTest("slots", 20, "Slots do not influence each other", lambda bench: play(bench, 3, slots=20, rounds=3)),
    GradedTest("other traffic", 25, "Other packets are forwarded or dropped, and change nothing",
               lambda bench: play(bench, 3, slots=6, rounds=3, noise=0.55)),
    GradedTest("many", 15, "Sixteen workers, with other traffic",
               lambda bench: play(bench, 16, slots=6, rounds=2, noise=0.2)),
]  # fmt: skip
