"""A program on a switch with hosts, whose packets scapy builds and decodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from midflight.p4 import ir
from midflight.p4.frontend import check
from midflight.primitives import Map, Program, Verdict
from midflight.primitives.exports.scapy_layer import layers
from midflight.primitives.kernel.map import Entry as MapEntry
from midflight.primitives.wire import VERSION, Schema
from midflight.runtime.devices import open_device
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.engine.engine import Engine
from midflight.runtime.engine.entries import Entry
from midflight.runtime.engine.packets import Packets
from midflight.runtime.p4runtime.client.maps import Maps

__all__ = ["EPOCH", "MEMBERS", "SENDER", "SERVER", "Chance", "DeviceRig", "Rig", "Seen", "Sent", "SwitchRig"]

SENDER, SERVER, MIRROR = 1, 4, 5
MEMBERS = (1, 2, 3)
UDP_PORT = 19782
EPOCH = 5


@dataclass(frozen=True, slots=True)
class Sent:
    """One request, the input of the oracle, the executed kernel and the switch.

    `now` (us) is when it comes; a switch with a clock of its own goes by that.
    """

    application: str
    sequence: int
    fields: Mapping[str, Any]
    now: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """The outcome of a request at the hosts. `fields` is None if nothing arrived.

    `mirrored` are the fields of the copies that the mirror got.
    """

    verdict: Verdict
    fields: Mapping[str, Any] | None
    mirrored: tuple[Mapping[str, Any], ...] = ()


class Chance:
    """Draws the same random numbers as the embedded switch (xorshift64*), for a reference."""

    def __init__(self, seed: int = 0) -> None:
        self._state = (seed * 0x9E37_79B9_7F4A_7C15 + 0xD1B5_4A32_D192_ED03) % 2**64 or 1

    def getrandbits(self, k: int, /) -> int:
        """Return a number with `k` random bits, at most 64."""
        state = self._state
        state ^= state >> 12
        state ^= state << 25 & 2**64 - 1
        state ^= state >> 27
        self._state = state
        return state * 0x2545_F491_4F6C_DD1D & (1 << k) - 1


def address(port: int) -> str:
    return f"10.0.0.{port}"


def mac(port: int) -> str:
    return f"02:00:00:00:00:{port:02x}"


def _number(text: str, separator: str, base: int) -> int:
    return int.from_bytes(bytes(int(part, base) for part in text.split(separator)), "big")


def _fields(layer: Any, sent: Sent) -> dict[str, Any]:
    """Return the values of a request's fields, where None stands for a field of an absent item."""

    def value(name: str, meant: Any) -> Any:
        if not isinstance(meant, int) and not hasattr(layer, name):  # lanes that do not fill bytes
            return [value(f"{name}_{lane}", 0) for lane in range(len(meant))]
        found = getattr(layer, name)
        if found is None:
            return 0 if isinstance(meant, int) else [0] * len(meant)
        return found

    return {name: value(name, meant) for name, meant in sent.fields.items()}


