"""Networks of namespaces: real switches, real processes, real sockets."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import RawPcapReader

from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Aggregate, Program
from midflight.primitives.fixedpoint import scale_bits
from midflight.runtime.engine.ports.namespace import within
from midflight.testbed import Net, Star
from midflight.testbed.fabric.base import Host
from midflight.testbed.fabric.netns import NetnsFabric
from midflight.testbed.fabric.netnshost import NetnsHost
from midflight.testbed.fabric.processcrew import ProcessCrew
from midflight.testbed.fabric.registry import open_fabric
from midflight.testbed.topology import LinkQuality, leaf_spine, star
from tests.bmv2 import BMV2, ROOT
from tests.netns.left import left

pytestmark = ROOT

PROGRAM = Program(
    Aggregate("gradients", workers=3, lanes=8, slots=16), Aggregate("others", workers=2, lanes=4, slots=4)
)


def vectors(workers: int, size: int, seed: int = 0) -> list[NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    return [random.normal(size=size).astype(np.float32) for _ in range(workers)]


def check(net: Net, arrays: list[NDArray[np.float32]], application: str = "gradients") -> None:
    """Sum over the network, and compare the integers with NumPy's."""
    sums = net.group(application, net.hosts[: len(arrays)]).sum(arrays)
    largest = max(float(np.abs(each).max()) for each in arrays)
    bits = scale_bits(2.0 ** int(np.frexp(largest)[1]), len(arrays))
    expected = np.sum([np.rint(each.astype(np.float64) * 2.0**bits) for each in arrays], axis=0).astype(np.int64)
    assert len(sums) == len(arrays)
    for each in sums:
        assert each.bits == bits
        np.testing.assert_array_equal(each.integers, expected)


def udp(host: Host) -> socket.socket:
    """Open a UDP socket on a host."""
    assert isinstance(host, NetnsHost)
    return within(host.netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))


@pytest.fixture(scope="module", params=["host", pytest.param("bmv2", marks=BMV2)])
def net(request: pytest.FixtureRequest) -> Iterator[Star]:
    with Star(4, program=PROGRAM, fabric="netns", device=request.param) as made:
        yield made
    assert isinstance(made.fabric, NetnsFabric)
    assert left(made.fabric.run.id) == []


def test_workers_in_processes_sum_over_a_real_switch(net: Star) -> None:
    check(net, vectors(3, 500))
    assert all(each.rounds == 1 for each in net.group("gradients", net.hosts[:3]).statistics)
    check(net, vectors(3, 7, seed=1))
    check(net, vectors(2, 30, seed=2), "others")
    assert net.link(net.hosts[3]).packets == 0, "the server was not involved"
    assert net.uplink(net.hosts[0]).packets >= 500 // 8
    assert net.totals().delivered == net.totals().packets


def test_without_the_switch_a_server_process_computes_the_same(net: Star) -> None:
    group = net.group("gradients", net.hosts[:3])
    before = net.downlink(net.hosts[3]).packets
    net.steering["s1"].withdraw(1)
    check(net, vectors(3, 60, seed=3))
    assert net.downlink(net.hosts[3]).packets - before >= 3 * 8
    assert group is net.group("gradients", net.hosts[:3])


def test_a_killed_switch_restarts_empty_and_sums_are_correct(net: Star) -> None:
    net.group("others", net.hosts[:2])
    assert 2 in net.steering["s1"].admitted
    before = net.uplink(net.hosts[0]).packets
    device = net.device
    failures: list[BaseException] = []

    def job() -> None:
        try:
            check(net, vectors(2, 20_000, seed=4), "others")
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=job)
    thread.start()
    while thread.is_alive() and net.uplink(net.hosts[0]).packets < before + 100:
        thread.join(0.001)
    net.kill("s1")
    assert thread.is_alive(), "the job was complete before the switch was killed"
    net.revive("s1")
    thread.join(60)
    assert not thread.is_alive()
    assert not failures, failures
    assert net.device is not device


