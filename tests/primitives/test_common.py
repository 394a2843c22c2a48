"""The common part of all programs: forwarding, admission, malformed packets, the controller's port."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.l2 import ARP, Ether

from midflight.p4 import ir
from midflight.primitives import Aggregate, Filter, Program
from midflight.runtime.engine.entries import Entry
from midflight.runtime.engine.packets import Packets
from tests.primitives.rig import SENDER, SERVER, Sent, SwitchRig, address, mac

CPU = 510
PROGRAM = Program(Filter("telemetry", keep="level > 7"), Aggregate("gradients", workers=1, lanes=1, slots=1))
LOW = Sent("telemetry", 1, {"level": 3})


@pytest.fixture(scope="module")
def rig() -> SwitchRig:
    return SwitchRig(PROGRAM)


def send(rig: SwitchRig, frame: bytes, port: int = SENDER) -> list[tuple[int, bytes]]:
    return list(rig.process(Packets.from_list([(port, frame)])))


def counted(rig: SwitchRig, name: str) -> int:
    return int(rig.engine.counters[f"ingress.{name}"].packets[0])


def ordinary(**ip: Any) -> Ether:
    return Ether(src=mac(SENDER), dst=mac(99)) / IP(src=address(SENDER), dst=address(SERVER), **ip)


def test_a_request_of_an_admitted_application_is_computed_on(rig: SwitchRig) -> None:
    assert send(rig, rig.frame(LOW)) == []


def test_a_request_of_another_application_is_forwarded() -> None:
    rig = SwitchRig(PROGRAM)
    rig.engine.tables["ingress.admission"].delete((ir.EntryKey(1), ir.EntryKey(None)), 1)
    frame = rig.frame(LOW)
    [(port, out)] = send(rig, frame)
    before, after = Ether(frame), Ether(out)
    assert (port, after.dst, after[IP].ttl) == (SERVER, mac(SERVER), before[IP].ttl - 1)
    assert after[UDP].chksum == before[UDP].chksum != 0
    assert bytes(after[UDP].payload) == bytes(before[UDP].payload)


@pytest.mark.parametrize(("common", "lost"), [({"kind": 2}, 0), ({"kind": 77}, 0), ({"application": 9}, 0)])
def test_other_messages_are_forwarded_unchanged(rig: SwitchRig, common: dict[str, int], lost: int) -> None:
    frame = rig.frame(LOW, **common)
    [(port, out)] = send(rig, frame)
    assert port == SERVER
    assert out[14 + 20 :] == frame[14 + 20 :]


@pytest.mark.parametrize(
    "frame",
    [
        ordinary() / TCP(dport=19782),
        ordinary() / ICMP(),
        ordinary() / UDP(sport=5, dport=53) / b"payload",
        ordinary(flags="MF") / UDP(sport=5, dport=19782) / b"first fragment",
        ordinary(frag=7, proto=17) / b"later fragment",
    ],
)
def test_other_traffic_is_forwarded(rig: SwitchRig, frame: Ether) -> None:
    [(port, out)] = send(rig, bytes(frame))
    after = Ether(out)
    assert (port, after.src, after.dst) == (SERVER, mac(99), mac(SERVER))
    assert out[14 + 20 :] == bytes(frame)[14 + 20 :]
    del after[IP].chksum
    assert bytes(after) == out


@pytest.mark.parametrize(
    ("frame", "counter"),
    [
        (bytes(ordinary() / UDP(dport=53))[:30], "malformed"),
        (bytes(ordinary() / UDP(dport=53))[:10], "malformed"),
        (bytes(ordinary() / UDP(dport=19782) / b"\2\1\0"), "malformed"),
        (bytes(ordinary() / UDP(dport=19782) / b"\2\1\0\1\0\0\0\1\0"), "malformed"),
        (bytes(ordinary() / UDP(dport=19782) / (b"\1" + bytes(40))), "malformed"),
        (bytes(ordinary(chksum=0x1234) / UDP(dport=53)), "malformed"),
        (bytes(ordinary(ttl=1) / UDP(dport=53)), "unroutable"),
        (bytes(ordinary(ttl=0) / UDP(dport=53)), "unroutable"),
        (bytes(ordinary(options=[IPOption_NOP()] * 4) / UDP(dport=53)), "unroutable"),
        (bytes(Ether(dst=mac(99)) / IP(src=address(SENDER), dst="10.9.9.9") / UDP(dport=53)), "unroutable"),
        (bytes(Ether(src=mac(SENDER)) / ARP()), "unroutable"),
    ],
)
def test_packets_that_cannot_be_forwarded_are_counted_and_dropped(rig: SwitchRig, frame: bytes, counter: str) -> None:
    before = {name: counted(rig, name) for name in ("malformed", "unroutable")}
    assert send(rig, frame) == []
    assert {name: counted(rig, name) for name in before} == before | {counter: before[counter] + 1}


def test_packets_from_the_controller_are_sent_unchanged(rig: SwitchRig) -> None:
    frame = bytes(ordinary(ttl=1) / UDP(dport=19782) / b"\2\2\2")
    assert send(rig, b"\x00\x03" + frame, CPU) == [(3, frame)]


def test_packets_to_the_controller_have_their_ingress_port(rig: SwitchRig) -> None:
    key = (ir.EntryKey(0x0A00FF00, 0xFFFFFF00),)
    rig.engine.tables["ingress.route"].insert(Entry(key, "ingress.to_port", (CPU, 0)))
    frame = bytes(Ether(dst=mac(99)) / IP(dst="10.0.255.1", ttl=9) / UDP(dport=53) / b"hello")
    [(port, out)] = send(rig, frame, port=2)
    assert (port, out[:2]) == (CPU, b"\x00\x02")
    assert Ether(out[2:])[UDP].payload.load == b"hello"


def test_the_payload_after_a_header_is_preserved(rig: SwitchRig) -> None:
    sent = Sent("gradients", 5, {"slot": 0, "worker": 0, "flags": 0, "job": 1, "epoch": 5, "values": [3]})
    frame = Ether(rig.frame(sent)) / b"and more"
    del frame[IP].len, frame[IP].chksum, frame[UDP].len, frame[UDP].chksum
    outs = send(rig, bytes(frame))
    assert len(outs) == 3
    assert all(out.endswith(b"and more") for _, out in outs)
