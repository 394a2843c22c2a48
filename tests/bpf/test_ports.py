"""An XDP device on interfaces: real packets, P4Runtime, multicast, packet-in and packet-out, and its end."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
import subprocess
from collections.abc import Iterator
from functools import partial

import pytest

from midflight.errors import DeviceError
from midflight.p4 import ir
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.xdp import XdpDevice
from midflight.runtime.engine import Entry
from midflight.runtime.engine.bpf import syscall
from midflight.runtime.engine.ports.namespace import within
from midflight.runtime.p4runtime.client.session import RequestError
from midflight.runtime.p4runtime.ports import kernel
from tests.bpf.build import needs_bpf
from tests.engine.build import source
from tests.wires import Wires

pytestmark = needs_bpf

PROGRAM = source(
    types="""
        @controller_header("packet_in") header in_t { bit<16> port; }
        @controller_header("packet_out") header out_t { bit<16> port; }
    """,
    header="bit<96> macs; bit<16> kind;",
    headers="in_t to; out_t from;",
    parser="""
        state start { transition select(std.ingress_port) { 510: controller; default: ether; } }
        state controller { packet.extract(hdr.from); transition ether; }
        state ether { packet.extract(hdr.h); transition accept; }
    """,
    declarations="""
        register<bit<32>>(4) seen;
        action to(bit<9> port) { std.egress_spec = port; }
        action all() { std.mcast_grp = 1; }
        table t { key = { hdr.h.kind: exact; } actions = { to; all; NoAction; } default_action = to(510); }
    """,
    ingress="""
        bit<32> n;
        if (hdr.from.isValid()) { std.egress_spec = (bit<9>)hdr.from.port; hdr.from.setInvalid(); return; }
        seen.read(n, 0);
        seen.write(0, n + 1);
        t.apply();
    """,
    egress="if (std.egress_port == 510) { hdr.to.setValid(); hdr.to.port = (bit<16>)std.ingress_port; }",
    deparser="packet.emit(hdr.to); packet.emit(hdr.h);",
)


@pytest.fixture
def wires() -> Iterator[Wires]:
    with Wires(3) as made:
        yield made


def frame(kind: int, length: int = 60) -> bytes:
    return b"\2" * 12 + kind.to_bytes(2, "big") + bytes(n % 251 for n in range(length - 14))


@pytest.mark.parametrize("mode", ["generic", "native"])
def test_packets_pass_interfaces(wires: Wires, mode: str) -> None:
    if mode == "native":
        for number in wires.interfaces:  # a veth takes redirected packets if its peer has NAPI, which GRO turns on
            within(wires.netns, partial(gro_on, f"h{number}"))
    with XdpDevice(PROGRAM, interfaces=wires.interfaces, netns=wires.netns, mode=mode) as device:
        pipeline = device.switch.pipeline
        assert pipeline is not None
        engine = pipeline.engine
        engine.tables["ingress.t"].insert(Entry((ir.EntryKey(0x1111),), "ingress.to", (2,)))
        engine.tables["ingress.t"].insert(Entry((ir.EntryKey(0x2222),), "ingress.all"))
        engine.multicast.set(1, [(2, 0), (3, 0)])
        engine.commit()
        for length in (60, 61, 1000, 1514):
            wires.send(1, frame(0x1111, length))
            assert wires.receive(2) == frame(0x1111, length)
        wires.send(1, frame(0x2222))
        assert wires.receive(2) == wires.receive(3) == frame(0x2222)
        assert engine.registers["ingress.seen"].read(0) == 5


def test_a_controller_gets_and_sends_packets(wires: Wires) -> None:
    options = {"interfaces": wires.interfaces, "netns": wires.netns, "mode": "generic"}
    with XdpDevice(PROGRAM, **options) as device, device.session() as session:  # type: ignore[arg-type]
        wires.send(3, frame(0x3333))
        (packet,) = session.packets_in(20.0)
        assert packet.payload == frame(0x3333)
        assert packet.metadata == {"port": 3}
        session.packet_out(frame(0x4444), port=2)
        assert wires.receive(2) == frame(0x4444)
        assert device.ports is not None
        stats = device.ports.stats
        assert (stats.packets_in, stats.packets_out, stats.received) == (1, 1, 2)
        assert stats.sent >= 1


def test_a_new_program_takes_over_and_the_end_detaches_it(wires: Wires) -> None:
    with XdpDevice(PROGRAM, interfaces=wires.interfaces, netns=wires.netns, mode="generic") as device:
        device.load(source(header="bit<96> macs; bit<16> kind;", ingress="std.egress_spec = 3;"))
        wires.send(1, frame(0x1111))
        assert wires.receive(3) == frame(0x1111)
        assert "prog/xdp" in links(wires)
    assert "prog/xdp" not in links(wires)


def gro_on(interface: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        value = ctypes.create_string_buffer(struct.pack("II", 0x2C, 1))  # ETHTOOL_SGRO
        fcntl.ioctl(control, 0x8946, struct.pack("16sP16x", interface.encode(), ctypes.addressof(value)))


def links(wires: Wires) -> str:
    shown = subprocess.run(["ip", "-n", wires.netns, "link"], check=True, capture_output=True, text=True)
    return shown.stdout


def test_a_program_is_refused_with_the_reason_when_an_interface_has_gone(wires: Wires) -> None:
    with (
        XdpDevice(PROGRAM, interfaces=wires.interfaces, netns=wires.netns, mode="generic") as device,
        device.session() as session,
    ):
        before = device.switch.pipeline
        pipeline = device.compile(CheckedProgram(PROGRAM))
        subprocess.run(["ip", "-n", wires.netns, "link", "delete", "p3"], check=True)
        with pytest.raises(RequestError, match="cannot ") as refused:
            session.load(pipeline.p4info, pipeline.config)
        assert "internal error" not in str(refused.value)
        assert device.switch.pipeline is before
        wires.send(1, frame(0x3333))
        (packet,) = session.packets_in(20.0)
        assert packet.payload == frame(0x3333)


def test_a_program_that_one_interface_cannot_have_replaces_no_other(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    with XdpDevice(PROGRAM, interfaces=wires.interfaces, netns=wires.netns, mode="generic") as device:
        count = 0

        def refuse_the_third(link: int, program: int) -> None:
            nonlocal count
            count += 1
            if count == 3:
                raise DeviceError("cannot replace a program: No such device")
            syscall.replace(link, program)

        monkeypatch.setattr(kernel, "replace", refuse_the_third)
        with pytest.raises(DeviceError, match="interface p3: cannot replace a program"):
            device.load(source(header="bit<96> macs; bit<16> kind;", ingress="std.egress_spec = 3;"))
        with device.session() as session:
            wires.send(1, frame(0x3333))
            (packet,) = session.packets_in(20.0)
            assert packet.payload == frame(0x3333)


def test_an_unknown_mode_is_refused(wires: Wires) -> None:
    with pytest.raises(DeviceError, match="'fast' is not a mode of XDP"):
        XdpDevice(PROGRAM, interfaces=wires.interfaces, netns=wires.netns, mode="fast")
