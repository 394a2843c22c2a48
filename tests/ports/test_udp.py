"""UDP ports: frames between processes without privileges."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from midflight.errors import DeviceError
from midflight.runtime.devices.host import HostDevice
from midflight.runtime.devices.hostprocess import HostProcessDevice
from midflight.runtime.engine.ports.pcap import PcapReader
from midflight.runtime.engine.ports.spec import FilePort, InterfacePort, UdpPort, parse_port
from midflight.runtime.p4runtime.client.results import PacketIn
from tests.ports.lab import TAP, ethernet, station

PATIENCE = 20.0


class Plug:
    """The other end of a UDP port: a socket that sends frames to the switch's address and receives its frames."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.switch = address
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(PATIENCE)

    @property
    def address(self) -> str:
        return "{}:{}".format(*self.socket.getsockname())

    def send(self, frame: bytes) -> None:
        self.socket.sendto(frame, self.switch)

    def receive(self) -> bytes:
        return self.socket.recv(1 << 16)


def free_addresses(count: int) -> list[tuple[str, int]]:
    """Return loopback addresses with UDP ports that nothing uses."""
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname() for each in sockets]


@contextmanager
def bridge(*, peers: bool = True, **options: object) -> Iterator[tuple[HostDevice, list[Plug]]]:
    """A bridge with three UDP ports, and what is plugged into them."""
    with ExitStack() as opened:
        plugs = [Plug(each) for each in free_addresses(3)]
        for each in plugs:
            opened.enter_context(each.socket)
        names = {number: "udp:{}:{}".format(*each.switch) for number, each in enumerate(plugs, 1)}
        if peers:
            names = {number: f"{name},{plugs[number - 1].address}" for number, name in names.items()}
        device = opened.enter_context(HostDevice(TAP.read_text(), interfaces=names, **options))  # type: ignore[arg-type]
        yield device, plugs


def dropped(device: HostDevice) -> Mapping[str, int]:
    assert device.ports is not None
    return device.ports.stats.dropped


def test_frames_pass_between_ports_unchanged() -> None:
    with bridge() as (device, (one, two, three)):
        sent = [ethernet(station(2), bytes([size % 251]) * size) for size in (0, 1, 46, 1500, 9000, 16_306)]
        for each in sent:
            one.send(each)
        assert [two.receive() for _ in sent] == sent
        two.send(ethernet(station(3), b"on"))
        assert three.receive() == ethernet(station(3), b"on")
    assert device.ports is not None
    assert [(each.received, each.sent) for each in device.ports.stats.ports.values()] == [(6, 0), (1, 6), (0, 1)]
    assert not dropped(device)


def test_many_frames_keep_their_order() -> None:
    with bridge() as (_, (one, two, _)):
        for start in range(0, 1000, 20):
            frames = [ethernet(station(2), number.to_bytes(2, "big") * 100) for number in range(start, start + 20)]
            for each in frames:
                one.send(each)
            assert [two.receive() for _ in frames] == frames


def test_frames_that_are_too_large_or_too_short_are_dropped() -> None:
    with bridge() as (device, (one, two, _)):
        one.send(ethernet(station(2), bytes(16_307)))
        one.send(ethernet(station(2), bytes(60_000)))
        one.send(b"")
        one.send(b"\x02")
        one.send(ethernet(station(2), b"fits"))
        assert two.receive() == ethernet(station(2), b"fits")
    assert dropped(device)["oversize"] == 2
    assert sum(dropped(device).values()) == 4


def test_a_port_with_a_peer_ignores_others() -> None:
    with bridge() as (_, (one, two, _)):
        stranger = Plug(one.switch)
        with stranger.socket:
            stranger.send(ethernet(station(2), b"forged"))
        one.send(ethernet(station(2), b"real"))
        assert two.receive() == ethernet(station(2), b"real")


@pytest.mark.parametrize("threads", [1, 3])
def test_a_port_without_a_peer_answers_the_latest_sender(threads: int) -> None:
    with bridge(peers=False, threads=threads) as (device, (one, two, _)):
        one.send(ethernet(station(1), b"echo"))
        assert one.receive() == ethernet(station(1), b"echo")
        two.send(ethernet(station(1), b"first"))
        assert one.receive() == ethernet(station(1), b"first")
        one.send(ethernet(station(2), b"answer"))
        assert two.receive() == ethernet(station(2), b"answer")
        again = Plug(two.switch)
        with again.socket:
            again.send(ethernet(station(1), b"restarted"))
            assert one.receive() == ethernet(station(1), b"restarted")
            one.send(ethernet(station(2), b"new place"))
            assert again.receive() == ethernet(station(2), b"new place")
    assert not dropped(device)