def test_a_dead_worker_is_named(net: Star) -> None:
    group = net.group("others", net.hosts[:2])
    assert isinstance(group.crew, ProcessCrew)
    victim = group.crew.processes[1]
    assert victim is not None
    os.kill(victim.process.pid, signal.SIGKILL)
    with pytest.raises(DeviceError, match="the process of host h2 ended with signal SIGKILL"):
        group.sum(vectors(2, 10))


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Star, Path]]:
    folder = tmp_path_factory.mktemp("captures")
    quality = LinkQuality(loss=0.05, duplicate=0.05, reorder=0.05)
    with Star(4, program=PROGRAM, fabric="netns", quality=quality, seed=3, pcap=folder) as made:
        yield made, folder
    assert isinstance(made.fabric, NetnsFabric)
    assert left(made.fabric.run.id) == []


def test_lossy_links_do_not_change_sums(lossy: tuple[Star, Path]) -> None:
    net, _ = lossy
    check(net, vectors(3, 1000))
    totals = net.totals()
    assert totals.lost > 0
    assert totals.duplicated > 0
    assert totals.reordered > 0
    assert net.uplink(net.hosts[0]).packets > 125, "lost packets were retransmitted"
    assert sum(each.reliable.retransmitted for each in net.group("gradients", net.hosts[:3]).statistics) > 0


def test_captures_contain_complete_packets(lossy: tuple[Star, Path]) -> None:
    net, folder = lossy
    assert sorted(each.name for each in folder.iterdir()) == [f"h{number}-s1.pcap" for number in range(1, 5)]
    net.totals()  # waits for the capturing process, which has then written all earlier packets
    with RawPcapReader(str(folder / "h1-s1.pcap")) as reader:
        frames = list(reader)
    sent = 0
    for data, _ in frames:
        packet = Ether(data)
        if packet[IP].src != "10.0.0.1":
            continue
        sent += 1
        reported = packet[IP].chksum, packet[UDP].chksum
        del packet[IP].chksum, packet[UDP].chksum
        again = Ether(bytes(packet))
        assert (again[IP].chksum, again[UDP].chksum) == reported, "the kernel has left a checksum to its network card"
        assert (packet.dst, packet.src) == ("02:00:00:01:00:01", "02:00:00:00:00:01")
        # A worker without a result asks its peers, and sends them its own contribution.
        assert packet[UDP].dport == (19782 if packet[IP].dst == "10.0.0.4" else 49153)
    assert sent == net.uplink(net.hosts[0]).packets


@BMV2[0]
@BMV2[1]
def test_datagrams_cross_switches_of_both_kinds() -> None:
    kinds = {"leaf1": "host", "leaf2": "host", "spine1": "bmv2"}
    with Net(leaf_spine(2, 1, hosts=2), program=PROGRAM, fabric="netns", device=kinds) as net:
        with udp(net.host("h1")) as sender, udp(net.host("h4")) as receiver:
            receiver.bind(("10.0.0.4", 7000))
            receiver.settimeout(30)
            sender.bind(("10.0.0.1", 7001))
            sender.sendto(b"hello", ("10.0.0.4", 7000))
            assert receiver.recvfrom(100) == (b"hello", ("10.0.0.1", 7001))
        assert net.fabric.statistics("leaf1", "spine1").packets == 1
        with pytest.raises(MidflightError, match="both lie behind port 3 of leaf2"):
            net.group("gradients", [net.host("h1"), net.host("h2"), net.host("h3")])
        net.devices["spine1"].close()
        with pytest.raises(DeviceError):
            net.devices["spine1"].session()


def test_an_unknown_fabric_is_rejected() -> None:
    with pytest.raises(MidflightError, match="no fabric 'cloud'"):
        open_fabric("cloud", star(2))
    with pytest.raises(MidflightError, match="no device 'toaster'"):
        open_fabric("netns", star(2), "toaster")
    with pytest.raises(MidflightError, match="switch s1 has no kind of device"):
        open_fabric("netns", star(2), {})
    with pytest.raises(MidflightError, match="no switch named s2"):
        open_fabric("netns", star(2), {"s1": "host", "s2": "host"})