class Rig(ABC):
    """Hosts 1 to 4 on ports 1 to 4. Host 1 sends requests to host 4, the server. Hosts 1 to 3 are members."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.layers = layers(program.schema())
        self.schema = Schema(program.schema())

    @abstractmethod
    def process(self, packets: Packets, now: int) -> Packets:
        """Process a batch of packets with the same time, in microseconds."""

    @abstractmethod
    def alerts(self) -> list[tuple[str, tuple[int, ...]]]:
        """Return the digests (name, values) since the last call."""

    @staticmethod
    def packets(frames: Sequence[bytes]) -> Packets:
        """Return frames as packets from the sending host's port."""
        return Packets.from_list([(SENDER, each) for each in frames])

    def frame(self, sent: Sent, **common: int) -> bytes:
        """Return a request's frame. `common` overrides fields of the common header."""
        number = self.program.applications[sent.application].id
        header = {"kind": 1, "application": number, "sequence": sent.sequence} | common
        layer = self.layers.applications[sent.application]
        known = {each.name for each in layer.fields_desc}
        plain: dict[str, Any] = {}
        for name, value in sent.fields.items():
            if isinstance(value, int) or name in known:
                plain[name] = value.tolist() if hasattr(value, "tolist") else value
            else:  # lanes that do not fill bytes
                plain |= {f"{name}_{lane}": each for lane, each in enumerate(value)}
        return bytes(
            Ether(src=mac(SENDER), dst=mac(99))
            / IP(src=address(SENDER), dst=address(SERVER), ttl=10)
            / UDP(sport=5000, dport=UDP_PORT)
            / self.layers.common(**header)
            / layer(**plain)
        )

    def run(self, trace: Sequence[Sent]) -> tuple[list[Seen], list[tuple[str, tuple[int, ...]]]]:
        """Send requests. Return the outcome of each, and all alerts in order (digest's name, values)."""
        arrived: list[list[tuple[int, bytes]]] = [[] for _ in trace]
        for now, together in groupby(enumerate(trace), key=lambda each: each[1].now):
            numbers, sent = zip(*together, strict=True)
            out = self.process(self.packets([self.frame(each) for each in sent]), now)
            for source, packet in zip(out.sources.tolist(), out, strict=True):
                arrived[numbers[source]].append(packet)
        seen = [self._seen(each, packets) for each, packets in zip(trace, arrived, strict=True)]
        return seen, self.alerts()

    def _seen(self, sent: Sent, packets: list[tuple[int, bytes]]) -> Seen:
        copies = [Ether(data) for port, data in packets if port == MIRROR]
        answer = self._answer(sent, [each for each in packets if each[0] != MIRROR])
        return replace(answer, mirrored=self._copies(sent, copies))

    def _copies(self, sent: Sent, copies: list[Any]) -> tuple[Mapping[str, Any], ...]:
        """Check that copies equal the request except for the application's fields, and return these fields."""
        found = []
        for frame in copies:
            header = self.layers.common(bytes(frame[UDP].payload))
            got = (frame.src, frame.dst, frame[IP].ttl, frame[IP].src, header.kind, header.sequence)
            assert got == (mac(SENDER), mac(99), 10, address(SENDER), 1, sent.sequence)
            found.append(_fields(header.payload, sent))
        return tuple(found)

    def _answer(self, sent: Sent, packets: list[tuple[int, bytes]]) -> Seen:
        if not packets:
            return Seen(Verdict.DROP, None)
        parsed = [(port, Ether(data)) for port, data in packets]
        contents = []
        for port, frame in parsed:
            ip, udp = frame[IP], frame[UDP]
            check_frame(port, frame)
            header = self.layers.common(bytes(udp.payload))
            assert (header.version, header.sequence) == (VERSION, sent.sequence)
            assert not isinstance(header.payload, Raw)
            contents.append((header.kind, _fields(header.payload, sent)))
            expected = {
                1: (SERVER, mac(SERVER), address(SENDER), address(SERVER), 5000, UDP_PORT, 9),
                4: (SERVER, mac(SERVER), address(SENDER), address(SERVER), 5000, UDP_PORT, 9),
                2: (port, mac(port), address(SERVER), address(port), UDP_PORT, 7000 + port, 64),
            }[header.kind]
            got = (port, frame.dst, ip.src, ip.dst, udp.sport, udp.dport, ip.ttl)
            if len(packets) == 1 and header.kind == 2:
                expected = (SENDER, mac(SENDER), address(SERVER), address(SENDER), UDP_PORT, 5000, 64)
            assert got == expected
        kind, fields = contents[0]
        assert all(each == contents[0] for each in contents)
        if kind in (1, 4):
            assert len(packets) == 1
            return Seen(Verdict.FORWARD if kind == 1 else Verdict.FALLBACK, fields)
        if len(packets) == 1:
            return Seen(Verdict.REPLY, fields)
        assert sorted(port for port, _ in packets) == list(MEMBERS)
        return Seen(Verdict.MULTICAST, fields)


def table_entry(action: str, shape: Map, each: MapEntry) -> Entry:
    """Return a map's entry in the engine's form."""
    keys = []
    for kind, how, part in zip(shape.keys, shape.match, each.parts, strict=True):
        if not isinstance(part, tuple):
            keys.append(ir.EntryKey(part))
        elif how == "range":
            keys.append(ir.EntryKey(part[0], high=part[1]))
        else:
            mask = part[1] if how == "ternary" else kind.high & (kind.high << (kind.width - part[1]))
            keys.append(ir.EntryKey(part[0], mask=mask))
    value = each.value & ((1 << shape.kind.width) - 1)
    return Entry(tuple(keys), action, (value,), each.priority if shape.ranked else 0)


