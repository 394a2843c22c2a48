"""Tests of the lab "Tunnels". The oracle moves headers in a list."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from midflight.labs.bench import Bench, GradedTest, Packet, compare
from midflight.labs.draw import draw_bytes, draw_ip, draw_mac, draw_port, packet_order
from midflight.labs.packets import ETHERNET, IPV4, UDP, Layout, header, join, udp_packet

__all__ = ["TESTS"]

NAME = "tunnels.p4"
TYPE = 0x88B5
TUNNEL = header("tunnel", "next:16 tunnel:16 hops:8 reserved:8", "tunnel hops")
LAYOUT = Layout(
    ETHERNET,
    {
        ETHERNET: ("type", {0x800: IPV4, TYPE: TUNNEL}),
        TUNNEL: ("next", {0x800: IPV4}),
        IPV4: ("protocol", {17: UDP}),
    },
)


@dataclass
class Tables:
    """The entries of a switch. Networks are numbers, the first three bytes of an IPv4 address.

    `enter` maps a network to the number of its tunnel and a port, `local` maps a network to a port, `transit` maps a
    tunnel to a port, and `leave` maps a tunnel to the next hop's MAC address and a port.
    """

    enter: dict[int, tuple[int, int]] = field(default_factory=dict)
    local: dict[int, int] = field(default_factory=dict)
    transit: dict[int, int] = field(default_factory=dict)
    leave: dict[int, tuple[int, int]] = field(default_factory=dict)

    def commands(self) -> list[str]:
        """Return the commands of simple_switch_CLI that add the entries."""
        return [
            *(f"table_add ingress.entry ingress.enter {net << 8:#x}/24 => {number} {port}"
              for net, (number, port) in self.enter.items()),
            *(f"table_add ingress.entry ingress.local {net << 8:#x}/24 => {port}" for net, port in self.local.items()),
            *(f"table_add ingress.core ingress.transit {number} => {port}" for number, port in self.transit.items()),
            *(f"table_add ingress.core ingress.leave {number} => {mac:#x} {port}"
              for number, (mac, port) in self.leave.items()),
        ]  # fmt: skip


def draw_tables(random: Random) -> Tables:
    """Return random entries, three of each kind; no two share a network or a tunnel."""
    nets = random.sample(range(10 << 16, 11 << 16), 6)
    numbers = random.sample(range(1, 1 << 16), 9)
    ports = random.sample(range(1, 60), 12)
    return Tables(
        enter={net: (number, port) for net, number, port in zip(nets[:3], numbers[:3], ports, strict=False)},
        local=dict(zip(nets[3:], ports[3:6], strict=True)),
        transit=dict(zip(numbers[3:6], ports[6:9], strict=True)),
        leave={number: (draw_mac(random), port) for number, port in zip(numbers[6:], ports[9:], strict=True)},
    )


def plain(random: Random, net: int) -> bytes:
    """Return a random UDP packet over IPv4 to an address of a network, given by its first three bytes."""
    return udp_packet(
        ethernet={"dst": draw_mac(random), "src": draw_mac(random)},
        ip={"dst": net << 8 | random.randrange(256), "src": draw_ip(random), "ttl": random.randrange(1, 256)},
        udp={"sport": draw_port(random), "dport": draw_port(random)},
        payload=draw_bytes(random),
    )


def tunnelled(random: Random, net: int, number: int, hops: int) -> bytes:
    """Return a random IPv4 packet, as by `plain`, in the tunnel of a number with some hops left."""
    inner = plain(random, net)
    outer = {"dst": draw_mac(random), "src": draw_mac(random), "type": TYPE}
    label = {"next": 0x800, "tunnel": number, "hops": hops}
    return join([(ETHERNET, outer), (TUNNEL, label)], inner[ETHERNET.size :])


def other(random: Random, number: int) -> bytes:
    """Return a random packet in the tunnel of a number that carries another protocol than IPv4."""
    outer = {"dst": draw_mac(random), "src": draw_mac(random), "type": TYPE}
    label = {"next": random.choice([0x0806, 0x86DD, 0x8847]), "tunnel": number, "hops": random.randrange(1, 256)}
    return join([(ETHERNET, outer), (TUNNEL, label)], draw_bytes(random))


def tunnel(tables: Tables, data: bytes) -> list[Packet]:
    """The oracle: return the packets that a switch with these entries sends for a packet, one or none, as (port,
    bytes).
    """
    parts, payload = LAYOUT.parse(data)
    names = [each.name for each, _ in parts]
    ethernet = parts[0][1]
    if names[1:2] == ["tunnel"]:
        label = parts[1][1]
        if label["hops"] == 0:
            return []
        if label["tunnel"] in tables.transit:
            label["hops"] -= 1
            return [(tables.transit[label["tunnel"]], join(parts, payload))]
        if label["tunnel"] in tables.leave:
            mac, port = tables.leave[label["tunnel"]]
            ethernet.update(dst=mac, type=label["next"])
            return [(port, join([parts[0], *parts[2:]], payload))]
        return []
    if names[1:2] != ["ipv4"]:
        return []
    net = parts[1][1]["dst"] >> 8
    if net in tables.local:
        return [(tables.local[net], data)]
    if net in tables.enter:
        number, port = tables.enter[net]
        label = {"next": ethernet["type"], "tunnel": number, "hops": 16}
        ethernet["type"] = TYPE
        return [(port, join([parts[0], (TUNNEL, label), *parts[1:]], payload))]
    return []


def play(bench: Bench, counts: dict[str, int]) -> None:
    """Send random packets, as many of each kind as counted, in random order to a new switch with random entries.

    Kinds are "enter", "local", "transit", "leave", "no hops", "other", and others for packets that are to be dropped.
    Incorrect if what leaves differs from the oracle's packets.
    """
    random, tables = bench.random, draw_tables(bench.random)
    nets = [*tables.enter, *tables.local]
    notes, sent = [], []
    for kind in packet_order(random, counts):
        note = ""
        match kind:
            case "enter":
                data = plain(random, random.choice([*tables.enter]))
            case "local":
                data = plain(random, random.choice([*tables.local]))
            case "transit" | "leave":
                hops = random.choice([1, 2, random.randrange(3, 256)])
                note = f"hops {hops}"
                chosen = tables.transit if kind == "transit" else tables.leave
                data = tunnelled(random, random.choice(nets), random.choice([*chosen]), hops)
            case "no hops":
                note = "hops 0"
                data = tunnelled(random, random.choice(nets), random.choice([*tables.transit, *tables.leave]), 0)
            case "other":
                note = "the tunnel carries a packet that is not IPv4"
                data = other(random, random.choice([*tables.transit, *tables.leave]))
            case _:
                note = "unknown"
                data = random.choice(
                    [
                        plain(random, 11 << 16 | random.getrandbits(16)),
                        tunnelled(random, random.choice(nets), random.choice([*tables.enter.values()])[0], 5),
                        join([(ETHERNET, {"dst": draw_mac(random), "type": 0x0806})], draw_bytes(random)),
                    ]
                )
        notes.append(note)
        sent.append((random.randrange(60, 70), data))
    got = bench.switch(NAME, *tables.commands()).send(sent).by_source(len(sent))
    compare(LAYOUT, sent, [tunnel(tables, data) for _, data in sent], got, notes)


def needs_tunnel(counts: dict[str, int]) -> dict[str, int]:
    """Return the counts with at least two "transit" packets, so that a program that drops everything fails the test."""
    return {**counts, "transit": max(2, counts.get("transit", 0))}


TESTS = [
    GradedTest("transit", 20, "The core forwards by the tunnel's number", lambda bench: play(bench, {"transit": 30})),
    GradedTest("enter", 25, "IPv4 packets enter a tunnel", lambda bench: play(bench, {"enter": 30, "local": 6})),
    GradedTest("leave", 20, "Packets leave a tunnel as they were", lambda bench: play(bench, {"leave": 30})),
    GradedTest("hops", 10, "A packet without hops left is dropped",
         lambda bench: play(bench, needs_tunnel({"no hops": 12, "leave": 12}))),
    GradedTest("other protocols", 10, "A tunnel carries more than IPv4",
         lambda bench: play(bench, needs_tunnel({"other": 20}))),
    GradedTest("all together", 15, "One switch with all roles", lambda bench: play(
        bench, {"enter": 20, "local": 20, "transit": 20, "leave": 20, "no hops": 8, "other": 8, "unknown": 20})),
]  # fmt: skip
