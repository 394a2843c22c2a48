"""Tests of the lab "ECMP with an action selector". They know what a flow is, and not how it is hashed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from random import Random

from midflight.labs.bench import Bench, GradedTest, Incorrect, Packet, compare, require
from midflight.labs.draw import draw_bytes, draw_ip, draw_mac
from midflight.labs.packets import ETHERNET, IP_LAYOUT, IPV4, TCP, UDP, join, sealed
from midflight.labs.switch import Switch

__all__ = ["TESTS"]

NAME = "ecmp.p4"
PREFIX = 10 << 24 | 7 << 16


@dataclass(frozen=True)
class Flow:
    """What identifies a flow: IPv4 addresses, protocol and ports, as numbers; ports are 0 for protocols without
    ports.
    """

    src: int
    dst: int
    protocol: int
    sport: int
    dport: int

    def packet(self, random: Random, **ip: int) -> bytes:
        """Return an IPv4 packet of the flow, with random bytes in everything else. `ip` are other fields of the IPv4
        header, by name.
        """
        drawn = {
            "version": 4, "ihl": 5, "dscp": random.getrandbits(6), "ecn": random.getrandbits(2),
            "ttl": random.randrange(2, 256), "id": random.getrandbits(16), "src": self.src, "dst": self.dst,
            "protocol": self.protocol, **ip,
        }  # fmt: skip
        rest = draw_bytes(random, 20, 60)
        if drawn.get("fragment", 0) == 0 and self.protocol in (6, 17):
            ports = {"sport": self.sport, "dport": self.dport, "length": UDP.size + len(rest)}
            rest = (TCP if self.protocol == 6 else UDP).pack(ports) + rest
        outer = {"dst": draw_mac(random), "src": draw_mac(random), "type": 0x0800}
        drawn["length"] = IPV4.size + len(rest)
        return join([(ETHERNET, outer), (IPV4, sealed(drawn))], rest)


def draw_flow(random: Random, protocol: int | None = None) -> Flow:
    """Return a random flow to an address below 10.7.0.0/16; without a protocol, it is TCP or UDP."""
    chosen = random.choice([6, 17]) if protocol is None else protocol
    ports = (random.getrandbits(16), random.getrandbits(16)) if chosen in (6, 17) else (0, 0)
    return Flow(draw_ip(random), PREFIX | random.getrandbits(16), chosen, *ports)


def start(bench: Bench, count: int = 4) -> tuple[Switch, dict[int, int]]:
    """Return a new switch whose table routes 10.7.0.0/16 to a group of `count` random next hops, and their MAC
    addresses by port.

    Incorrect if the file is missing, ProgramError if the program does not compile or refuses the entry.
    """
    switch = bench.switch(NAME)
    hops = {port: draw_mac(bench.random) for port in bench.random.sample(range(1, 40), count)}
    actions = [("ingress.next", {"mac": mac, "port": port}, 1, port) for port, mac in hops.items()]
    switch.select("ingress.routes", {"hdr.ipv4.dst": [PREFIX, 16]}, actions)
    return switch, hops


def ports_of(switch: Switch, packets: list[bytes], random: Random | None = None) -> list[int]:
    """Send packets, and return the port by which each leaves. Incorrect if one is dropped, or leaves more than once.

    They arrive by port 50, or with `random` by random ports.
    """
    sent = [(50 if random is None else random.randrange(50, 60), data) for data in packets]
    found = []
    for number, left in enumerate(switch.send(sent).by_source(len(sent))):
        if len(left) != 1:
            how = "is dropped" if not left else "leaves more than once"
            raise Incorrect(f"packet {number + 1} {how}: {IP_LAYOUT.brief(packets[number])}")
        found.append(left[0][0])
    return found


def routing(bench: Bench) -> None:
    """Test that packets leave by a port of the group, with the addresses, TTL and checksum that a router writes, and
    that packets without a route, with a TTL of 0 or 1 or without IPv4 are dropped. Incorrect otherwise.
    """
    random = bench.random
    switch, hops = start(bench)
    sent = []
    for ttl in [*[random.randrange(2, 256) for _ in range(40)], 0, 1, 1, 2]:
        sent.append((50, draw_flow(random).packet(random, ttl=ttl)))
    sent += [(50, replace(draw_flow(random), dst=172 << 24 | 5).packet(random)) for _ in range(3)]
    sent += [(50, data[:12] + b"\x86\xdd" + data[14:]) for _, data in sent[:3]]
    random.shuffle(sent)
    got = switch.send(sent).by_source(len(sent))
    wanted: list[list[Packet]] = []
    for (_, data), left in zip(sent, got, strict=True):
        parts, payload = IP_LAYOUT.parse(data)
        if len(parts) < 2 or parts[1][1]["ttl"] < 2 or parts[1][1]["dst"] >> 16 != PREFIX >> 16:
            wanted.append([])
            continue
        port = left[0][0] if left and left[0][0] in hops else min(hops)
        parts[0][1].update(src=parts[0][1]["dst"], dst=hops[port])
        parts[1] = (IPV4, sealed({**parts[1][1], "ttl": parts[1][1]["ttl"] - 1}))
        wanted.append([(port, join(parts, payload))])
    compare(IP_LAYOUT, sent, wanted, got)


def together(bench: Bench) -> None:
    """Test that all packets of a flow leave by one port, with any values in their other fields. Incorrect otherwise."""
    random = bench.random
    switch, _ = start(bench)
    for protocol in [6, 17, 6, 17, 1, 47]:
        flow = draw_flow(random, protocol)
        packets = [flow.packet(random) for _ in range(25)]
        used = ports_of(switch, packets, random)
        other = next((at for at, port in enumerate(used) if port != used[0]), None)
        if other is not None:
            raise Incorrect(
                f"packets of one flow leave by ports {used[0]} and {used[other]}:\n"
                f"  packet 1: {IP_LAYOUT.brief(packets[0])}\n  packet {other + 1}: {IP_LAYOUT.brief(packets[other])}"
            )


def influence(bench: Bench) -> None:
    """Test that every field of a flow has an influence on its port. Incorrect if 40 flows stay where they are when a
    field changes.
    """
    random = bench.random
    switch, _ = start(bench, 7)  # a CRC is linear, so a change may not show in it modulo a power of two
    for protocol, name in ((6, "tcp"), (17, "udp")):
        flows = [draw_flow(random, protocol) for _ in range(40)]
        before = ports_of(switch, [each.packet(random) for each in flows])
        changes = {
            "ipv4.src": [replace(each, src=each.src ^ 1 << random.randrange(24)) for each in flows],
            "ipv4.dst": [replace(each, dst=each.dst ^ 1 << random.randrange(16)) for each in flows],
            "ipv4.protocol": [replace(each, protocol=23 - protocol) for each in flows],
            f"{name}.sport": [replace(each, sport=each.sport ^ 1 << random.randrange(16)) for each in flows],
            f"{name}.dport": [replace(each, dport=each.dport ^ 1 << random.randrange(16)) for each in flows],
        }
        for field, changed in changes.items():
            after = ports_of(switch, [each.packet(random) for each in changed])
            same = sum(one == two for one, two in zip(before, after, strict=True))
            require(same < 40, f"{field} has no influence on the path: 40 flows stay where they are when it changes")


def balance(bench: Bench) -> None:
    """Test that 400 random flows are spread over groups of 2, 3 and 8 ports. Incorrect if a port gets less than half of
    its share, or more than 1.6 times as much.
    """
    for count in (2, 3, 8):
        switch, hops = start(bench, count)
        used = Counter(ports_of(switch, [draw_flow(bench.random).packet(bench.random) for _ in range(400)]))
        for port in hops:
            share = used[port] * count / 400
            require(0.5 < share < 1.6, f"port {port} of {count} gets {used[port]} of 400 flows")


def fragments(bench: Bench) -> None:
    """Test that the fragments of a datagram leave by one port. Incorrect otherwise."""
    random = bench.random
    switch, _ = start(bench)
    for number in range(24):
        flow = draw_flow(random, 6 if number % 2 else 17)
        identification = random.getrandbits(16)
        pieces = [
            flow.packet(random, id=identification, flags=1),
            flow.packet(random, id=identification, flags=1, fragment=8),
            flow.packet(random, id=identification, fragment=16),
        ]
        used = ports_of(switch, pieces)
        require(
            len({*used}) == 1,
            f"the fragments of a datagram leave by ports {', '.join(map(str, used))}: {IP_LAYOUT.brief(pieces[0])}",
        )


def failures(bench: Bench) -> None:
    """Test that a port that is down gets no packets, and that flows return to their ports when it is up again.
    Incorrect otherwise.
    """
    switch, hops = start(bench)
    down = bench.random.choice([*hops])
    packets = [draw_flow(bench.random).packet(bench.random) for _ in range(60)]
    before = ports_of(switch, packets)
    switch.set_port(down, up=False)
    require(down not in ports_of(switch, packets), f"packets leave by port {down}, whose link is down")
    switch.set_port(down, up=True)
    require(ports_of(switch, packets) == before, "after the link is up again, flows do not return to their paths")


TESTS = [
    GradedTest("routing", 15, "Each packet is routed: port, MAC addresses, TTL and checksum", routing),
    GradedTest("one path", 20, "Packets of a flow leave by one port", together),
    GradedTest("influence", 25, "Every field of a flow has an influence", influence),
    GradedTest("balance", 15, "Flows are spread evenly", balance),
    GradedTest("fragments", 15, "Fragments of a datagram leave by one port", fragments),
    GradedTest("failures", 10, "A failed link is left out", failures),
]