class SwitchRig(Rig):
    """The embedded switch, whose tables are filled directly, without P4Runtime."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.engine = Engine(check(program.p4()))
        route, admission, deliver = (
            self.engine.tables[name] for name in ("ingress.route", "ingress.admission", "egress.deliver")
        )
        for port in (*MEMBERS, SERVER):
            key = ir.EntryKey(_number(address(port), ".", 10), 0xFFFFFFFF)
            route.insert(Entry((key,), "ingress.to_port", (port, _number(mac(port), ":", 16))))
        for each in program.applications.values():
            anywhere = ir.EntryKey(each.id), ir.EntryKey(None)
            admission.insert(Entry(anywhere, "ingress.admit", (each.id, EPOCH, 0, 0), priority=1))
            self.engine.multicast.set(each.id, [(port, 0) for port in MEMBERS])
            if each.primitive.kernel.mirrors:
                self.engine.clones.set(each.id, [(MIRROR, 0)])
            for port in MEMBERS:
                data = (_number(mac(port), ":", 16), _number(address(port), ".", 10), 7000 + port)
                deliver.insert(Entry((ir.EntryKey(each.id), ir.EntryKey(port)), "egress.to_host", data))

            for name, shape in each.primitive.maps.items():
                for entry in shape.entries:
                    self.write(each.name, name, entry)

    def write(self, application: str, name: str, entry: MapEntry) -> None:
        """Add an entry to a map."""
        shape = self.program.applications[application].primitive.maps[name]
        table = self.engine.tables[f"ingress.{application}.{name}"]
        table.insert(table_entry(f"ingress.{application}.{name}_is", shape, entry))

    def process(self, packets: Packets, now: int = 0) -> Packets:
        return self.engine.process(packets, now=now)

    def alerts(self) -> list[tuple[str, tuple[int, ...]]]:
        return [(each.name, self.schema.alert(each.name, each.values)) for each in self.engine.digests()]


class DeviceRig(Rig):
    """A device of any kind, configured over P4Runtime by a controller. A context manager."""

    def __init__(self, program: Program, kind: str) -> None:
        super().__init__(program)
        device = open_device(kind, program.p4())
        assert isinstance(device, PacketDevice)
        self.device = device
        self.session = device.session()
        self.maps = Maps(self.session, program)
        self.maps.install()
        for port in (*MEMBERS, SERVER):
            where = {"hdr.ipv4.destination": f"{address(port)}/32"}
            self.session.insert("ingress.route", where, "ingress.to_port", {"port": port, "mac": mac(port)})
        for each in program.applications.values():
            which = {"hdr.midflight.application": each.id}
            about = {"group": each.id, "epoch": EPOCH, "token": 0, "bound": 0}
            self.session.insert("ingress.admission", which, "ingress.admit", about, priority=1)
            self.session.multicast(each.id, MEMBERS)
            if each.primitive.kernel.mirrors:
                self.session.clone_session(each.id, [MIRROR])
            for port in MEMBERS:
                to = {"mac": mac(port), "address": address(port), "udp_port": 7000 + port}
                entry = which | {"standard_metadata.egress_port": port}
                self.session.insert("egress.deliver", entry, "egress.to_host", to)
            if each.primitive.kernel.alert:
                self.session.subscribe(f"{each.name}_alert_t")

    def process(self, packets: Packets, now: int = 0) -> Packets:
        return self.device.process(packets)

    def alerts(self) -> list[tuple[str, tuple[int, ...]]]:
        """Return the digests that have arrived. Those of a device in another process arrive with a delay."""
        found = []
        while more := self.session.digests(timeout=1.0):
            found += [(each.name, self.schema.alert(each.name, each.values.values())) for each in more]
        return found

    def __enter__(self) -> DeviceRig:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()
        self.device.close()


def check_frame(port: int, frame: Any) -> None:
    """Check the IPv4 checksum of a frame with scapy, and that the UDP checksum is absent."""
    given = frame[IP].chksum
    again = frame[IP].copy()
    del again.chksum
    assert IP(bytes(again)).chksum == given, port
    assert frame[UDP].chksum == 0
