"""Linux interfaces as ports, with veth pairs."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from midflight.errors import DeviceError
from midflight.p4.frontend import check
from midflight.p4.p4info import p4info
from midflight.runtime.devices.host import HostDevice
from midflight.runtime.engine import Packets
from midflight.runtime.engine.ports.pcap import PcapReader
from midflight.runtime.p4runtime.client.results import PacketIn
from midflight.runtime.p4runtime.ports.opening import open_ports
from midflight.runtime.p4runtime.server.switch import Switch
from midflight.testbed.bench.traffic import Generator
from tests.bmv2 import ROOT
from tests.engine.build import source
from tests.ports.lab import TAP, Lab, ethernet, number_of, numbered, station, time_of

pytestmark = ROOT


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(3) as made:
        yield made


@contextmanager
def switch(lab: Lab, ports: int = 3, *, pcap: Path | None = None, threads: int = 1) -> Iterator[HostDevice]:
    interfaces = {number: f"s{number}" for number in range(1, ports + 1)}
    with HostDevice(TAP.read_text(), interfaces=interfaces, netns=lab.netns, pcap=pcap, threads=threads) as device:
        yield device


def test_frames_leave_unchanged_by_the_port_in_the_table(lab: Lab) -> None:
    one, two, three = (lab.host(number) for number in (1, 2, 3))
    with switch(lab) as device:
        sent = [ethernet(station(2), bytes([size % 256]) * size) for size in (0, 1, 45, 46, 47, 100, 1499, 1500)]
        for each in sent:
            one.send(each)
        assert [two.receive() for _ in sent] == sent
        two.send(ethernet(station(1), b"back"))
        assert one.receive() == ethernet(station(1), b"back")
        one.send(ethernet(0x0300_0000_0000))  # dropped by the default action
        one.send(ethernet(station(3), b"last"))
        assert three.receive() == ethernet(station(3), b"last")
    assert device.ports is not None
    stats = device.ports.stats
    assert (stats.received, stats.sent, dict(stats.dropped)) == (11, 10, {"ingress": 1})
    assert [(each.received, each.sent) for each in stats.ports.values()] == [(10, 1), (1, 8), (0, 1)]
    assert one.waiting() == two.waiting() == three.waiting() == []


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_multicast_copies_leave_by_every_other_port(lab: Lab, threads: int) -> None:
    one, two, three = (lab.host(number) for number in (1, 2, 3))
    everybody = 0xFFFF_FFFF_FFFF
    with switch(lab, threads=threads) as device, device.session() as session:
        session.multicast(7, [(1, 1), (2, 1), (3, 1)])
        session.insert("ingress.spare", {"hdr.ethernet.destination": everybody}, "ingress.flood", {"group": 7})
        frames = [ethernet(everybody, bytes([number]) * 50) for number in range(250)]
        for each in frames:
            two.send(each)
        assert [one.receive() for _ in frames] == frames
        assert [three.receive() for _ in frames] == frames
    assert two.waiting() == []


def test_packets_pass_between_controller_and_interfaces(lab: Lab, tmp_path: Path) -> None:
    one, two = lab.host(1), lab.host(2)
    with switch(lab, pcap=tmp_path) as device, device.session() as session:
        session.insert("ingress.spare", {"hdr.ethernet.destination": 5}, "ingress.tell", {})
        frames = [ethernet(5, bytes([number]) * (number + 1)) for number in range(100)]
        for each in frames:
            two.send(each)
        got: list[PacketIn] = []
        while len(got) < len(frames):
            more = session.packets_in(timeout=20)
            assert more
            got += more
        assert [(each.payload, each.metadata["ingress_port"]) for each in got] == [(each, 2) for each in frames]
        session.packet_out(frames[3], egress_port=1)
        session.packet_out(frames[4], egress_port=9)  # there is no such port
        session.packet_out(frames[5], egress_port=1)
        assert [one.receive(), one.receive()] == [frames[3], frames[5]]
    assert device.ports is not None
    stats = device.ports.stats
    assert (stats.packets_in, stats.packets_out) == (100, 3)
    assert (stats.ports[1].sent, dict(stats.dropped)) == (2, {"no port": 1})
    assert [each.data for each in PcapReader(tmp_path / "port1_out.pcap")] == [frames[3], frames[5]]


def test_digests_reach_the_controller(lab: Lab) -> None:
    one, two = lab.host(1), lab.host(2)
    with switch(lab) as device, device.session() as session:
        session.subscribe("seen_t")
        session.insert("ingress.spare", {"hdr.ethernet.destination": 6}, "ingress.learn", {"port": 2})
        for source in (11, 12, 13):
            one.send(ethernet(6, source=source))
            two.receive()
        seen: list[int] = []
        while len(seen) < 3:
            more = session.digests(timeout=20)
            assert more
            seen += [each.values["source"] for each in more]
        assert seen == [11, 12, 13]


def test_vlan_tags_are_preserved(lab: Lab) -> None:
    one, two = lab.host(1), lab.host(2)
    tags = [(0x8100, 5), (0x8100, 0xFFFF), (0x88A8, 0x2064)]
    with switch(lab):
        for kind, control in tags:
            frame = ethernet(station(2), struct.pack("!HH", control, 0x88B5) + b"tagged" * 9, kind=kind)
            one.send(frame)
            assert two.receive() == frame


def test_checksums_left_to_the_interface_are_completed(lab: Lab) -> None:
    two = lab.host(2)
    lab.ip("addr add 10.0.0.1/24 dev h1", "neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev h1 nud permanent")
    with switch(lab), lab.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        for size in range(1, 60):
            sender.sendto(bytes(range(size)), ("10.0.0.2", 1234))
            packet = two.receive()[14:]
            pseudo = packet[12:20] + b"\0\x11" + packet[24:26]
            assert ones_complement_sum(pseudo + packet[20:]) == 0xFFFF
            assert packet[28 : 28 + size] == bytes(range(size))


def ones_complement_sum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_segments_left_to_the_interface_are_counted_and_dropped(lab: Lab) -> None:
    two = lab.host(2)
    lab.ip("addr add 10.0.0.1/24 dev h1", "neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev h1 nud permanent")
    news: list[str] = []
    device = Switch()
    device.load(TAP.read_text())
    ports = open_ports(device, {1: "s1", 2: "s2"}, netns=lab.netns, news=news.append)
    with ports, lab.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        for _ in range(2):
            sender.setsockopt(17, 103, 1000)  # UDP_SEGMENT
            sender.sendto(bytes(5000), ("10.0.0.2", 1234))
            sender.setsockopt(17, 103, 0)
            sender.sendto(b"whole", ("10.0.0.2", 1234))
            assert two.receive().endswith(b"whole")
    assert dict(ports.stats.dropped) == {"offload": 2}
    (line,) = news
    assert "ethtool -K INTERFACE tso off gso off" in line


def test_frames_beyond_the_ring_size_are_counted_and_dropped(lab: Lab) -> None:
    one, two = lab.host(1), lab.host(2)
    with switch(lab) as device:
        lab.ip("link set s1 mtu 9000", "link set h1 mtu 9000")
        one.send(ethernet(station(2), bytes(4000)))
        one.send(ethernet(station(2), bytes(60)))
        assert two.receive() == ethernet(station(2), bytes(60))
    assert device.ports is not None
    assert dict(device.ports.stats.dropped) == {"oversize": 1}


def test_frames_beyond_an_interfaces_queue_are_lost() -> None:
    with Lab(2, mtu=9000) as lab:
        lab.ip("link set s2 mtu 1500")
        one, two = lab.host(1), lab.host(2)
        with switch(lab, 2) as device:
            for size in (100, 8000, 200, 8000, 300):
                one.send(ethernet(station(2), bytes(size)))
            assert [len(two.receive()) for _ in range(3)] == [114, 214, 314]
        assert device.ports is not None
        assert dict(device.ports.stats.dropped) == {"unsent": 2}


@contextmanager
def flood(lab: Lab, frame: bytes) -> Iterator[threading.Thread]:
    """Send a frame repeatedly to port 1, as fast as possible, until the context ends."""
    with lab.inside(lambda: Generator("h1", [frame])) as generator:
        thread = threading.Thread(target=generator.run, args=(120.0,))
        thread.start()
        try:
            yield thread
        finally:
            generator.stop()
            thread.join()


@pytest.mark.parametrize("threads", [1, 3])
def test_registers_are_exact_while_controllers_write(lab: Lab, tmp_path: Path, threads: int) -> None:
    """Every packet of a flood gets a distinct number, and writes succeed during the flood."""
    with (
        switch(lab, pcap=tmp_path, threads=threads) as device,
        device.session() as session,
        flood(lab, numbered(station(2))) as sending,
    ):
        while session.read_register("ingress.count", 0) < 1000:
            pass
        for number in range(30):
            session.insert("ingress.spare", {"hdr.ethernet.destination": number}, "ingress.send", {"port": 3})
            assert len(session.read_table("ingress.spare")) == 1
            session.delete("ingress.spare", {"hdr.ethernet.destination": number})
        assert sending.is_alive()
    sent = [each.data for each in PcapReader(tmp_path / "port2_out.pcap")]
    times = [time_of(each) for each in sent]
    assert [number_of(each) for each in sent] == list(range(1, len(sent) + 1))
    assert times == sorted(times)
    assert times[-1] > times[0]
    assert device.ports is not None
    stats = device.ports.stats
    assert stats.ports[2].sent + stats.ports[2].dropped["unsent"] == len(sent)
    assert stats.received == len(sent) + stats.ports[1].dropped["overrun"]
    pipeline = device.switch.pipeline
    assert pipeline is not None
    assert pipeline.engine.registers["ingress.count"].read(0) == len(sent)


def test_a_program_is_replaced_atomically_between_packets(lab: Lab, tmp_path: Path) -> None:
    source = TAP.read_text().replace("0x020000000002: send(2)", "0x020000000002: send(3)")
    info = p4info(check(source))
    with switch(lab, pcap=tmp_path) as device, device.session() as session, flood(lab, numbered(station(2))):
        while not session.read_register("ingress.count", 0):
            pass
        session.load(info, source)
        while not session.read_register("ingress.count", 0):
            pass
    before, after = (
        [number_of(each.data) for each in PcapReader(tmp_path / f"port{number}_out.pcap")] for number in (2, 3)
    )
    assert before == list(range(1, len(before) + 1))
    assert after == list(range(1, len(after) + 1))
    assert device.ports is not None
    stats = device.ports.stats
    assert stats.received == len(before) + len(after) + stats.ports[1].dropped["overrun"]


@pytest.mark.parametrize("threads", [1, 2])
def test_packets_that_have_arrived_are_processed_before_closing(lab: Lab, threads: int) -> None:
    one, two = lab.host(1), lab.host(2)
    frames = [ethernet(station(2), number.to_bytes(2, "big")) for number in range(1500)]
    with switch(lab, threads=threads) as device:
        with device.switch.gate:
            for each in frames:
                one.send(each)
            closing = threading.Thread(target=device.close)
            closing.start()
        closing.join()
        one.send(ethernet(station(2), b"too late"))
        assert [two.receive() for _ in frames] == frames
    assert two.waiting() == []


def test_a_disappearing_interface_is_reported_and_others_continue(lab: Lab) -> None:
    one, two, three = lab.host(1), lab.host(2), lab.host(3)
    news: list[str] = []
    reported = threading.Event()

    def tell(words: str) -> None:
        news.append(words)
        reported.set()

    device = Switch()
    device.load(TAP.read_text())
    ports = open_ports(device, {number: f"s{number}" for number in (1, 2, 3)}, netns=lab.netns, news=tell)
    with ports:
        one.send(ethernet(station(2)))
        two.receive()
        lab.ip("link delete s2")
        assert reported.wait(20)
        one.send(ethernet(station(2)))
        one.send(ethernet(station(3), b"alive"))
        assert three.receive() == ethernet(station(3), b"alive")
    assert news == ["port 2: interface s2 has gone down"]
    assert dict(ports.stats.dropped) == {"unsent": 1}


def test_an_interface_that_comes_up_again_is_used(lab: Lab) -> None:
    one, two = lab.host(1), lab.host(2)
    with switch(lab):
        lab.ip("link set s1 down", "link set s1 up")
        one.send(ethernet(station(2), b"again"))
        assert two.receive() == ethernet(station(2), b"again")


def test_a_backup_replaces_a_replica_while_its_interface_is_down(lab: Lab) -> None:
    one, two, three = lab.host(1), lab.host(2), lab.host(3)
    device = Switch()
    device.load(source(ingress="std.mcast_grp = 5;"))
    assert device.pipeline is not None
    device.pipeline.engine.multicast.set(5, [(2, 1)], backups={(2, 1): [(3, 2)]})
    with open_ports(device, {number: f"s{number}" for number in (1, 2, 3)}, netns=lab.netns):
        one.send(ethernet(station(2), b"first"))
        assert two.receive() == ethernet(station(2), b"first")
        lab.ip("link set s2 down")
        device.tick()
        one.send(ethernet(station(2), b"second"))
        assert three.receive() == ethernet(station(2), b"second")
        lab.ip("link set s2 up")
        while device.pipeline.down:  # the kernel announces a link a little later
            device.tick()
        one.send(ethernet(station(2), b"third"))
        assert two.receive() == ethernet(station(2), b"third")


def test_captures_have_both_directions(lab: Lab, tmp_path: Path) -> None:
    one, two = lab.host(1), lab.host(2)
    frames = [ethernet(station(2), bytes([number]) * (50 + number)) for number in range(200)]
    with switch(lab, pcap=tmp_path / "new" / "folder"):
        for each in frames:
            one.send(each)
        for _ in frames:
            two.receive()
    folder = tmp_path / "new" / "folder"
    packets = {path.name: [each.data for each in PcapReader(path)] for path in folder.iterdir()}
    expected: dict[str, list[bytes]] = {f"port{port}_{way}.pcap": [] for port in (1, 2, 3) for way in ("in", "out")}
    assert packets == {**expected, "port1_in.pcap": frames, "port2_out.pcap": frames}
    times = [each.time for each in PcapReader(folder / "port1_in.pcap")]
    assert times == sorted(times)


def test_without_a_program_packets_are_counted_and_dropped(lab: Lab) -> None:
    one, two = lab.host(1), lab.host(2)
    with HostDevice(interfaces={1: "s1", 2: "s2"}, netns=lab.netns) as device:
        one.send(ethernet(station(2)))
        with device.switch.gate:
            pass
        device.load(TAP.read_text())
        one.send(ethernet(station(2), b"now"))
        frames = [two.receive()]
    assert device.ports is not None
    assert len(frames) + sum(device.ports.stats.dropped.values()) == 2
    assert frames[0] in (ethernet(station(2)), ethernet(station(2), b"now"))


def test_closing_releases_everything(lab: Lab) -> None:
    device = Switch()
    device.load(TAP.read_text())
    files, threads = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    ports = open_ports(device, {1: "s1", 2: "s2"}, netns=lab.netns)
    with ports:
        ports.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == files
    assert threading.active_count() == threads
    sockets = lab.inside(lambda: Path("/proc/thread-self/net/packet").read_text().splitlines()[1:])
    assert sockets == []


def test_a_missing_interface_is_reported(lab: Lab) -> None:
    with pytest.raises(DeviceError, match=r"there is no interface s9\n    the interfaces are lo, .*s1"):
        HostDevice(interfaces={1: "s1", 2: "s9"}, netns=lab.netns)
    assert lab.inside(lambda: Path("/proc/thread-self/net/packet").read_text().splitlines()[1:]) == []


def test_a_namespace_that_is_not_there() -> None:
    with pytest.raises(DeviceError, match="no network namespace nowhere: No such file"):
        HostDevice(interfaces={1: "s1"}, netns="nowhere")


def test_a_switch_with_ports_rejects_process(lab: Lab) -> None:
    with switch(lab) as device, pytest.raises(DeviceError, match="gets its packets from its ports"):
        device.process(Packets.from_list([(1, bytes(60))]))
