"""Ordinary sockets over IPv6 through real switches. The kernel drops datagrams with a wrong or missing checksum."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from midflight.testbed import Star
from midflight.testbed.fabric.netns import NetnsFabric
from tests.bmv2 import BMV2, PING, ROOT
from tests.netns.left import left
from tests.netns.test_networks import PROGRAM, check, vectors

pytestmark = ROOT


@pytest.fixture(scope="module", params=["host", pytest.param("bmv2", marks=BMV2)])
def net(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Star, Path]]:
    folder = tmp_path_factory.mktemp("captures")
    with Star(4, program=PROGRAM, fabric="netns", device=request.param, ipv6=True, pcap=folder) as made:
        yield made, folder
    assert isinstance(made.fabric, NetnsFabric)
    assert left(made.fabric.run.id) == []


def counters(net: Star, host: int) -> dict[str, int]:
    """Return the IPv6 counters of a host's kernel."""
    lines = net.hosts[host].run(["cat", "/proc/net/snmp6"]).splitlines()
    return {name: int(number) for name, number in (each.split() for each in lines)}


def test_workers_sum_over_a_real_switch(net: tuple[Star, Path]) -> None:
    network, _ = net
    check(network, vectors(3, 500))
    check(network, vectors(2, 30, seed=2), "others")
    assert network.link(network.hosts[3]).packets == 0, (
        "the server was not involved, and there was no neighbour discovery"
    )
    for host in range(3):
        counted = counters(network, host)
        assert counted["Udp6InDatagrams"] >= 500 // 8
        assert counted["Udp6InCsumErrors"] == 0
        assert counted["Icmp6OutMsgs"] == 0


def test_without_the_switch_a_server_process_computes_the_same(net: tuple[Star, Path]) -> None:
    network, _ = net
    network.group("gradients", network.hosts[:3])
    network.steering["s1"].withdraw(1)
    check(network, vectors(3, 60, seed=3))
    assert network.downlink(network.hosts[3]).packets >= 3 * 8


@PING
def test_hosts_reach_each_other(net: tuple[Star, Path]) -> None:
    network, _ = net
    reported = network.host("h1").run(["ping", "-c", "1", "-W", "20", str(network.host("h4").address)])
    assert "1 received" in reported


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not on PATH")
def test_wireshark_finds_all_checksums_correct(net: tuple[Star, Path]) -> None:
    network, folder = net
    check(network, vectors(3, 100, seed=4))
    network.fabric.close()  # which completes the captures
    reported = subprocess.run(
        ["tshark", "-r", str(folder / "h1-s1.pcap"), "-Y", "udp", "-o", "udp.check_checksum:TRUE",
         "-T", "fields", "-e", "eth.src", "-e", "udp.checksum.status"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    good = Counter(reported.splitlines())
    assert set(good) == {"02:00:00:00:00:01\t1", "02:00:00:01:00:01\t1"}
