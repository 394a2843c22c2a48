"""Tests of the lab "Source routing". The oracle cuts bytes out of the packet."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from midflight.labs.bench import Bench, GradedTest, Packet, compare, require
from midflight.labs.draw import draw_bytes, draw_mac, packet_order
from midflight.labs.packets import ETHERNET, Header, Layout, Parts, header, join

__all__ = ["TESTS"]

NAME = "routing.p4"
TYPE = 0x88B7
PATH = header("path", "next:16 left:8 reserved:8", "left")
HOP = header("hop", "reserved:7 port:9", "port")


def following(parts: Parts) -> Header | None:
    """Return the header that follows those parsed so far, for `Layout`; None if the payload follows."""
    if len(parts) == 1:
        return PATH if parts[0][1]["type"] == TYPE else None
    return HOP if len(parts) - 2 < parts[1][1]["left"] else None


LAYOUT = Layout(ETHERNET, {}, following)


def packet(random: Random, ports: Sequence[int], left: int | None = None, following: int | None = None) -> bytes:
    """Return a random packet whose path consists of these ports.

    `left` is what its header says instead of the number of ports, and `following` the type of what follows the path.
    """
    parts: Parts = [
        (ETHERNET, {"dst": draw_mac(random), "src": draw_mac(random), "type": TYPE}),
        (PATH, {
            "next": random.choice([0x0800, 0x86DD, 0x0806]) if following is None else following,
            "left": len(ports) if left is None else left,
            "reserved": random.getrandbits(8),
        }),
    ]  # fmt: skip
    parts += [(HOP, {"port": port, "reserved": random.getrandbits(7)}) for port in ports]
    return join(parts, draw_bytes(random, 20, 60))


def step(data: bytes) -> list[Packet]:
    """The oracle: return what a switch sends because of a packet, one packet or none, as (port, bytes)."""
    if data[12:14] != TYPE.to_bytes(2, "big") or len(data) < 18:
        return []
    left = data[16]
    if not 1 <= left <= 8 or len(data) < 18 + 2 * left:
        return []
    port = int.from_bytes(data[18:20], "big") & 0x1FF
    rest = data[20:]
    if left == 1:
        return [(port, data[:12] + data[14:16] + rest)]
    return [(port, data[:16] + bytes([left - 1]) + data[17:18] + rest)]


def play(bench: Bench, packets: list[tuple[str, bytes]]) -> None:
    """Send packets, given as pairs of a note for the student and bytes, to a new switch by random ports.

    Incorrect if what leaves differs from the oracle's packets; the reason quotes the note.
    """
    sent = [(bench.random.randrange(1, 500), data) for _, data in packets]
    got = bench.switch(NAME).send(sent).by_source(len(sent))
    compare(LAYOUT, sent, [step(data) for _, data in sent], got, [note for note, _ in packets])


def draw_ports(random: Random, count: int) -> list[int]:
    """Return `count` different random ports, from 1 to 499."""
    return random.sample(range(1, 500), count)


def last(bench: Bench) -> None:
    """Test that the last switch of a path removes it from the packet. Incorrect as by `play`."""
    play(bench, [("1 hop", packet(bench.random, draw_ports(bench.random, 1))) for _ in range(25)])


def longer(bench: Bench) -> None:
    """Test that a switch takes one hop off a path of 2 to 7 hops. Incorrect as by `play`."""
    counts = [*range(2, 8)] * 5
    bench.random.shuffle(counts)
    play(bench, [(f"{count} hops", packet(bench.random, draw_ports(bench.random, count))) for count in counts])


def limits(bench: Bench) -> None:
    """Test that paths of 8 hops pass, and that longer, empty and damaged ones are dropped. Incorrect as by `play`."""
    random, made = bench.random, []
    for kind in packet_order(random, {"8 hops": 8, "9 hops": 5, "255 hops": 2, "no hops": 6, "cut off": 6}):
        match kind:
            case "no hops":
                data = packet(random, [], following=TYPE if random.random() < 0.3 else None)
            case "cut off":
                data = packet(random, draw_ports(random, 6))[: 18 + random.randrange(0, 11)]
            case _:
                data = packet(random, [random.randrange(1, 500) for _ in range(int(kind.split()[0]))])
        made.append((kind, data))
    play(bench, made)


def others(bench: Bench) -> None:
    """Test that packets without a path are dropped. Incorrect as by `play`."""
    random, made = bench.random, []
    for kind in packet_order(random, {"no path": 15, "2 hops": 10}):
        data = packet(random, draw_ports(random, 2))
        if kind == "no path":
            data = data[:12] + random.choice([0x0800, 0x88B6, 0x88B8]).to_bytes(2, "big") + data[14:]
        made.append((kind, data))
    play(bench, made)


def walk(bench: Bench) -> None:
    """Test whole paths: each packet is sent again by the port by which it left, to the end of its path. Incorrect
    otherwise.
    """
    switch = bench.switch(NAME)
    for count in [8, 1, 5, 8, 3]:
        ports = draw_ports(bench.random, count)
        data = packet(bench.random, ports)
        at = 500
        for number in range(count):
            sent = [(at, data)]
            wanted = step(data)
            got = switch.send(sent).by_source(1)
            compare(LAYOUT, sent, [wanted], got, [f"at switch {number + 1} of a path of {count} hops"])
            at, data = wanted[0]
        require(at == ports[-1], "the packet is not where it should be")


TESTS = [
    GradedTest("last hop", 20, "The last switch removes the path", last),
    GradedTest("more hops", 25, "Every switch takes one hop", longer),
    GradedTest("whole paths", 20, "A packet reaches the end of its path", walk),
    GradedTest("others", 10, "Packets without a path are dropped", others),
    GradedTest("limits", 25, "Paths of 8 hops pass; longer, empty and damaged ones are dropped", limits),
]
