"""Failures and restarts of workers, replaced hosts, given-up switches and many jobs, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from midflight.errors import MidflightError
from midflight.primitives import Aggregate, Program
from midflight.runtime.endpoint import NoAnswerError
from midflight.runtime.p4runtime.client.session import Session
from midflight.testbed import LinkQuality, Net, Star
from midflight.testbed.group import Group
from midflight.testbed.hierarchy import Hierarchy
from midflight.testbed.topology import Topology, leaf_spine, star
from tests.testbed.test_allreduce import check, vectors
from tests.testbed.test_hierarchy import WORKERS, uneven

PROGRAM = Program(
    Aggregate("gradients", workers=3, lanes=8, slots=8),
    Aggregate("others", workers=2, lanes=4, slots=4, overflow="detect"),
)
BAD = LinkQuality(loss=0.03, duplicate=0.03, reorder=0.05)
US = 1_000


@pytest.fixture(scope="module")
def net() -> Iterator[Star]:
    with Star(6, program=PROGRAM, quality=BAD, seed=5) as made:
        yield made


@pytest.fixture
def group(net: Star) -> Iterator[Group]:
    with net.group("gradients", net.hosts[:3], server=net.hosts[5]) as made:
        check(arrays := vectors(3, 100), made.sum(arrays))
        yield made


def numbers(group: Group) -> list[int]:
    return [each.rounds for each in group.statistics]


@pytest.mark.parametrize("when", [1, 30 * US, 100 * US, 250 * US])
def test_a_worker_restarts_during_a_sum(net: Star, group: Group, when: int) -> None:
    arrays = vectors(3, 4000, when)
    net.after(when, group.restart, 1)
    check(arrays, group.sum(arrays))
    assert numbers(group) == [2, 1, 2], "worker 1 has restarted this sum, and not the previous one"
    check(arrays := vectors(3, 50, 1), group.sum(arrays))


def test_a_worker_is_down_temporarily(net: Star, group: Group) -> None:
    arrays = vectors(3, 4000)
    net.after(50 * US, group.kill, 0)
    net.after(5_000 * US, group.restart, 0)
    before = net.now
    check(arrays, group.sum(arrays))
    assert net.now - before > 5_000 * US


def test_a_worker_restarts_between_sums(group: Group) -> None:
    group.restart(2)
    check(arrays := vectors(3, 500), group.sum(arrays))
    assert numbers(group) == [2, 2, 1]


def test_all_workers_restart_at_once(net: Star, group: Group) -> None:
    arrays = vectors(3, 4000)
    for worker in range(3):
        net.after(100 * US, group.restart, worker)
    check(arrays, group.sum(arrays))
    assert numbers(group) == [1, 1, 1]


def test_another_host_replaces_a_worker_during_a_sum(net: Star, group: Group) -> None:
    arrays = vectors(3, 4000)
    sent = net.uplink(net.hosts[4]).packets
    net.after(50 * US, group.kill, 1)
    net.after(100 * US, group.replace, 1, net.hosts[4])
    check(arrays, group.sum(arrays))
    assert group.hosts == (net.hosts[0], net.hosts[4], net.hosts[2])
    assert net.uplink(net.hosts[4]).packets - sent >= 500
    assert {each.port for each in net.steering["s1"].admitted[1].members} == {1, 5, 3}
    group.replace(1, net.hosts[1])
    check(arrays := vectors(3, 50, 1), group.sum(arrays))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda net, group: group.replace(1, net.hosts[0]), "h1 is named twice"),
        (lambda net, group: group.replace(1, net.hosts[5]), "is a worker of gradients and cannot be its server"),
        (lambda net, group: group.replace(1, star(2)), "distinct hosts of its network; not of this network: Topology"),
        (lambda net, group: group.replace(3, net.hosts[4]), "gradients has no worker 3; they are numbered 0 to 2"),
        (lambda net, group: group.restart(-1), "gradients has no worker -1"),
        (lambda net, group: group.kill(7), "gradients has no worker 7"),
        (lambda net, group: net.kill("s2"), "there is no switch named s2"),
        (lambda net, group: net.revive("h1"), "there is no switch named h1"),
        (lambda net, group: net.give_up("s0"), "there is no switch named s0"),
    ],
)
def test_errors_are_reported_and_change_nothing(
    net: Star, group: Group, wrong: Callable[[Star, Group], None], words: str
) -> None:
    with pytest.raises(MidflightError, match=words):
        wrong(net, group)
    assert group.hosts == net.hosts[:3]
    check(arrays := vectors(3, 50, 1), group.sum(arrays))


def test_a_dead_worker_makes_the_sum_fail_and_the_next_sum_is_a_new_job(net: Star, group: Group) -> None:
    net.after(10 * US, group.kill, 2)
    with pytest.raises(NoAnswerError):
        group.sum(vectors(3, 400))
    check(arrays := vectors(3, 400), group.sum(arrays))
    assert numbers(group) == [1, 1, 1]


def test_only_one_sum_runs_at_a_time(net: Star, group: Group) -> None:
    refused: list[MidflightError] = []

    def again() -> None:
        with pytest.raises(MidflightError, match="the workers of gradients are busy with another sum") as refusal:
            group.sum(vectors(3, 10))
        refused.append(refusal.value)

    net.after(20 * US, again)
    check(arrays := vectors(3, 1000), group.sum(arrays))
    assert len(refused) == 1


def test_successive_groups_of_one_application_run_beside_another_application(net: Star) -> None:
    with net.group("others", [net.hosts[5], net.hosts[0]], server=net.hosts[4]) as beside:
        check(arrays := vectors(2, 30), beside.sum(arrays))
        for turn, hosts in enumerate([net.hosts[:3], net.hosts[2:5], net.hosts[2:5], net.hosts[:3]]):
            group = net.group("gradients", hosts)
            assert net.group("gradients", hosts) is group
            with pytest.raises(MidflightError, match="gradients already has a group of other hosts"):
                net.group("gradients", net.hosts[1:4])
            check(arrays := vectors(3, 300, turn), group.sum(arrays))
            group.close()
            group.close()
            assert list(net.steering["s1"].admitted) == [2]
            with pytest.raises(MidflightError, match="the group of gradients is closed"):
                group.sum(arrays)
        check(arrays := vectors(2, 30), beside.sum(arrays))


def test_two_concurrent_jobs_survive_a_loss_of_state() -> None:
    with Star(6, program=PROGRAM, quality=BAD, seed=6) as net:
        group, beside = net.group("gradients", net.hosts[:3]), net.group("others", net.hosts[3:5])
        arrays, others = vectors(3, 4000), vectors(2, 500)
        done = []
        net.after(50 * US, net.revive, "s1")
        net.after(100 * US, lambda: done.append(beside.sum(others)))
        net.after(150 * US, net.revive, "s1")
        check(arrays, group.sum(arrays))
        check(others, done[0])
        assert all(each.epochs for each in group.statistics)


def test_job_numbers_wrap(net: Star) -> None:
    hosts = net.hosts[:3]
    net.controller.jobs.numbers["gradients"] = 2**16 - 2
    for turn in range(3):
        with net.group("gradients", hosts) as group:
            check(arrays := vectors(3, 300, turn), group.sum(arrays))
    assert net.controller.jobs.numbers["gradients"] == 1


def test_switch_and_worker_fail_together(net: Star, group: Group) -> None:
    arrays = vectors(3, 4000)
    net.after(100 * US, net.kill, "s1")
    net.after(100 * US, group.restart, 0)
    net.after(1_000 * US, net.revive, "s1")
    check(arrays, group.sum(arrays))
    net.revive("s1")  # which is running
    check(arrays, group.sum(arrays))


def test_a_revived_switch_forwards_only_once_it_computes(
    net: Star, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    insert = Session.insert

    def noted(session: Session, table: str, *arguments: Any, **options: Any) -> None:
        insert(session, table, *arguments, **options)
        written.append(table)

    monkeypatch.setattr(Session, "insert", noted)
    net.kill("s1")
    net.revive("s1")
    admissions = [place for place, table in enumerate(written) if table == "ingress.admission"]
    assert admissions
    assert max(admissions) < written.index("ingress.route")


def test_a_given_up_switch_computes_again_after_revive(net: Star, group: Group) -> None:
    arrays = vectors(3, 4000)
    net.after(100 * US, net.give_up, "s1")
    before = net.link(net.hosts[5]).packets
    check(arrays, group.sum(arrays))
    between = net.link(net.hosts[5]).packets
    assert between - before > 500, "the server has computed"
    group.replace(0, net.hosts[3])
    check(arrays, group.sum(arrays))
    assert net.link(net.hosts[5]).packets - between > 500, "and continues when workers are replaced"
    net.after(100 * US, net.revive, "s1")
    check(arrays, group.sum(arrays))
    between = net.link(net.hosts[5]).packets
    check(arrays, group.sum(arrays))
    assert net.link(net.hosts[5]).packets - between == 0


def test_workers_finish_after_losing_the_switch_without_a_server() -> None:
    program = Program(Aggregate("gradients", workers=3, lanes=8, slots=16))
    with Star(3, program=program, quality=LinkQuality(loss=0.01), seed=1) as net:
        group = net.group("gradients", net.hosts)
        arrays = vectors(3, 4000)
        net.after(50 * US, net.give_up, "s1")
        check(arrays, group.sum(arrays))
        assert all(each.stuck > 200 for each in group.statistics)
        assert net.now < 5_000 * US, "they do not wait for the switch in every chunk"
        assert net.steering["s1"].admitted == {}


def test_other_switches_continue_without_a_switch_that_is_not_on_the_only_path() -> None:
    program = Program(Aggregate("gradients", workers=2, lanes=8, slots=16))
    with Net(leaf_spine(3, 2, hosts=1, quality=LinkQuality(loss=0.01)), program=program, seed=1) as net:
        group = net.group("gradients", net.hosts[:2], server=net.hosts[2])
        [computes] = [name for name, each in net.steering.items() if each.admitted]
        assert computes == "spine1"
        arrays = vectors(2, 4000)
        net.after(50 * US, net.give_up, "spine1")
        check(arrays, group.sum(arrays))
        assert [name for name, each in net.steering.items() if name != "spine1" and each.admitted] == ["spine2"]
        assert net.link(net.hosts[2]).packets == 0
        assert [each.epochs for each in group.statistics] == [1, 1]
        net.revive("spine1")
        assert [name for name, each in net.steering.items() if each.admitted] == ["spine1"]
        check(arrays, group.sum(arrays))


def test_a_worker_in_a_tree_can_be_replaced_by_a_host_on_the_same_switch() -> None:
    links = [(each.one.node, each.other.node, LinkQuality(loss=0.01)) for each in uneven().links]
    topology = Topology.of([*links, ("h8", "b", LinkQuality()), ("h9", "c", LinkQuality())])
    aggregate = Aggregate("sums", workers=6, lanes=8, slots=4)
    with Hierarchy(topology, program=Program(aggregate), workers=WORKERS, server="h7", seed=2) as net:
        group = net.workers()
        arrays = vectors(6, 1000)
        net.after(50 * US, group.restart, 5)
        net.after(100 * US, group.replace, 3, net.host("h8"))
        check(arrays, group.sum(arrays))
        assert net.uplink(net.host("h8")).packets > 125
        assert net.link(net.host("h7")).packets < 50, "only what was under way when the token changed"
        with pytest.raises(MidflightError, match="these workers form another tree"):
            group.replace(2, net.host("h4"))
        with pytest.raises(MidflightError, match="the workers on c are not consecutive"):
            group.replace(3, net.host("h9"))
        check(arrays, group.sum(arrays))


def test_packets_beyond_the_mtu_are_rejected_before_sending() -> None:
    program = Program(Aggregate("gradients", workers=2, lanes=32, slots=4))
    with (
        Star(3, program=program, quality=LinkQuality(mtu=128)) as net,
        pytest.raises(MidflightError, match="packets with 32 lanes have 180 bytes, but the MTU is 128") as refusal,
    ):
        net.group("gradients", net.hosts[:2])
    assert refusal.value.hint == "give the Aggregate at most 19 lanes"
    assert net.steering["s1"].admitted == {}
    program = Program(Aggregate("gradients", workers=2, lanes=19, slots=4))
    with Star(3, program=program, quality=LinkQuality(mtu=128)) as net:
        check(arrays := vectors(2, 1000), net.group("gradients", net.hosts[:2]).sum(arrays))
        assert net.totals().oversized == 0


def test_sixty_four_workers_with_multi_packet_messages_over_lossy_links() -> None:
    program = Program(Aggregate("gradients", workers=64, lanes=32, slots=16))
    with Star(65, program=program, quality=LinkQuality(loss=0.001, duplicate=0.001, reorder=0.01), seed=4) as net:
        group = net.group("gradients", net.hosts[:64])
        arrays = vectors(64, 700)
        net.after(30 * US, group.restart, 63)
        net.after(60 * US, net.revive, "s1")
        results = group.sum(arrays)
        check(arrays, results)
        assert all(np.array_equal(each.integers, results[0].integers) for each in results)
        assert net.link(net.hosts[64]).packets == 0
