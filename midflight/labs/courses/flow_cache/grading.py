"""Tests of the lab "Flow cache". The grader is the controller, with a dictionary of flows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random

from finsy.proto import p4r

from midflight.labs.bench import Bench, GradedTest, Incorrect, Packet, compare, require
from midflight.labs.draw import draw_bytes, draw_ip, draw_mac, draw_port, packet_order
from midflight.labs.packets import ETHERNET, IP_LAYOUT, IPV4, TCP, UDP, join, sealed
from midflight.labs.switch import Played, ProgramError, Switch

__all__ = ["TESTS"]

NAME = "cache.p4"
Key = tuple[int, int, int, int, int]
Wanted = tuple[list[Packet], tuple[int, int, bytes] | None]


def draw_key(random: Random) -> Key:
    """Return a random flow as numbers: source, destination, protocol (TCP, UDP or ICMP) and ports, 0 for ICMP."""
    protocol = random.choice([6, 17, 17, 1])
    ports = (0, 0) if protocol == 1 else (draw_port(random), draw_port(random))
    return draw_ip(random), draw_ip(random), protocol, *ports


def packet_of(random: Random, key: Key, ttl: int | None = None) -> bytes:
    """Return a random packet of a flow. Without `ttl`, its TTL is 3 to 255."""
    src, dst, protocol, sport, dport = key
    rest = draw_bytes(random, 8, 40)
    if protocol != 1:
        rest = (TCP if protocol == 6 else UDP).pack({"sport": sport, "dport": dport}) + rest
    ip = {"version": 4, "ihl": 5, "src": src, "dst": dst, "protocol": protocol, "length": IPV4.size + len(rest)}
    ip["ttl"] = random.randrange(3, 256) if ttl is None else ttl
    outer = {"dst": draw_mac(random), "src": draw_mac(random), "type": 0x0800}
    return join([(ETHERNET, outer), (IPV4, sealed(ip))], rest)


@dataclass
class Oracle:
    """The oracle, a controller with its entries: in `flows` the port of a flow, or None for a denied one.

    `used` has the packets and bytes that an entry has counted, by flow.
    """

    flows: dict[Key, int | None] = field(default_factory=dict)
    used: dict[Key, list[int]] = field(default_factory=dict)

    def add(self, switch: Switch, key: Key, port: int | None) -> None:
        """Write the entry of a flow, here and to the switch: it passes to `port`, or is denied for None.

        Incorrect if the switch refuses the entry.
        """
        self.flows[key] = port
        self.used[key] = [0, 0]
        words = " ".join(str(each) for each in key)
        action = "ingress.deny" if port is None else "ingress.pass"
        try:
            switch.commands(f"table_add ingress.flows {action} {words} => {'' if port is None else port}".strip())
        except ProgramError as error:
            raise Incorrect(f"an entry of the controller is refused: {error}") from None

    def arrive(self, port: int, data: bytes, extra: int = 0) -> Wanted:
        """Return what must leave because of a packet that arrives by a port, and the packet-in (port, reason, bytes)
        or None.

        A packet that is not IPv4 is dropped. Reason 2 is a TTL of 0 or 1; otherwise, reason 1 is a flow without an
        entry. Any other packet counts in `used`, with the `extra` bytes in front of it that counters include.
        """
        parts, payload = IP_LAYOUT.parse(data)
        if len(parts) < 2:
            return [], None
        ip = parts[1][1]
        ports = (int.from_bytes(data[34:36], "big"), int.from_bytes(data[36:38], "big"))
        key = (ip["src"], ip["dst"], ip["protocol"], *(ports if ip["protocol"] in (6, 17) else (0, 0)))
        if ip["ttl"] < 2:
            return [], (port, 2, data)
        if key not in self.flows:
            return [], (port, 1, data)
        self.used[key][0] += 1
        self.used[key][1] += len(data) + extra
        to = self.flows[key]
        if to is None:
            return [], None
        parts[1] = (IPV4, sealed({**ip, "ttl": ip["ttl"] - 1}))
        return [(to, join(parts, payload))], None


def check(played: Played, arriving: Packet, wanted: Wanted, note: str) -> None:
    """Compare what leaves and what the controller gets because of one packet. Incorrect if it is not as `wanted`."""
    compare(IP_LAYOUT, [arriving], [wanted[0]], [played.of(0)], [note])
    head = f"{note or 'a packet'}: {IP_LAYOUT.brief(arriving[1])}"
    ins = [(fields.get("ingress_port"), fields.get("reason"), data) for _, fields, data in played.packet_ins]
    must = wanted[1]
    if must is None:
        require(not ins, f"{head}\n  it causes a packet-in, and must not")
        return
    require(len(ins) == 1, f"{head}\n  it causes {len(ins)} packet-ins, must cause one")
    port, reason, data = ins[0]
    require(port == must[0], f"{head}\n  the packet-in has ingress_port {port}, must be {must[0]}")
    require(reason == must[1], f"{head}\n  the packet-in has reason {reason}, must be {must[1]}")
    said = IP_LAYOUT.differences(must[2], data)
    require(not said, "\n  ".join([head, *(f"in the packet-in, {each}" for each in said[:5])]))


def arrive(switch: Switch, oracle: Oracle, port: int, data: bytes, note: str = "") -> None:
    """Send a packet by a port. Incorrect if the result is not the oracle's; the reason quotes the note."""
    check(switch.send([(port, data)]), (port, data), oracle.arrive(port, data), note)