def test_a_port_without_a_peer_sends_nothing_before_it_received_something() -> None:
    with bridge(peers=False) as (device, (one, two, _)), device.session() as session:
        one.send(ethernet(station(2), b"to nobody"))
        one.send(ethernet(station(1), b"echo"))
        assert one.receive() == ethernet(station(1), b"echo")
        session.packet_out(ethernet(9, b"nor this"), egress_port=2)
        two.send(ethernet(station(1), b"here"))
        assert one.receive() == ethernet(station(1), b"here")
        one.send(ethernet(station(2), b"first"))
        assert two.receive() == ethernet(station(2), b"first")
    assert dropped(device)["unsent"] == 2


@pytest.mark.parametrize("peers", [True, False])
def test_packet_outs_leave_and_packet_ins_arrive(peers: bool, tmp_path: Path) -> None:
    with bridge(peers=peers, pcap=tmp_path) as (device, (one, two, _)), device.session() as session:
        session.insert("ingress.spare", {"hdr.ethernet.destination": 7}, "ingress.tell", {})
        one.send(ethernet(7, b"hello"))
        assert session.packets_in(timeout=PATIENCE) == [PacketIn(ethernet(7, b"hello"), {"ingress_port": 1})]
        session.packet_out(ethernet(9, b"out"), egress_port=1)
        assert one.receive() == ethernet(9, b"out")
        two.send(ethernet(station(1), b"recorded"))
        assert one.receive() == ethernet(station(1), b"recorded")
    recorded = [each.data for each in PcapReader(tmp_path / "port2_in.pcap")]
    assert recorded == [ethernet(station(1), b"recorded")]


def test_the_other_end_may_end_and_return() -> None:
    with bridge() as (_, (one, two, _)):
        where = two.socket.getsockname()
        two.socket.close()
        for _ in range(3):
            one.send(ethernet(station(2), b"lost"))
            one.send(ethernet(station(1), b"echo"))
            assert one.receive() == ethernet(station(1), b"echo")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
            back.bind(where)
            back.settimeout(PATIENCE)
            back.sendto(ethernet(station(1), b"here"), two.switch)
            assert one.receive() == ethernet(station(1), b"here")
            frames = [ethernet(station(2), b"once"), ethernet(station(2), b"twice")]
            for each in frames:
                one.send(each)
            assert back.recv(1 << 16) in frames  # the error of an earlier frame may take the place of the first


def test_a_switch_in_a_process_of_its_own_has_udp_ports() -> None:
    plugs = [Plug(each) for each in free_addresses(2)]
    names = {number: "udp:{}:{}".format(*each.switch) for number, each in enumerate(plugs, 1)}
    with plugs[0].socket, plugs[1].socket, HostProcessDevice(TAP.read_text(), interfaces=names):
        for sender, receiver in ((0, 0), (1, 0), (0, 1)):
            frame = ethernet(station(receiver + 1), bytes([sender]) * 100)
            plugs[sender].send(frame)
            assert plugs[receiver].receive() == frame


def test_an_address_in_use_is_an_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(DeviceError, match=f"port udp:127.0.0.1:{port}: Address already in use"):
            HostDevice(TAP.read_text(), interfaces={1: f"udp:127.0.0.1:{port}"})


def test_ports_are_read_from_text() -> None:
    assert parse_port("udp:127.0.0.1:7001") == UdpPort(("127.0.0.1", 7001))
    assert parse_port("udp:10.0.0.1:1,10.0.0.2:65535") == UdpPort(("10.0.0.1", 1), ("10.0.0.2", 65_535))
    assert isinstance(parse_port("udp0"), InterfacePort)
    assert isinstance(parse_port("pcap:udp:1,"), FilePort)


@pytest.mark.parametrize(
    "text",
    ["udp:", "udp:7001", "udp:localhost:7001", "udp:127.0.0.1:0", "udp:127.0.0.1:65536", "udp:127.0.0.1:7001,",
     "udp:127.0.0.1:7001,b:1", "udp:::1:7001", "udp:127.0.0.1:+1", "udp:127.0.0.1:1,127.0.0.1:2,127.0.0.1:3"],
)  # fmt: skip
def test_malformed_addresses_are_refused(text: str) -> None:
    with pytest.raises(DeviceError, match=r"is not a UDP port"):
        parse_port(text)
