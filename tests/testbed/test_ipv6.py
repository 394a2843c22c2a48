"""Networks with IPv6 hosts: sums equal those over IPv4, in the switch and at the server."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

import numpy as np
import pytest
from numpy.typing import NDArray

from midflight.errors import MidflightError
from midflight.primitives import Aggregate, Program
from midflight.runtime.endpoint.allreduce import AllReduce
from midflight.testbed import Net, Star
from midflight.testbed.fabric.sim import SimFabric
from midflight.testbed.hierarchy import Hierarchy
from midflight.testbed.topology import Topology, line, star

PROGRAM = Program(Aggregate("gradients", workers=3, lanes=8, slots=4, overflow="saturate"))
ARRAYS = [np.random.default_rng(worker).normal(size=200).astype(np.float32) for worker in range(3)]


def total(net: Net) -> NDArray[np.float32]:
    sums = net.group("gradients", net.hosts[:3]).allreduce(ARRAYS)
    assert all(np.array_equal(each, sums[0]) for each in sums)
    return np.asarray(sums[0])


@pytest.fixture(scope="module")
def expected() -> NDArray[np.float32]:
    with Star(4, program=PROGRAM) as net:
        return total(net)


@pytest.mark.parametrize("offload", [True, False])
def test_sums_are_the_same_over_ipv6_with_losses(expected: NDArray[np.float32], offload: bool) -> None:
    with Star(4, program=PROGRAM, ipv6=True, offload=offload, loss=0.03, duplicate=0.03, reorder=0.03) as net:
        assert net.hosts[0].address == IPv6Address("64:ff9b:1::10.0.0.1")
        assert np.array_equal(total(net), expected)
        assert isinstance(net.fabric, SimFabric)
        assert [each.malformed for each in net.fabric.hosts.values()] == [0] * 4, "all checksums were correct"
        asked = net.downlink(net.hosts[3]).packets
        assert (asked == 0) == offload, "the server computes if the switch does not"


def test_results_pass_several_levels_of_switches() -> None:
    topology = Topology.of([("h1", "a"), ("h2", "a"), ("h3", "b"), ("a", "top"), ("b", "top"), ("h4", "top")])
    sums = {}
    for name, each in {"IPv4": topology, "IPv6": topology.with_ipv6()}.items():
        aggregate = Aggregate("sums", workers=3, lanes=8, slots=4)
        with Hierarchy(each, program=Program(aggregate), workers=["h1", "h2", "h3"], server="h4") as net:
            sums[name] = net.workers().sum(ARRAYS)[0].integers
            assert net.link(net.host("h4")).packets == 0
    assert np.array_equal(sums["IPv4"], sums["IPv6"])


def test_sums_survive_a_failed_switch_over_ipv6(expected: NDArray[np.float32]) -> None:
    with Star(4, program=PROGRAM, ipv6=True) as net:
        net.after(20_000, net.kill, "s1")
        net.after(400_000, net.revive, "s1")
        assert np.array_equal(total(net), expected)


def test_the_hosts_of_a_group_have_one_address_family() -> None:
    with Net(star(5).with_ipv6(["h3", "h4"]), program=PROGRAM) as net:
        assert [each.address.version for each in net.hosts] == [4, 4, 6, 6, 4]
        with pytest.raises(MidflightError, match=r"h1 is 10\.0\.0\.1 and h3 is 64:ff9b:1::a00:3"):
            net.group("gradients", net.hosts[:3])
        with pytest.raises(MidflightError, match=r"h1 is 10\.0\.0\.1 and h4 is"):
            net.group("gradients", [net.hosts[0], net.hosts[1], net.hosts[4]], server=net.hosts[3])


def test_fewer_lanes_fit_a_packet_over_ipv6() -> None:
    hints = []
    for address in ("10.0.0.1", "64:ff9b:1::1"):
        with pytest.raises(MidflightError, match="the MTU is 180") as caught:
            AllReduce(application=1, worker=0, workers=1, lanes=64, slots=1, server=(address, 19782), mtu=180)
        hints.append(caught.value.hint)
    assert hints == ["give the Aggregate at most 32 lanes", "give the Aggregate at most 27 lanes"]


def test_ipv6_must_be_requested() -> None:
    mixed = line(2, 2).with_ipv6({"h2": "2001:db8::2"})
    found: Sequence[object] = [mixed.address(name) for name in mixed.hosts]
    assert found == [IPv4Address("10.0.0.1"), IPv6Address("2001:db8::2"), *map(IPv4Address, ("10.0.0.3", "10.0.0.4"))]
    assert "2001:db8::2" in mixed.svg()
    with pytest.raises(MidflightError, match="set for s1, but no host has this name"):
        Topology.of([("h1", "s1")]).with_ipv6(["s1"])