def packet_out(switch: Switch, oracle: Oracle, port: int, data: bytes, *, checked: bool) -> None:
    """Send a packet-out with a port and the field `checked`. Incorrect if the result is not the oracle's.

    With `checked`, the packet must leave by the port; without, it is processed as if it arrived by the port.
    """
    message = p4r.PacketOut(payload=data)
    for number, value in enumerate((port, int(checked), 0), 1):
        message.metadata.add(metadata_id=number, value=value.to_bytes(2, "big").lstrip(b"\0") or b"\0")
    wanted = ([(port, data)], None) if checked else oracle.arrive(port, data, extra=2)
    note = f"a packet-out with checked {int(checked)} and port {port}"
    check(switch.packet_out(message.SerializeToString()), (510, data), wanted, note)


def misses(bench: Bench) -> None:
    """Test that packets without an entry are packet-ins, and that packets that are not IPv4 are dropped. Incorrect
    otherwise.
    """
    random, switch, oracle = bench.random, bench.switch(NAME), Oracle()
    for kind in packet_order(random, {"": 20, "not IPv4": 5}):
        data = packet_of(random, draw_key(random))
        if kind:
            data = data[:12] + b"\x86\xdd" + data[14:]
        arrive(switch, oracle, random.randrange(1, 500), data, kind)


def hits(bench: Bench) -> None:
    """Test that packets with an entry leave by its port, or are dropped if it denies the flow. Incorrect otherwise."""
    random, switch, oracle = bench.random, bench.switch(NAME), Oracle()
    keys = [draw_key(random) for _ in range(8)]
    for number, key in enumerate(keys):
        oracle.add(switch, key, None if number % 4 == 3 else random.randrange(1, 500))
    for _ in range(40):
        key = random.choice(keys) if random.random() < 0.7 else draw_key(random)
        arrive(switch, oracle, random.randrange(1, 500), packet_of(random, key))


def outs(bench: Bench) -> None:
    """Test that packet-outs with `checked` 1 leave unchanged by their port. Incorrect otherwise."""
    random, switch, oracle = bench.random, bench.switch(NAME), Oracle()
    for _ in range(12):
        data = packet_of(random, draw_key(random), ttl=random.choice([0, 1, 64]))
        packet_out(switch, oracle, random.randrange(1, 500), data, checked=True)
    packet_out(switch, oracle, 7, data[:12] + b"\x08\x06" + data[14:], checked=True)


def reactive(bench: Bench) -> None:
    """Test the whole exchange: a miss, an entry, the packet in a packet-out with `checked` 0, and hits. Incorrect
    otherwise.
    """
    random, switch, oracle = bench.random, bench.switch(NAME), Oracle()
    for number in range(8):
        key, port = draw_key(random), random.randrange(1, 500)
        first = packet_of(random, key)
        arrive(switch, oracle, port, first, "the first packet of a flow")
        if number % 4 != 3:
            oracle.add(switch, key, random.randrange(1, 500))
        packet_out(switch, oracle, port, first, checked=False)
        arrive(switch, oracle, port, packet_of(random, key), "a later packet of the flow")


def expired(bench: Bench) -> None:
    """Test that packets with a TTL of 0 or 1 are packet-ins with reason 2. Incorrect otherwise."""
    random, switch, oracle = bench.random, bench.switch(NAME), Oracle()
    keys = [draw_key(random) for _ in range(4)]
    for key in keys[:3]:
        oracle.add(switch, key, random.randrange(1, 500))
    for ttl in [0, 1, 2, 3, 1, 2, 0, 1, 2]:
        arrive(switch, oracle, random.randrange(1, 500), packet_of(random, random.choice(keys), ttl), f"ttl {ttl}")


def counters(bench: Bench) -> None:
    """Test that every entry counts its packets and bytes. Incorrect otherwise."""
    random, switch, oracle = bench.random, bench.switch(NAME), Oracle()
    keys = [draw_key(random) for _ in range(4)]
    for key in keys:
        oracle.add(switch, key, random.randrange(1, 500))
    for _ in range(30):
        ttl = random.choice([1, 20, 30])
        arrive(switch, oracle, 3, packet_of(random, random.choice(keys), ttl), f"ttl {ttl}")
    for number, key in enumerate(keys):
        (text,) = switch.commands(f"counter_read ingress.used {number}")
        found = [int(each) for each in re.findall(r"\d+", text)]
        for name, have, must in zip(("packets", "bytes"), found, oracle.used[key], strict=True):
            reason = f"the counter of entry {number + 1} has {have} {name}, must have {must}; a ttl of 1 does not count"
            require(have == must, reason)


TESTS = [
    GradedTest("misses", 15, "A packet without an entry is a packet-in", misses),
    GradedTest("hits", 20, "A packet with an entry does what it says", hits),
    GradedTest("packet-outs", 15, "A packet-out leaves by its port", outs),
    GradedTest("reactive", 25, "Miss, entry, packet-out, and hits", reactive),
    GradedTest("ttl", 10, "A packet whose TTL is used up is a packet-in", expired),
    GradedTest("counters", 15, "Entries count how often they are used", counters),
]
