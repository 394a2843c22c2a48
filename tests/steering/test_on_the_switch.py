"""Steering on a real pipeline over P4Runtime: an application is admitted, withdrawn and redirected."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from midflight.primitives import Aggregate, Program
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.host import HostDevice
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.placement import place
from midflight.runtime.steering import Offload, Route, members, routes
from tests.steering.graphs import host, star

MIDFLIGHT = 19782
SERVER = host(5)


@dataclass(frozen=True)
class Net:
    device: HostDevice
    session: Session
    offload: Offload


@pytest.fixture
def net() -> Iterator[Net]:
    program = Program(Aggregate("sums", workers=2, lanes=1, slots=4))
    checked = CheckedProgram(program.p4())
    placement = place(checked, {"s1": HostDevice.capabilities})
    assert placement.on("s1") == ("sums",)
    with HostDevice() as device, device.session() as session:
        session.load(checked.p4info, checked.text)
        offload = Offload(session)
        offload.install(routes(star(5))["s1"])
        yield Net(device, session, offload)


def request(worker: int, value: int) -> tuple[int, bytes]:
    """Return a worker's packet to the server with its ingress port. Worker 0 is h1."""
    sender = host(worker + 1)
    body = struct.pack("!BBHIQ HBBHH i", 2, 1, 1, 1, 0, 0, worker, 0, 1, 0, value)
    packet = (
        Ether(src=mac(sender.mac), dst="06:00:00:00:00:01")
        / IP(src=str(sender.address), dst=str(SERVER.address))
        / UDP(sport=5000 + worker, dport=MIDFLIGHT)
        / body
    )
    return worker + 1, bytes(packet)


def mac(value: int) -> str:
    return value.to_bytes(6, "big").hex(":")


def send(net: Net, *packets: tuple[int, bytes]) -> list[tuple[int, str, str, int, int, int]]:
    """Return for each packet that leaves: port, destination MAC, IP address and UDP port, kind, value."""
    found = []
    for port, data in net.device.process(Packets.from_list(list(packets))):
        packet = Ether(data)
        body = bytes(packet[UDP].payload)
        (value,) = struct.unpack("!i", body[24:28])
        found.append((port, packet.dst, packet[IP].dst, packet[UDP].dport, body[1], value))
    return found


def test_offload_and_its_removal_change_few_entries(net: Net) -> None:
    to_server = [(5, mac(SERVER.mac), "10.0.0.5", MIDFLIGHT, 1, 20), (5, mac(SERVER.mac), "10.0.0.5", MIDFLIGHT, 1, 3)]
    assert send(net, request(0, 20), request(1, 3)) == to_server
    net.offload.admit(1, members(star(5), "s1", {"h1": 5000, "h2": 5001}))
    assert send(net, request(0, 20), request(1, 3)) == [
        (1, mac(host(1).mac), "10.0.0.1", 5000, 2, 23),
        (2, mac(host(2).mac), "10.0.0.2", 5001, 2, 23),
    ]
    net.offload.withdraw(1)
    assert send(net, request(0, 20), request(1, 3)) == to_server
    assert net.session.read_table("ingress.admission") == net.session.read_table("egress.deliver") == []
    assert net.session.read_multicast() == {}
    assert len(net.session.read_table("ingress.route")) == 5


def test_traffic_is_redirected_and_restored(net: Net) -> None:
    net.offload.redirect(Route(SERVER.address, 4, host(4).mac))
    assert [each[:2] for each in send(net, request(0, 1))] == [(4, mac(host(4).mac))]
    net.offload.restore(SERVER.address)
    assert [each[:2] for each in send(net, request(0, 1))] == [(5, mac(SERVER.mac))]


def test_a_new_controller_takes_over_existing_entries(net: Net) -> None:
    net.offload.admit(1, members(star(5), "s1", {"h1": 5000, "h2": 5001}))
    fresh = Offload(net.session)
    fresh.install(routes(star(5))["s1"])
    fresh.admit(1, members(star(5), "s1", {"h1": 6000, "h2": 6001}))
    assert [each[3] for each in send(net, request(0, 20), request(1, 3))] == [6000, 6001]
    fresh.withdraw(1)
    assert [each[0] for each in send(net, request(0, 20))] == [5]
