"""Steering in the data plane: the same packets through an ingress and an egress forwarder, on each kind of switch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from midflight.primitives import REQUEST, Balance, Message, Program, Steering
from midflight.primitives.steering import TUNNEL_PORT, bucket_of
from midflight.primitives.wire import Schema
from midflight.runtime.devices import open_device
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.maps import Maps
from midflight.runtime.steering import Graph, Host, Link, Offload, Switch, routes
from midflight.runtime.steering.mapped import mapped
from midflight.runtime.steering.service import Pool, Rule, Service, steering_entries
from midflight.runtime.steering.ways import find_ways
from tests.bmv2 import BMV2
from tests.bpf.build import needs_bpf

BUCKETS = 16
STEERING = Steering(services=4, rules=4, pools=8, buckets=BUCKETS, instances=8, mtu=1328)
PROGRAM = Program(Balance("pool", instances=8, buckets=1, clock="packet", table={0: (3, 3)}), STEERING)
CS_ID, CS_ID_IPV6 = IPv4Address("10.9.0.1"), IPv6Address("2001:db8:9::1")
INSTANCES = {1: "h2", 2: "h3", 3: "h4"}  # h4 is at the ingress, h3 has an IPv6 address


def graph() -> Graph:
    """Return h1 and h4 at s1, h2 and h3 at s2."""
    addresses = {"h1": "10.0.0.1", "h2": "10.0.0.2", "h3": "2001:db8::3", "h4": "10.0.0.4", "h5": "2001:db8::5"}
    hosts = tuple(Host(name, 0x0200_0000_0000 + int(name[1]), ip_address(each)) for name, each in addresses.items())
    ends = ("h1", "s1", 1), ("h4", "s1", 4), ("h5", "s1", 5), ("h2", "s2", 2), ("h3", "s2", 3)
    links = tuple(Link(host, 0, switch, port) for host, switch, port in ends)
    return Graph(
        hosts, (Switch("s1", 0x0600_0000_0001), Switch("s2", 0x0600_0000_0002)), (*links, Link("s1", 9, "s2", 9))
    )


def services() -> list[Service]:
    pools = [
        Pool.of(number, weights, BUCKETS)
        for number, weights in enumerate(({1: 1, 2: 1, 3: 1}, {1: 1}, {2: 1}), start=1)
    ]
    classes = {"urgent": (Rule(dscp=46), pools[1])}
    return [
        Service("vision", IPv4Network(CS_ID), pools[0], classes),
        Service("sound", IPv6Network("2001:db8:9::/64"), pools[2]),
    ]


class Switches:
    """One device that is s1 or s2, as its entries say."""

    def __init__(self, device: PacketDevice) -> None:
        self.device = device
        self.session = device.session()
        maps = Maps(self.session, PROGRAM)
        maps.install()
        maps["pool", "up"][2] = 1
        self.offload = Offload(self.session)
        self.offload.admit(PROGRAM.applications["pool"].id, [])

    def process(self, switch: str, packets: Sequence[tuple[int, bytes]]) -> list[list[tuple[int, bytes]]]:
        """Return what leaves a switch for each packet that comes by a port."""
        self.offload.install(routes(graph())[switch])
        ways = find_ways(graph(), INSTANCES)
        self.offload.steer(steering_entries(services(), INSTANCES, ways, STEERING)[switch])
        out = self.device.process(Packets.from_list(packets))
        came: list[list[tuple[int, bytes]]] = [[] for _ in packets]
        for source, packet in zip(out.sources.tolist(), out, strict=True):
            came[source].append(packet)
        return came


def ether(payload: Packet) -> bytes:
    return bytes(Ether(src="02:00:00:00:00:01", dst="06:00:00:00:00:01") / payload)


def ipv4(**fields: Any) -> Packet:
    chosen: dict[str, Any] = {"src": "10.0.0.1", "dst": str(CS_ID), "ttl": 9} | fields
    return IP(**chosen)


def ipv6(**fields: Any) -> Packet:
    chosen: dict[str, Any] = {"src": "2001:db8::5", "dst": str(CS_ID_IPV6), "hlim": 9} | fields
    return IPv6(**chosen)


def datagram(port: int = 5000, **fields: Any) -> Packet:
    chosen: dict[str, Any] = {"sport": port, "dport": 80} | fields
    return UDP(**chosen) / Raw(b"request")


def long(port: int) -> Packet:
    return UDP(sport=port, dport=80) / Raw(bytes(1400))


def request(instance: int) -> Packet:
    fields = {"operation": Balance.ASK, "instance": instance, "load": 0, "time": 0, "flow": 1}
    encoded = Schema(PROGRAM.schema()).encode(Message(REQUEST, "pool", 1, fields))
    return UDP(sport=7, dport=19782) / Raw(bytes(encoded))


def tunnel(inner: Packet, **fields: Any) -> bytes:
    chosen: dict[str, Any] = {"src": "192.0.0.8", "dst": "10.0.0.2", "ttl": 5} | fields
    outer = IP(**chosen)
    return ether(outer / UDP(sport=50000, dport=TUNNEL_PORT, chksum=0) / Raw(bytes(inner)))


CASES: Mapping[str, tuple[str, int, Callable[[], bytes]]] = {
    **{f"flow {port}": ("s1", 1, partial(ether, ipv4() / datagram(port))) for port in range(5000, 5024)},
    **{f"IPv6 flow {port}": ("s1", 5, partial(ether, ipv6() / datagram(port))) for port in range(3)},
    "TCP": ("s1", 1, lambda: ether(ipv4() / TCP(sport=4000, dport=80) / Raw(b"hello"))),
    "urgent": ("s1", 1, lambda: ether(ipv4(tos=46 << 2) / datagram())),
    "congestion noted": ("s1", 1, lambda: ether(ipv4(tos=46 << 2 | 1) / datagram())),
    "fragment": ("s1", 1, lambda: ether(ipv4(frag=3, proto=17) / Raw(b"x" * 16))),
    "no hop left": ("s1", 1, lambda: ether(ipv4(ttl=1) / datagram())),
    "not a service": ("s1", 1, lambda: ether(ipv4(dst="10.0.0.2") / datagram())),
    "chosen by a kernel": ("s1", 1, lambda: ether(ipv4() / request(0))),
    "chosen by a kernel, IPv6": ("s1", 5, lambda: ether(ipv6() / request(0))),
    "echoed": ("s1", 1, lambda: ether(ipv4() / request(2))),
    "echoed, IPv6": ("s1", 5, lambda: ether(ipv6() / request(2))),
    **{f"long {port}": ("s1", 1, partial(ether, ipv4() / long(port))) for port in range(5000, 5024)},
    "as long as possible": ("s1", 1, lambda: ether(ipv4(tos=46 << 2) / UDP(sport=1, dport=2) / Raw(bytes(1272)))),
    "too long": ("s1", 1, lambda: ether(ipv4(tos=46 << 2) / UDP(sport=1, dport=2) / Raw(bytes(1273)))),
    "too long, IPv6": ("s1", 5, lambda: ether(ipv6() / UDP(sport=1, dport=2) / Raw(bytes(1233)))),
    "as long as possible, IPv6": ("s1", 5, lambda: ether(ipv6() / UDP(sport=1, dport=2) / Raw(bytes(1232)))),
    "too long, TCP": ("s1", 1, lambda: ether(ipv4(tos=46 << 2) / TCP(sport=1, dport=2, seq=77) / Raw(bytes(1300)))),
    # The words of the error's IP header add up to 0x1FFFF, so that adding the carry carries again.
    "too long, a second carry": (
        "s1",
        1,
        lambda: ether(ipv4(src="192.168.176.20", tos=46 << 2) / UDP(sport=1, dport=2) / Raw(bytes(1273))),
    ),
    "too long, another protocol": ("s1", 1, lambda: ether(ipv4(tos=46 << 2, proto=99) / Raw(bytes(1300)))),
    "a host's tunnel": ("s1", 1, lambda: tunnel(ipv4(src="10.0.0.9") / datagram())),
    "transit": ("s1", 9, lambda: tunnel(ipv4() / datagram(), dst="10.0.0.4", ttl=1)),
    "egress": ("s2", 9, lambda: tunnel(ipv4() / datagram())),
    "egress, IPv6 inside": ("s2", 9, lambda: tunnel(ipv6() / datagram())),
    "egress, congested": ("s2", 9, lambda: tunnel(ipv4(tos=1) / datagram(), tos=3)),
    "egress, congested, not noted": ("s2", 9, lambda: tunnel(ipv4() / datagram(), tos=3)),
    "egress, no hop left": ("s2", 9, lambda: tunnel(ipv4(ttl=1) / datagram())),
    "egress, options": ("s2", 9, lambda: tunnel(IP(src="10.0.0.1", dst=str(CS_ID), options=b"\1\1\1\0") / datagram())),
    "egress, damaged": ("s2", 9, lambda: tunnel(ipv4(chksum=1) / datagram())),
    "egress, neither": ("s2", 9, lambda: tunnel(Raw(b"\x50hello"))),
    "egress, nothing": ("s2", 9, lambda: tunnel(Raw(b""))),
}


@dataclass(frozen=True)
class Trip:
    """What left the first switch for a case, and what then left s2, if the first was s1 and the packet went there."""

    first: tuple[tuple[int, bytes], ...]
    then: tuple[tuple[int, bytes], ...] = ()


@cache
def trips(kind: str, p4: str = PROGRAM.p4()) -> Mapping[str, Trip]:
    """Return what becomes of every case on a kind of device that runs a P4 text."""
    with open_device(kind, p4) as device:
        assert isinstance(device, PacketDevice)
        switches = Switches(device)
        found: dict[str, Trip] = {}
        for switch in ("s1", "s2"):
            names = [name for name, each in CASES.items() if each[0] == switch]
            out = switches.process(switch, [(CASES[name][1], CASES[name][2]()) for name in names])
            found |= {name: Trip(tuple(each)) for name, each in zip(names, out, strict=True)}
        onward = [(name, trip.first[0][1]) for name, trip in found.items() if [port for port, _ in trip.first] == [9]]
        out = switches.process("s2", [(9, data) for _, data in onward])
        found |= {name: Trip(found[name].first, tuple(each)) for (name, _), each in zip(onward, out, strict=True)}
        switches.session.close()
    return found


KIND = pytest.mark.parametrize("kind", ["host", pytest.param("bmv2", marks=BMV2)])


def arrived(trip: Trip) -> tuple[int, Packet]:
    """Return the port behind which a packet arrived at the end, and the packet."""
    [(port, data)] = trip.then or trip.first
    return port, Ether(data)


@KIND
def test_flows_go_to_the_instances_of_their_buckets(kind: str) -> None:
    table = services()[0].pool.table
    seen = set()
    for port in range(5000, 5024):
        trip = trips(kind)[f"flow {port}"]
        instance = table[bucket_of(mapped(IPv4Address("10.0.0.1")), port, 80, BUCKETS)]
        behind, packet = arrived(trip)
        assert behind == {1: 2, 2: 3, 3: 4}[instance]
        assert packet.dst == f"02:00:00:00:00:0{INSTANCES[instance][1]}"
        hops = 1 if instance == 3 else 2
        assert bytes(packet[IP]) == bytes(ipv4(ttl=9 - hops) / datagram(port))
        seen.add(instance)
    assert seen == {1, 2, 3}


@KIND
def test_between_forwarders_it_is_ip_in_udp(kind: str) -> None:
    trip = trips(kind)["urgent"]
    [(_, data)] = trip.first
    outer = Ether(data)
    inner = bytes(ipv4(tos=46 << 2, ttl=8) / datagram())
    assert (outer[IP].src, outer[IP].dst, outer[IP].tos) == ("192.0.0.8", "10.0.0.2", 46 << 2)
    assert outer[IP].flags == "DF"
    assert outer[UDP].dport == TUNNEL_PORT
    assert outer[UDP].sport >= 0xC000
    assert bytes(outer[UDP].payload) == inner
    del outer[IP].chksum, outer[IP].len, outer[UDP].len
    again = Ether(bytes(outer))
    assert bytes(again[IP])[:20] == data[14:34], "length and checksum of the outer header"
    assert again[UDP].len == 8 + len(inner)


@KIND
def test_ipv6_requests_and_ipv6_contacts(kind: str) -> None:
    for port in range(3):
        trip = trips(kind)[f"IPv6 flow {port}"]
        outer = Ether(trip.first[0][1])
        assert (outer[IPv6].src, outer[IPv6].dst, outer[UDP].chksum) == ("100::8", "2001:db8::3", 0)
        behind, packet = arrived(trip)
        assert behind == 3
        assert bytes(packet[IPv6]) == bytes(ipv6(hlim=7) / datagram(port))


@KIND
def test_an_instance_that_a_kernel_has_chosen(kind: str) -> None:
    """The UDP checksum of an IPv6 request is that of its own addresses, not of those between forwarders."""
    assert arrived(trips(kind)["chosen by a kernel"])[0] == 4
    assert arrived(trips(kind)["echoed"])[0] == 3
    assert arrived(trips(kind)["echoed"])[1][UDP].chksum == 0
    for name in ("chosen by a kernel, IPv6", "echoed, IPv6"):
        behind, packet = arrived(trips(kind)[name])
        assert behind == (3 if name.startswith("echoed") else 4)
        written = packet[UDP].chksum
        del packet[UDP].chksum
        assert Ether(bytes(packet))[UDP].chksum == written != 0


@KIND
def test_a_request_that_does_not_fit_is_answered_with_what_does(kind: str) -> None:
    found = trips(kind)
    for name, quoted in (
        ("too long", ipv4(tos=46 << 2) / UDP(sport=1, dport=2) / Raw(bytes(1273))),
        ("too long, TCP", ipv4(tos=46 << 2) / TCP(sport=1, dport=2, seq=77) / Raw(bytes(1300))),
    ):
        port, packet = arrived(found[name])
        assert (port, packet.dst) == (1, "02:00:00:00:00:01")
        assert (packet[IP].src, packet[IP].dst, packet[IP].len) == (str(CS_ID), "10.0.0.1", 56)
        assert (packet[ICMP].type, packet[ICMP].code, packet[ICMP].nexthopmtu) == (3, 4, 1300)
        assert bytes(packet[ICMP])[8:] == bytes(quoted)[:28]
        assert internet_checksum(bytes(packet[ICMP])) == 0
    packet = arrived(found["too long, a second carry"])[1]
    assert packet[IP].dst == "192.168.176.20"
    assert internet_checksum(bytes(packet[IP])[:20]) == 0
    port, packet = arrived(found["too long, IPv6"])
    assert (port, packet[IPv6].src, packet[IPv6].dst) == (5, str(CS_ID_IPV6), "2001:db8::5")
    assert packet[ICMPv6PacketTooBig].mtu == 1280
    error = bytes(packet[IPv6].payload)
    assert error[8:] == bytes(ipv6() / UDP(sport=1, dport=2) / Raw(bytes(1233)))[:48]
    addresses = b"".join(IPv6Address(each).packed for each in (packet[IPv6].src, packet[IPv6].dst))
    assert internet_checksum(addresses + b"\0\0\0\x38\0\0\0\x3a" + error) == 0
    assert found["too long, another protocol"].first == ()


@KIND
def test_requests_of_any_length_reach_an_instance_without_encapsulation(kind: str) -> None:
    found = trips(kind)
    for port in range(5000, 5024):
        assert ICMP in arrived(found[f"long {port}"])[1] or arrived(found[f"flow {port}"])[0] == 4
    assert len(found["as long as possible"].first[0][1]) == 14 + 1328
    assert len(found["as long as possible, IPv6"].first[0][1]) == 14 + 1328


def internet_checksum(data: bytes) -> int:
    """Return the checksum of data that contains its checksum: 0 if that is correct."""
    total = sum(int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


@KIND
def test_what_is_not_steered(kind: str) -> None:
    found = trips(kind)
    assert arrived(found["not a service"])[0] == 2
    assert arrived(found["fragment"])[0] in (2, 3, 4)
    assert arrived(found["TCP"])[1][TCP].dport == 80
    for name in (
        "no hop left",
        "a host's tunnel",
        "transit",
        "egress, congested, not noted",
        "egress, no hop left",
        "egress, options",
        "egress, damaged",
        "egress, neither",
        "egress, nothing",
    ):
        assert found[name].first == (), name


@KIND
def test_the_egress_forwarder_restores_the_request(kind: str) -> None:
    found = trips(kind)
    assert bytes(arrived(found["egress"])[1][IP]) == bytes(ipv4(ttl=8) / datagram())
    assert bytes(arrived(found["egress, IPv6 inside"])[1][IPv6]) == bytes(ipv6(hlim=8) / datagram())
    assert arrived(found["egress, congested"])[1][IP].tos == 3
    assert arrived(found["congestion noted"])[1][IP].tos == 46 << 2 | 1


@pytest.mark.parametrize("kind", [pytest.param("bmv2", marks=BMV2), pytest.param("xdp", marks=needs_bpf)])
def test_decisions_are_the_same_on_every_kind_of_switch(kind: str) -> None:
    assert trips(kind) == trips("host")


SUM = "hdr.ipv4.checksum = ~(sum[15:0] + (bit<16>)sum[16:16])"
BROKEN: Mapping[str, tuple[str, str]] = {
    "one byte too long is sent": ("length <= room", "length <= room + 1"),
    "an error's checksum lacks the quote": ("hdr.icmp.mtu, hdr.ipv4, hdr.udp,", "hdr.icmp.mtu, hdr.ipv4,"),
    "an error quotes too much": ("truncate(14 + 56)", "truncate(14 + 57)"),
    "the source is no part of a flow": ("flow = hdr.ipv4.source ^", "flow = 32w1 ^"),
    "a flow is in another bucket": ("bucket = flow[31:28]", "bucket = flow[30:27]"),
    "the classifier is not applied": ("if (classified == 1)", "if (classified == 2)"),
    "a kernel's choice is ignored": ("if (meta.instance == 0)", "if (true)"),
    "a port is 0": ("destination_port = hdr.udp.destination;", "destination_port = 0;"),
    "the hop count stays at the ingress": (f"{SUM};\n        hdr.ipv4.ttl = hdr.ipv4.ttl - 1;", f"{SUM};"),
    "the hop count stays at the egress": ("hdr.inner_ipv4.ttl = hdr.inner_ipv4.ttl - 1;", ""),
    "the outer length is wrong": ("(length + 28)", "(length + 20)"),
    "the tunnel's length is wrong": ("(length + 8) ++ 16w0", "length ++ 16w0"),
    "the outer checksum lacks a carry": ("sum = (sum >> 16) + (sum & 0xFFFF);", ""),
    "the outer checksum lacks a second carry": ("~(bit<16>)((sum >> 16) + sum)", "~(bit<16>)sum"),
    "the outer checksum lacks the traffic class": ("(start & 0xFFFF) +", "(start & 0xFFFF) - (bit<32>)traffic_class +"),
    "routers cannot tell flows apart": ("2w3 ++ flow[31:18]", "2w3 ++ 14w0"),
    "hosts may send as forwarders": ("if (!trunks.apply().hit)", "if (!trunks.apply().hit && false)"),
    "a congestion mark is lost": ("congestion = 3;", "congestion = 0;"),
    "a packet without hops is restored": ("hdr.inner_ipv4.ttl > 1", "hdr.inner_ipv4.ttl > 0"),
    "options are taken for a UDP header": ("hdr.inner_ipv4.ihl == 5 && hdr.inner_ipv4.ttl", "hdr.inner_ipv4.ttl"),
    "a damaged inner header is accepted": (
        "verify_checksum(hdr.inner_ipv4.isValid() && hdr.inner_ipv4.ihl == 5,",
        "verify_checksum(false,",
    ),
    "the checksum of a steered packet is stale": (SUM, SUM.replace("~(sum", "(sum")),
    "the checksum of a restored packet is stale": ("!hdr.udp.isValid(),", "false,"),
    "a request over IPv6 has no UDP checksum": (
        "update_checksum_with_payload(hdr.ipv6.isValid()",
        "update_checksum_with_payload(false && hdr.ipv6.isValid()",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", BROKEN)
def test_broken_programs_are_detected(name: str) -> None:
    old, new = BROKEN[name]
    text = PROGRAM.p4()
    assert old in text
    broken = text.replace(old, new)
    assert trips("host", broken) != trips("host")
