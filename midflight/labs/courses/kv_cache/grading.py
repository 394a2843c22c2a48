"""Tests of the lab "Key-value cache". The grader plays the server, and the oracle is a dictionary."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random

from midflight.labs.bench import Bench, GradedTest, Packet, compare, require
from midflight.labs.draw import draw_bytes, draw_mac, draw_port, packet_order
from midflight.labs.packets import ETHERNET, IPV4, UDP, Header, Layout, Parts, header, join, udp_packet
from midflight.labs.switch import Switch

__all__ = ["TESTS"]

NAME = "cache.p4"
SERVER = 7000
KV = header("kv", "op:8 key:32 version:32 value:64", "op key version")
READ, WRITE, READ_REPLY, WRITE_REPLY = 1, 2, 3, 4
SERVER_ADDRESS, SERVER_PORT, CLIENT_PORT = 10 << 24 | 1 << 8 | 1, 9, 3


def following(parts: Parts) -> Header | None:
    """Return the header that comes after others."""
    last, values = parts[-1]
    if last is ETHERNET:
        return IPV4 if values["type"] == 0x0800 else None
    if last is IPV4:
        return UDP if values["protocol"] == 17 else None
    return KV if last is UDP and SERVER in (values["sport"], values["dport"]) else None


LAYOUT = Layout(ETHERNET, {}, following)


@dataclass
class Copy:
    """What the cache holds for a key."""

    valid: bool = False
    version: int = 0
    value: int = 0
    hits: int = 0


@dataclass
class Oracle:
    """The cache, by key, and what has missed it."""

    copies: dict[int, Copy]
    misses: int = 0
    notes: list[str] = field(default_factory=list)

    def arrive(self, port: int, data: bytes) -> list[Packet]:
        """Return what leaves because of a packet, and note the state of its key."""
        parts, payload = LAYOUT.parse(data)
        self.notes.append("")
        if len(parts) < 2:
            return []
        out = SERVER_PORT if parts[1][1]["dst"] == SERVER_ADDRESS else CLIENT_PORT
        passed = [(out, data)]
        if len(parts) < 4:
            return passed
        udp, kv = parts[2][1], parts[3][1]
        copy = self.copies.get(kv["key"])
        if copy is not None:
            state = "valid" if copy.valid else "invalid"
            self.notes[-1] = f"op {kv['op']}, the copy is {state}, version {copy.version}"
        if kv["op"] == READ and udp["dport"] == SERVER:
            if copy is None or not copy.valid:
                self.misses += 1
                return passed
            copy.hits += 1
            kv.update(op=READ_REPLY, version=copy.version, value=copy.value)
            for values, one, two in ((parts[0][1], "src", "dst"), (parts[1][1], "src", "dst"), (udp, "sport", "dport")):
                values[one], values[two] = values[two], values[one]
            udp["checksum"] = 0
            return [(port, join(parts, payload))]
        if copy is None:
            return passed
        if kv["op"] == WRITE and udp["dport"] == SERVER:
            copy.valid = False
        elif kv["op"] in (READ_REPLY, WRITE_REPLY) and udp["sport"] == SERVER:
            if kv["version"] > copy.version:
                copy.version, copy.value, copy.valid = kv["version"], kv["value"], True
            elif kv["version"] == copy.version and kv["op"] == WRITE_REPLY:
                copy.valid = True
        return passed


def message(random: Random, op: int, key: int, version: int = 0, value: int = 0) -> bytes:
    """Return a request to the server, or a reply of it."""
    client, port = 10 << 24 | 2 << 8 | random.randrange(1, 255), draw_port(random)
    down = op in (READ_REPLY, WRITE_REPLY)
    return udp_packet(
        ethernet={"dst": draw_mac(random), "src": draw_mac(random)},
        ip={"src": SERVER_ADDRESS if down else client, "dst": client if down else SERVER_ADDRESS, "ttl": 60},
        udp={"sport": SERVER if down else port, "dport": port if down else SERVER, "checksum": random.getrandbits(16)},
        payload=KV.pack({"op": op, "key": key, "version": version, "value": value}) + draw_bytes(random, 0, 9),
    )


def start(bench: Bench, keys: list[int]) -> tuple[Switch, Oracle, dict[int, int]]:
    """Return a switch that caches some keys, the oracle, and the indexes of the keys."""
    indexes = dict(zip(keys, bench.random.sample(range(256), len(keys)), strict=True))
    switch = bench.switch(
        NAME,
        f"table_add ingress.routes ingress.send {SERVER_ADDRESS:#x}/32 => {SERVER_PORT}",
        f"table_add ingress.routes ingress.send 10.0.2.0/24 => {CLIENT_PORT}",
        *(f"table_add ingress.hot ingress.cached {key} => {index}" for key, index in indexes.items()),
    )
    return switch, Oracle({key: Copy() for key in keys}), indexes


def play(bench: Bench, ops: dict[str, int], *, cached: int = 4, foreign: int = 2, versions: str = "rising") -> None:
    """Play messages in random order and compare packets, hits and misses."""
    random = bench.random
    keys = random.sample(range(1 << 32), cached + foreign)
    switch, oracle, indexes = start(bench, keys[:cached])
    latest = dict.fromkeys(keys, 0)
    sent: list[Packet] = []
    for op in packet_order(random, ops):
        key = random.choice(keys)
        match op:
            case "read":
                sent.append((random.randrange(20, 30), message(random, READ, key)))
            case "write":
                sent.append((random.randrange(20, 30), message(random, WRITE, key, value=random.getrandbits(64))))
            case "other":
                data = udp_packet(ethernet={"dst": 1}, ip={"dst": SERVER_ADDRESS}, udp={"sport": 5, "dport": 7001},
                                  payload=KV.pack({"op": READ, "key": key}))  # fmt: skip
                sent.append((8, data))
            case _:
                newer = latest[key] + 1
                version = newer if versions == "rising" else max(1, newer - random.choice([0, 0, 1, 1, 2, 3]))
                latest[key] = max(latest[key], version)
                kind = READ_REPLY if op == "read reply" else WRITE_REPLY
                sent.append((SERVER_PORT, message(random, kind, key, version, random.getrandbits(64))))
    wanted = [oracle.arrive(port, data) for port, data in sent]
    compare(LAYOUT, sent, wanted, switch.send(sent).by_source(len(sent)), oracle.notes)
    for key, index in indexes.items():
        (text,) = switch.commands(f"counter_read ingress.hits {index}")
        have, must = int(re.findall(r"\d+", text)[0]), oracle.copies[key].hits
        require(have == must, f"ingress.hits of index {index} is {have}, must be {must}")
    have = switch.register("ingress.misses", 0)
    require(have == oracle.misses, f"ingress.misses is {have}, must be {oracle.misses}")


TESTS = [
    GradedTest("misses", 10, "Keys that are not cached, or not valid yet, go to the server",
               lambda bench: play(bench, {"read": 20, "other": 4})),
    GradedTest("hits", 25, "Reads of valid copies are answered",
               lambda bench: play(bench, {"read": 60, "read reply": 15})),
    GradedTest("invalidation", 20, "A write makes the copy invalid until its reply",
               lambda bench: play(bench, {"read": 60, "write": 15, "write reply": 15})),
    GradedTest("versions", 20, "Replies that are late change nothing", lambda bench: play(
        bench, {"read": 120, "write": 25, "write reply": 40, "read reply": 30}, cached=2, foreign=0, versions="any")),
    GradedTest("everything", 25, "All together, with many keys", lambda bench: play(
        bench, {"read": 250, "write": 50, "write reply": 60, "read reply": 40, "other": 5}, cached=12, foreign=6,
        versions="any")),
]  # fmt: skip
