"""Processes killed during sums: workers that restart or are replaced, switches that are revived or given up."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Aggregate, Program
from midflight.runtime.devices.switchprocess import SwitchProcess
from midflight.testbed import LinkQuality, Net, Star
from midflight.testbed.fabric.netns import NetnsFabric
from midflight.testbed.fabric.processcrew import ProcessCrew
from midflight.testbed.group import Group
from midflight.testbed.hierarchy import Hierarchy
from midflight.testbed.topology import Topology, leaf_spine
from tests.bmv2 import BMV2, ROOT
from tests.netns.left import left
from tests.testbed.test_allreduce import check, vectors

pytestmark = ROOT

PROGRAM = Program(Aggregate("gradients", workers=2, lanes=4, slots=4), Aggregate("others", workers=2, lanes=4, slots=4))
BAD = LinkQuality(loss=0.01, duplicate=0.01, reorder=0.01)


@pytest.fixture(scope="module", params=["host", pytest.param("bmv2", marks=BMV2)])
def net(request: pytest.FixtureRequest) -> Iterator[Star]:
    with Star(4, program=PROGRAM, fabric="netns", device=request.param, quality=BAD, seed=1) as made:
        yield made
    assert isinstance(made.fabric, NetnsFabric)
    assert left(made.fabric.run.id) == []


@pytest.fixture
def group(net: Star) -> Iterator[Group]:
    with net.group("gradients", net.hosts[:2]) as made:
        check(arrays := vectors(2, 20), made.sum(arrays))
        yield made


def amid(net: Net, group: Group, action: Callable[[], object], size: int = 8_000) -> None:
    """Run an action during a sum, and check the sum."""
    arrays = vectors(len(group), size)
    failures: list[BaseException] = []

    def job() -> None:
        try:
            check(arrays, group.sum(arrays))
        except BaseException as error:
            failures.append(error)

    before = net.uplink(group.hosts[0]).packets
    thread = threading.Thread(target=job)
    thread.start()
    while thread.is_alive() and net.uplink(group.hosts[0]).packets < before + 50:
        thread.join(0.001)
    assert thread.is_alive(), "the sum was complete before the action"
    try:
        action()
    finally:
        thread.join(60)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


def pids(group: Group) -> list[int]:
    assert isinstance(group.crew, ProcessCrew)
    return [each.process.pid for each in group.crew.processes if each is not None]


def test_a_worker_restarts_during_a_sum(net: Star, group: Group) -> None:
    before = pids(group)
    amid(net, group, lambda: group.restart(1))
    assert pids(group)[0] == before[0]
    assert pids(group)[1] != before[1]
    assert [each.rounds for each in group.statistics] == [2, 1]
    group.restart(0)
    check(arrays := vectors(2, 20), group.sum(arrays))


def test_another_host_replaces_a_worker_during_a_sum(net: Star, group: Group) -> None:
    before = pids(group)

    def change() -> None:
        group.kill(0)
        group.replace(0, net.hosts[2])

    amid(net, group, change)
    assert group.hosts == (net.hosts[2], net.hosts[1])
    assert pids(group)[1] == before[1], "remaining workers keep their processes"
    assert net.uplink(net.hosts[2]).packets > 2_000
    with pytest.raises(MidflightError, match="cannot be its server"):
        group.replace(0, net.hosts[3])
    check(arrays := vectors(2, 20), group.sum(arrays))


@pytest.mark.parametrize("how", ["revive", "give_up"])
def test_a_switch_is_killed_during_a_sum(net: Star, group: Group, how: str) -> None:
    def change() -> None:
        device = net.device
        assert isinstance(device, SwitchProcess)
        os.kill(device.pid, signal.SIGKILL)  # unknown to the controller
        device._process.wait(10)  # type: ignore[union-attr]
        net.kill("s1")
        net.kill("s1")
        getattr(net, how)("s1")

    before = net.link(net.hosts[3]).packets
    amid(net, group, change)
    assert [each.epochs for each in group.statistics] == [1, 1]
    assert (net.link(net.hosts[3]).packets > before) == (how == "give_up")
    net.revive("s1")
    check(arrays := vectors(2, 20), group.sum(arrays))


def test_worker_and_switch_are_killed_together(net: Star, group: Group) -> None:
    def change() -> None:
        net.kill("s1")
        group.kill(1)
        group.restart(1)
        net.revive("s1")

    amid(net, group, change)


def test_two_concurrent_jobs_and_a_later_one(net: Star, group: Group) -> None:
    with net.group("others", net.hosts[2:4], server=net.hosts[0]) as beside:
        amid(net, group, lambda: check(arrays := vectors(2, 300), beside.sum(arrays)))
        group.close()
        with net.group("gradients", net.hosts[1:3]) as after:
            check(arrays := vectors(2, 100, 7), after.sum(arrays))
        check(arrays := vectors(2, 100, 8), beside.sum(arrays))


def test_a_sum_succeeds_after_a_failed_one(net: Star, group: Group) -> None:
    with pytest.raises(DeviceError, match="the process of host h2 ended with signal SIGKILL"):
        amid(net, group, lambda: os.kill(pids(group)[1], signal.SIGKILL))
    check(arrays := vectors(2, 20), group.sum(arrays))
    with pytest.raises(DeviceError, match="the workers were stopped during a sum"):
        amid(net, group, group.close)
    with pytest.raises(MidflightError, match="this network has no virtual time"):
        net.after(1, group.close)


def test_other_switches_continue_without_a_switch_that_is_not_on_the_only_path() -> None:
    with Net(leaf_spine(3, 2, hosts=1), program=PROGRAM, fabric="netns") as net:
        group = net.group("gradients", net.hosts[:2], server=net.hosts[2])
        amid(net, group, lambda: net.give_up("spine1"), 40_000)
        assert [name for name, each in net.steering.items() if name != "spine1" and each.admitted] == ["spine2"]
        assert net.link(net.hosts[2]).packets == 0


@pytest.mark.parametrize("device", ["host", pytest.param("bmv2", marks=BMV2)])
def test_a_switch_inside_a_tree_and_a_worker_restart(device: str) -> None:
    pairs = [("h1", "a"), ("h2", "a"), ("h3", "b"), ("a", "top"), ("b", "top"), ("h4", "top")]
    aggregate = Aggregate("sums", workers=3, lanes=4, slots=4)
    workers = ["h1", "h2", "h3"]
    with Hierarchy(
        Topology.of([(*each, BAD) for each in pairs]),
        program=Program(aggregate),
        workers=workers,
        server="h4",
        device=device,
        fabric="netns",
    ) as net:
        group = net.workers()

        def change() -> None:
            net.kill("a")
            group.restart(2)
            net.revive("a")

        amid(net, group, change)
        assert net.link(net.host("h4")).packets == 0
        check(arrays := vectors(3, 50, 1), group.sum(arrays))


def test_links_have_their_mtu() -> None:
    with Star(3, program=PROGRAM, fabric="netns", quality=LinkQuality(mtu=400, loss=0.01)) as net:
        assert net.hosts[0].run(["cat", "/sys/class/net/eth0/mtu"]) == "400\n"
        check(arrays := vectors(2, 20), net.group("gradients", net.hosts[:2]).sum(arrays))
