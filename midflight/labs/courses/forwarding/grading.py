"""Tests of the lab "IPv4 forwarding". The oracle is a router on Python dictionaries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

from midflight.labs.bench import Bench, GradedTest, Packet, compare
from midflight.labs.draw import draw_bytes, draw_ip, draw_mac, draw_port, packet_order
from midflight.labs.mutants import own_tests
from midflight.labs.packets import IP_LAYOUT, IPV4, join, sealed, udp_packet

__all__ = ["TESTS"]

NAME = "forwarding.p4"


@dataclass(frozen=True)
class Route:
    """A prefix, its length, the next hop's MAC address, and the port."""

    prefix: int
    length: int
    mac: int
    port: int

    def matches(self, address: int) -> bool:
        """Return whether an IPv4 address, a number, is below the prefix."""
        return address >> (32 - self.length) == self.prefix >> (32 - self.length)

    def command(self) -> str:
        """Return the command of simple_switch_CLI that adds the route to the table `ingress.routes`."""
        return f"table_add ingress.routes ingress.forward {self.prefix:#x}/{self.length} => {self.mac:#x} {self.port}"


def draw_routes(random: Random, *, nested: bool) -> list[Route]:
    """Return six random routes of 24 bits below 10.0.0.0/8.

    With `nested`, each is inside a route of 16 bits and has a route of 32 bits inside; otherwise, all are disjoint.
    """
    made = {}
    for number in range(1, 7):
        prefix = 10 << 24 | number << 16 | random.getrandbits(8) << 8
        made[prefix, 24] = number
        if nested:
            made[10 << 24 | number << 16, 16] = 7 + number
            host = prefix | random.randrange(1, 255)
            made[host, 32] = 20 + number
    return [Route(prefix, length, draw_mac(random), port) for (prefix, length), port in made.items()]


def address_of(random: Random, routes: list[Route]) -> int:
    """Return a random address below the prefix of one of the routes, chosen at random."""
    route = random.choice(routes)
    return route.prefix | random.getrandbits(32 - route.length) if route.length < 32 else route.prefix


def packet_to(random: Random, address: int, **ip: int) -> bytes:
    """Return a valid UDP packet to an IPv4 address, random otherwise. `ip` are other fields of the IPv4 header, by
    name.
    """
    return udp_packet(
        ethernet={"dst": draw_mac(random), "src": draw_mac(random)},
        ip={"dst": address, "src": draw_ip(random), "ttl": random.randrange(3, 256), **ip},
        udp={"sport": draw_port(random), "dport": draw_port(random)},
        payload=draw_bytes(random),
    )


def routed(routes: list[Route], data: bytes) -> list[Packet]:
    """The oracle: return the packets that a router sends for a packet, one or none, as (port, bytes)."""
    parts, payload = IP_LAYOUT.parse(data)
    if len(parts) < 2:
        return []
    (_, ethernet), (_, ip) = parts[0], parts[1]
    found = sorted((each for each in routes if each.matches(ip["dst"])), key=lambda each: each.length)
    if not found or ip["ttl"] <= 1 or ip["ihl"] != 5 or sealed(ip)["checksum"] != ip["checksum"]:
        return []
    best = found[-1]
    ethernet.update(src=ethernet["dst"], dst=best.mac)
    parts[1] = (IPV4, sealed({**ip, "ttl": ip["ttl"] - 1}))
    return [(best.port, join(parts, payload))]


def play(bench: Bench, routes: list[Route], packets: list[tuple[str, bytes]], *, ports_only: bool = False) -> None:
    """Send packets, given as pairs of a note for the student and bytes, to a new switch with the routes, by random
    ports.

    Incorrect if what leaves differs from the oracle's packets, or, with `ports_only`, from their ports.
    """
    switch = bench.switch(NAME, *(each.command() for each in routes))
    sent = [(bench.random.randrange(1, 30), data) for _, data in packets]
    got = switch.send(sent).by_source(len(sent))
    wanted = [routed(routes, data) for _, data in sent]
    if ports_only:
        got, wanted = ([[(port, b"") for port, _ in each] for each in side] for side in (got, wanted))
    compare(IP_LAYOUT, sent, wanted, got, [note for note, _ in packets])


def ports(bench: Bench) -> None:
    """Test that packets leave by the port of their route, whatever their bytes. Incorrect as by `play`."""
    routes = draw_routes(bench.random, nested=False)
    packets = [("", packet_to(bench.random, address_of(bench.random, routes))) for _ in range(30)]
    play(bench, routes, packets, ports_only=True)


def fields(bench: Bench) -> None:
    """Test that packets leave with the MAC addresses, TTL and checksum that a router writes. Incorrect as by `play`."""
    routes = draw_routes(bench.random, nested=False)
    play(bench, routes, [("", packet_to(bench.random, address_of(bench.random, routes))) for _ in range(60)])


def longest(bench: Bench) -> None:
    """Test that the longest prefix wins among nested routes. Incorrect as by `play`."""
    routes = draw_routes(bench.random, nested=True)
    play(bench, routes, [("", packet_to(bench.random, address_of(bench.random, routes))) for _ in range(120)])


def expired(bench: Bench) -> None:
    """Test that packets with a TTL of 0 or 1 are dropped, and others are not. Incorrect as by `play`."""
    routes = draw_routes(bench.random, nested=False)
    packets = [
        (f"ttl {ttl}", packet_to(bench.random, address_of(bench.random, routes), ttl=ttl))
        for ttl in [*range(5), 0, 1, 2, 255]
    ]
    bench.random.shuffle(packets)
    play(bench, routes, packets)


def unwanted(bench: Bench) -> None:
    """Test that packets without a route, of another type than IPv4, or with IPv4 options are dropped. Incorrect as by
    `play`.
    """
    routes = draw_routes(bench.random, nested=False)
    packets = []
    for kind in packet_order(bench.random, {"": 10, "no route": 6, "not IPv4": 8, "options": 6}):
        good = address_of(bench.random, routes)
        if kind == "no route":
            data = packet_to(bench.random, draw_ip(bench.random, 172 << 24))
        elif kind == "options":
            data = packet_to(bench.random, good, ihl=6)
        else:
            data = packet_to(bench.random, good)
            if kind:
                data = data[:12] + bench.random.choice([0x0806, 0x86DD, 0x0801, 0x8847]).to_bytes(2, "big") + data[14:]
        packets.append((kind, data))
    play(bench, routes, packets)


def damaged(bench: Bench) -> None:
    """Test that packets with a wrong IPv4 checksum are dropped. Incorrect as by `play`."""
    routes = draw_routes(bench.random, nested=False)
    packets = []
    for kind in packet_order(bench.random, {"": 10, "wrong checksum": 20}):
        data = bytearray(packet_to(bench.random, address_of(bench.random, routes)))
        if kind:
            at = bench.random.choice([18, 19, 24, 25, 26, 27, 28, 29])
            data[at] ^= 1 << bench.random.randrange(8)
        packets.append((kind, bytes(data)))
    play(bench, routes, packets)


TESTS = [
    GradedTest("ports", 10, "Packets leave by the port of their route", ports),
    GradedTest("fields", 20, "MAC addresses, TTL and checksum are those of a router", fields),
    GradedTest("longest prefix", 15, "The longest prefix wins", longest),
    GradedTest("ttl", 15, "A packet whose TTL is used up is dropped", expired),
    GradedTest("unwanted", 10, "Packets without a route, without IPv4 or with options are dropped", unwanted),
    GradedTest("damaged", 10, "A packet with a wrong checksum is dropped", damaged),
    *own_tests(Path(__file__).parent, "tests.stf", first=5, points=4),
]
