"""End to end: a controller pushes a program and fills a table, and the switch forwards packets accordingly."""

from __future__ import annotations

from finsy.proto import p4i
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from midflight.runtime.devices import HostDevice
from midflight.runtime.engine import Packets
from tests.p4runtime.support import EVERYTHING, ipv4, other


def test_a_controller_makes_an_empty_switch_forward(info: p4i.P4Info) -> None:
    packet = ipv4("10.1.2.3")
    with HostDevice() as device, device.session() as session:
        assert not list(device.process(Packets.from_list([(1, packet)])))
        session.load(info, EVERYTHING)
        session.insert(
            "route", {"hdr.ipv4.destination": "10.0.0.0/8"}, "to_port", {"port": 3, "mac": "02:00:00:00:00:03"}
        )
        ((port, left),) = device.process(Packets.from_list([(1, packet), (1, ipv4("11.0.0.1"))]))
        assert port == 3
        seen = Ether(left)
        assert (seen.dst, seen.src, seen[IP].ttl) == ("02:00:00:00:00:03", "02:00:00:00:00:01", 63)

        session.packet_out(packet, egress_port=7)
        assert list(device.transmitted()) == [(7, packet)]
        assert not list(device.transmitted())

        device.process(Packets.from_list([(5, other())]))
        (arrived,) = session.packets_in()
        assert (arrived.payload, arrived.metadata) == (other(), {"ingress_port": 5})
        assert session.packets_in() == []
