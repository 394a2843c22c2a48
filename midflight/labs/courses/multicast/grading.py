"""Tests of the lab "Multicast". The oracle makes a copy for each port of a group."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from midflight.labs.bench import Bench, GradedTest, Packet, compare
from midflight.labs.draw import draw_bytes, draw_mac, draw_port, packet_order
from midflight.labs.packets import IP_LAYOUT, IPV4, join, sealed, udp_packet

__all__ = ["TESTS"]

NAME = "multicast.p4"
GROUP = 0b1110 << 28


@dataclass(frozen=True)
class Plan:
    """The entries of a switch, by numbers.

    `groups` has the ports of each group address, `sources` the port of each source network by the first two bytes of
    its addresses, and `links` the MAC address and the TTL threshold of each port.
    """

    groups: dict[int, list[int]]
    sources: dict[int, int]
    links: dict[int, tuple[int, int]]

    def commands(self) -> list[str]:
        """Return the commands of simple_switch_CLI that create the groups and add the entries."""
        made = []
        for number, (address, ports) in enumerate(self.groups.items()):
            made += [
                f"mc_mgrp_create {number * 3 + 1}",
                f"mc_node_create {number + 1} {' '.join(map(str, ports))}",
                f"mc_node_associate {number * 3 + 1} {number}",
                f"table_add ingress.groups ingress.replicate {address:#x} => {number * 3 + 1}",
            ]
        made += [f"table_add ingress.sources ingress.upstream {net << 16:#x}/16 => {port}"
                 for net, port in self.sources.items()]  # fmt: skip
        return made + [f"table_add egress.links egress.link {port} => {mac:#x} {threshold}"
                       for port, (mac, threshold) in self.links.items()]  # fmt: skip


def draw_plan(random: Random, *, thresholds: bool = False) -> Plan:
    """Return random entries: four groups, a local group and two unicast addresses, four sources, and eight links.

    The thresholds of links are random, 1 to 63, with `thresholds`, and 1 otherwise. One port has no link.
    """
    ports = random.sample(range(1, 60), 9)
    addresses = [*random.sample(range(GROUP + (1 << 24), GROUP + (1 << 28)), 4), GROUP | random.getrandbits(8)]
    extra = [10 << 24 | random.getrandbits(24), 0b1111 << 28 | random.getrandbits(28)]
    return Plan(
        groups={each: random.sample(ports, random.randint(3, 6)) for each in [*addresses, *extra]},
        sources={net: random.choice(ports[:8]) for net in random.sample(range(10 << 8, 11 << 8), 4)},
        links={port: (draw_mac(random), random.randrange(1, 64) if thresholds else 1) for port in ports[:8]},
    )


def packet_from(random: Random, net: int, group: int, ttl: int) -> bytes:
    """Return a random UDP packet from a network, given by the first two bytes of its addresses, to a group address."""
    return udp_packet(
        ethernet={"dst": draw_mac(random), "src": draw_mac(random)},
        ip={"src": net << 16 | random.getrandbits(16), "dst": group, "ttl": ttl},
        udp={"sport": draw_port(random), "dport": draw_port(random)},
        payload=draw_bytes(random),
    )


def copies(plan: Plan, packet: Packet) -> list[Packet]:
    """The oracle: return the copies that leave because of a packet, given as (port, bytes), each as (port, bytes)."""
    port, data = packet
    parts, payload = IP_LAYOUT.parse(data)
    if len(parts) < 2:
        return []
    ip = parts[1][1]
    if not GROUP <= ip["dst"] < GROUP + (1 << 28) or ip["dst"] < GROUP + 256 or ip["ttl"] <= 1:
        return []
    if plan.sources.get(ip["src"] >> 16) != port:
        return []
    left = ip["ttl"] - 1
    made = []
    for out in plan.groups.get(ip["dst"], []):
        if out == port or out not in plan.links or left < plan.links[out][1]:
            continue
        outer = {**parts[0][1], "src": plan.links[out][0], "dst": 0x01005E << 24 | ip["dst"] % (1 << 23)}
        copy = [(parts[0][0], outer), (IPV4, sealed({**ip, "ttl": left})), *parts[2:]]
        made.append((out, join(copy, payload)))
    return made


def play(bench: Bench, counts: dict[str, int], *, thresholds: bool = False, ports_only: bool = False) -> None:
    """Send random packets, as many of each kind as counted, in random order to a new switch with random entries.

    The kinds are "good", "wrong port", "unknown source", "unknown group", "local group", "unicast", "low" and "any ttl"
    (of the TTL) and "not IPv4". Incorrect if what leaves differs from the oracle's copies, or, with `ports_only`, from
    their ports.
    """
    random, plan = bench.random, draw_plan(bench.random, thresholds=thresholds)
    good, sent, notes = [*plan.groups][:4], [], []
    local, inner, outer = [*plan.groups][4:]
    for kind in packet_order(random, counts):
        net = random.choice([*plan.sources])
        port, group, ttl, note = plan.sources[net], random.choice(good), random.randrange(65, 255), kind
        match kind:
            case "wrong port":
                port = random.choice([each for each in plan.links if each != port])
            case "unknown source":
                net, port = 172 << 8 | random.randrange(256), random.choice([*plan.links, 0])
            case "unknown group":
                group = random.choice(good) ^ 1
            case "local group":
                group = local
            case "unicast":
                group = random.choice([inner, outer])
            case "low":
                ttl = random.choice([1, 1, 2, 3, 0])
                note = f"ttl {ttl}"
            case "any ttl":
                thresholds_here = [each for _, each in plan.links.values()]
                ttl = max(2, random.choice(thresholds_here) + random.choice([-1, 0, 1, 2]))
                note = f"ttl {ttl}"
        data = packet_from(random, net, group, ttl)
        if kind == "not IPv4":
            data = data[:12] + b"\x86\xdd" + data[14:]
        sent.append((port, data))
        notes.append(note if note != "good" else "")
    got = bench.switch(NAME, *plan.commands()).send(sent).by_source(len(sent))
    wanted = [copies(plan, each) for each in sent]
    if ports_only:
        got, wanted = ([[(port, b"") for port, _ in each] for each in side] for side in (got, wanted))
    compare(IP_LAYOUT, sent, wanted, got, notes)


TESTS = [
    GradedTest("replication", 20, "Copies leave by the ports of the group, and not where the packet came from",
               lambda bench: play(bench, {"good": 30}, ports_only=True)),
    GradedTest("copies", 25, "Each copy has the addresses of its link, the TTL and the checksum",
               lambda bench: play(bench, {"good": 40})),
    GradedTest("reverse path", 20, "Packets from another port than their source's are dropped",
               lambda bench: play(bench, {"good": 15, "wrong port": 15, "unknown source": 10})),
    GradedTest("thresholds", 15, "A copy below the threshold of its link does not leave",
               lambda bench: play(bench, {"any ttl": 60}, thresholds=True)),
    GradedTest("unwanted", 20, "What must not be replicated is dropped", lambda bench: play(
        bench, {"good": 10, "unknown group": 5, "local group": 6, "unicast": 10, "low": 16, "not IPv4": 4})),
]  # fmt: skip
