"""BMv2 on Linux interfaces in another network namespace than its controller."""

from __future__ import annotations

from pathlib import Path

import pytest

from midflight.errors import DeviceError
from midflight.runtime.devices import Bmv2Device
from midflight.runtime.engine import Packets
from tests.bmv2 import BMV2, PROGRAM, ROOT
from tests.p4runtime.support import ipv4, other
from tests.wires import Wires

pytestmark = [*BMV2, *ROOT]


def test_bmv2_forwards_between_interfaces_of_another_namespace(tmp_path: Path) -> None:
    with Wires(3) as wires:
        with (
            Bmv2Device(PROGRAM, interfaces=wires.interfaces, netns=wires.netns, pcap=tmp_path) as device,
            device.session() as session,
        ):
            inside = Path(f"/run/netns/{wires.netns}").stat().st_ino
            assert Path(f"/proc/{device.pid}/ns/net").stat().st_ino == inside
            session.multicast(9, [2, 3])
            session.insert("route", {"hdr.ipv4.destination": "10.0.0.0/8"}, "to_group", {"group": 9})
            session.insert("route", {"hdr.ipv4.destination": "10.3.0.0/16"}, "to_port", {"port": 3, "mac": 5})
            packets = [ipv4("10.0.0.1", load=bytes([number])) for number in range(50)]
            for start in range(0, len(packets), 10):  # a few at a time: BMv2's queues are short
                some = packets[start : start + 10]
                for packet in some:
                    wires.send(1, packet)
                    wires.send(1, ipv4("11.0.0.1"))  # without a route
                for port in (2, 3):
                    assert [wires.receive(port) for _ in some] == some
            wires.send(2, ipv4("10.3.0.1", ttl=9))
            assert wires.receive(3)[:6] == b"\0\0\0\0\0\5"
            session.packet_out(packets[0], egress_port=1)
            assert wires.receive(1) == packets[0]
            wires.send(3, other())
            (arrived,) = session.packets_in(timeout=20)
            assert (arrived.payload, arrived.metadata) == (other(), {"ingress_port": 3})
            with pytest.raises(DeviceError, match="gets its packets from its interfaces"):
                device.process(Packets.from_list([(1, packets[0])]))
        assert {each.name for each in tmp_path.iterdir()} >= {"p1_in.pcap", "p2_out.pcap"}


def test_two_switches_do_not_affect_each_other() -> None:
    with (
        Wires(2) as wires,
        Wires(2) as others,
        Bmv2Device(PROGRAM, interfaces=wires.interfaces, netns=wires.netns) as first,
        Bmv2Device(PROGRAM, interfaces=others.interfaces, netns=f"/run/netns/{others.netns}") as second,
        first.session() as session,
        second.session() as idle,
    ):
        session.insert("route", {"hdr.ipv4.destination": "10.0.0.0/8"}, "to_port", {"port": 2, "mac": 5})
        assert len(list(session.read_table("route"))) == 1
        assert not list(idle.read_table("route"))
        wires.send(1, ipv4("10.0.0.1"))
        assert wires.receive(2)
