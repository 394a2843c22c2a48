"""Tests of the lab "Link monitoring". The oracle keeps a list of what left by each port."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from midflight.labs.bench import Bench, GradedTest, Packet, compare
from midflight.labs.draw import draw_bytes, draw_mac, draw_port, packet_order
from midflight.labs.packets import ETHERNET, IPV4, Header, Layout, Parts, header, join, udp_packet
from midflight.labs.switch import Switch

__all__ = ["TESTS"]

NAME = "monitor.p4"
TYPE = 0x88B9
PROBE = header("probe", "target:8 count:8", "target count")
RECORD = header("record", "switch:16 port:16 packets:32 bytes:32 elapsed:32")


def following(parts: Parts) -> Header | None:
    """Return the header that follows those parsed so far, for `Layout`; None if the payload follows."""
    if len(parts) == 1:
        return {TYPE: PROBE, 0x0800: IPV4}.get(parts[0][1]["type"])
    if parts[1][0] is PROBE:
        return RECORD if len(parts) - 2 < parts[1][1]["count"] else None
    return None


LAYOUT = Layout(ETHERNET, {}, following)


@dataclass
class Oracle:
    """The oracle: a switch with its number.

    `routes` has the port of each network, by the third byte of its addresses, and `targets` that of each target of
    probes. `left` has the sizes of the packets that have left by each port since its last record, and `since` the time
    of that in us.
    """

    number: int
    routes: dict[int, int]
    targets: dict[int, int]
    left: dict[int, list[int]] = field(default_factory=dict)
    since: dict[int, int] = field(default_factory=dict)

    def start(self, bench: Bench) -> Switch:
        """Return a new switch with the submitted program and the same entries. Incorrect if the file is missing or an
        entry is refused.
        """
        return bench.switch(
            NAME,
            f"table_set_default egress.identity egress.name {self.number}",
            *(f"table_add ingress.routes ingress.send 10.0.{net}.0/24 => {port}" for net, port in self.routes.items()),
            *(f"table_add ingress.probes ingress.toward {each} => {port}" for each, port in self.targets.items()),
        )

    def arrive(self, time: int, data: bytes) -> list[Packet]:
        """Return what must leave because of a packet that arrives at a time in us, one packet or none, as (port,
        bytes).
        """
        parts, payload = LAYOUT.parse(data)
        if len(parts) < 2:
            return []
        second, values = parts[1]
        if second is IPV4:
            port = self.routes.get(values["dst"] >> 8 & 255)
            if port is None:
                return []
            self.left.setdefault(port, []).append(len(data))
            return [(port, data)]
        port = self.targets.get(values["target"])
        if port is None:
            return []
        if values["count"] < 8:
            gone = self.left.pop(port, [])
            record = {"switch": self.number, "port": port, "packets": len(gone), "bytes": sum(gone),
                      "elapsed": time - self.since.get(port, 0)}  # fmt: skip
            self.since[port] = time
            values["count"] += 1
            parts.insert(2, (RECORD, record))
        return [(port, join(parts, payload))]


def draw_switch(random: Random, number: int | None = None) -> Oracle:
    """Return a random switch with three ports, each with a network and a target. Without `number`, its number is
    random, too.
    """
    ports = random.sample(range(1, 60), 3)
    networks = random.sample(range(1, 255), 3)
    targets = random.sample(range(256), 3)
    chosen = random.randrange(1, 1 << 16) if number is None else number
    return Oracle(chosen, dict(zip(networks, ports, strict=True)), dict(zip(targets, ports, strict=True)))


def traffic(random: Random, net: int) -> bytes:
    """Return a random IPv4 packet to a network, given by the third byte of its addresses."""
    return udp_packet(
        ethernet={"dst": draw_mac(random), "src": draw_mac(random)},
        ip={"src": 10 << 24 | 9, "dst": 10 << 24 | net << 8 | random.randrange(256)},
        udp={"sport": draw_port(random), "dport": draw_port(random)},
        payload=draw_bytes(random, 0, 1200),
    )


def probe(random: Random, target: int, count: int = 0) -> bytes:
    """Return a probe to a target, with `count` random records of other switches."""
    parts: Parts = [
        (ETHERNET, {"dst": draw_mac(random), "src": draw_mac(random), "type": TYPE}),
        (PROBE, {"target": target, "count": count}),
    ]
    parts += [(RECORD, {name: random.getrandbits(width) for name, width in RECORD.fields}) for _ in range(count)]
    return join(parts, draw_bytes(random, 0, 30))


def play(bench: Bench, counts: dict[str, int], records: tuple[int, ...] = (0,)) -> None:
    """Send random packets, as many of each kind as counted, in random order at random times to a new switch.

    The kinds are "traffic", "probe", whose numbers of records are of `records`, and others for packets that are to be
    dropped. Incorrect if what leaves differs from the oracle's packets.
    """
    random, oracle = bench.random, draw_switch(bench.random)
    switch = oracle.start(bench)
    time, sent, wanted, notes, arrivals = 0, [], [], [], []
    for kind in packet_order(random, counts):
        time += random.choice([1, 10, 500, 20_000])
        note = ""
        match kind:
            case "traffic":
                data = traffic(random, random.choice([*oracle.routes]))
            case "probe":
                count = random.choice(records)
                note = f"a probe with {count} records"
                data = probe(random, random.choice([*oracle.targets]), count)
            case _:
                note = "unknown"
                data = random.choice([
                    probe(random, next(each for each in range(256) if each not in oracle.targets)),
                    traffic(random, next(each for each in range(1, 256) if each not in oracle.routes)),
                    join([(ETHERNET, {"dst": draw_mac(random), "type": 0x0806})], draw_bytes(random)),
                ])  # fmt: skip
        port = random.randrange(60, 70)
        sent.append((port, data))
        arrivals.append((time * 1000, port, data))
        wanted.append(oracle.arrive(time, data))
        notes.append(note)
    compare(LAYOUT, sent, wanted, switch.play(arrivals).by_source(len(sent)), notes)


def chain(bench: Bench) -> None:
    """Test that probes collect the records of three switches in a row, with links of 7 us. Incorrect otherwise."""
    random = bench.random
    oracles = [draw_switch(random) for _ in range(3)]
    target, net = random.randrange(256), random.randrange(1, 255)
    for each in oracles:
        ports = [*each.routes.values()]
        each.targets = {target: ports[0]}
        each.routes = {net: ports[0], (net + 1) % 256: ports[1]}
    switches = [each.start(bench) for each in oracles]
    for number in range(40):
        data = probe(random, target) if number % 8 == 7 else traffic(random, random.choice([net, (net + 1) % 256]))
        time, at = number * 1000 + random.randrange(500), random.randrange(60, 70)
        for place, (oracle, switch) in enumerate(zip(oracles, switches, strict=True)):
            wanted = oracle.arrive(time, data)
            got = switch.play([(time * 1000, at, data)]).by_source(1)
            compare(LAYOUT, [(at, data)], [wanted], got, [f"at switch {place + 1} of 3"])
            at, data = wanted[0]
            time += 7


TESTS = [
    GradedTest("probes", 20, "A probe reaches its target with a record of its switch",
               lambda bench: play(bench, {"probe": 20})),
    GradedTest("counting", 25, "A record has the packets and bytes since the last one",
               lambda bench: play(bench, {"probe": 15, "traffic": 80})),
    GradedTest("records", 20, "Probes keep the records of other switches",
               lambda bench: play(bench, {"probe": 25, "traffic": 20}, (0, 1, 2, 5, 6))),
    GradedTest("full", 10, "A full probe gets no record, and resets nothing",
               lambda bench: play(bench, {"probe": 30, "traffic": 30}, (0, 7, 8))),
    GradedTest("unwanted", 10, "Other packets are dropped",
               lambda bench: play(bench, {"probe": 8, "traffic": 8, "unknown": 15})),
    GradedTest("chain", 15, "A probe collects the counters of three switches", chain),
]  # fmt: skip
