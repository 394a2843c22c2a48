"""Aggregation in trees of switches, each compiled for its own fan-in, over lossy links."""

from __future__ import annotations

import numpy as np
import pytest

from midflight.errors import MidflightError
from midflight.primitives import Aggregate, Program, Threshold
from midflight.runtime.controller.branches import branches
from midflight.runtime.devices.capabilities import Capabilities
from midflight.testbed import Net
from midflight.testbed.fabric.sim import SimFabric
from midflight.testbed.hierarchy import Hierarchy
from midflight.testbed.topology import LinkQuality, Topology, line, tree
from tests.testbed.test_allreduce import check, vectors

LOSSY = LinkQuality(loss=0.05, duplicate=0.05, reorder=0.1)


def uneven(quality: LinkQuality | None = None) -> Topology:
    """Return a tree: three workers on one leaf, two on another, one below two switches, and the server at the top."""
    quality = quality or LinkQuality()
    pairs = [
        *(("h1", "a"), ("h2", "a"), ("h3", "a"), ("h4", "b"), ("h5", "b"), ("h6", "c")),
        *(("c", "d"), ("a", "top"), ("b", "top"), ("d", "top"), ("h7", "top")),
    ]
    return Topology.of([(*each, quality) for each in pairs])


WORKERS = [f"h{number}" for number in range(1, 7)]


def test_each_switch_has_as_many_workers_as_there_are_below_it() -> None:
    found = branches(uneven().graph(), WORKERS, "h7")
    assert {name: (each.children, each.base, each.rank) for name, each in found.items()} == {
        "top": (("a", "b", "d"), 6, -1),
        "a": (("h1", "h2", "h3"), 0, 6),
        "b": (("h4", "h5"), 3, 7),
        "d": (("c",), 9, 8),
        "c": (("h6",), 5, 9),
    }


def test_workers_and_switches_below_one_switch_have_distinct_numbers() -> None:
    found = branches(line(3, 2).graph(), [f"h{number}" for number in range(1, 6)], "h6")
    assert {name: (each.children, each.parameters) for name, each in found.items()} == {
        "s3": (("h5", "s2"), {"workers": 2, "base": 4, "rank": -1, "switches": 1, "first": 5}),
        "s2": (("h3", "h4", "s1"), {"workers": 3, "base": 2, "rank": 5, "switches": 1, "first": 6}),
        "s1": (("h1", "h2"), {"workers": 2, "base": 0, "rank": 6, "switches": 0, "first": 0}),
    }


@pytest.mark.parametrize("quality", [LinkQuality(), LOSSY])
def test_a_line_of_switches_with_workers_on_each_sums_on_all(quality: LinkQuality) -> None:
    program = Program(Aggregate("sums", workers=5, lanes=8, slots=4, overflow="detect"))
    workers = [f"h{number}" for number in range(1, 6)]
    arrays = vectors(5, 400)
    with Hierarchy(line(3, 2, quality), program=program, workers=workers, server="h6", seed=3) as net:
        check(arrays, net.workers().sum(arrays))
        assert net.link(net.host("h6")).packets == 0
        if not quality.impaired:
            chunks = 50 + 1  # one more for the scale
            up = [net.fabric.statistics(*each).packets for each in (("s1", "s2"), ("s2", "s3"))]
            assert all(chunks <= each < 1.2 * chunks for each in up), "one for each chunk, and few retransmissions"


def test_a_tree_sums_several_applications_beside_others() -> None:
    program = Program(
        Aggregate("gradients", workers=3, lanes=8, slots=4),
        Aggregate("largest", workers=3, lanes=4, slots=4, operation="max"),
        Aggregate("pair", workers=2, lanes=4, slots=4),
        Threshold("pressure", above=900, clear=850),
    )
    topology = Topology.of([("h1", "a"), ("h2", "a"), ("h3", "top"), ("a", "top"), ("h4", "top")])
    with Hierarchy(topology, program=program, workers=["h1", "h2", "h3"], server="h4") as net:
        with pytest.raises(MidflightError, match="the tree sums gradients, largest"):
            net.workers()
        check(arrays := vectors(3, 100), net.workers("gradients").sum(arrays))
        (largest, *_) = net.workers("largest").allreduce([np.full(5, each, np.int64) for each in (3, 9, 7)])
        assert largest.tolist() == [9] * 5
        check(arrays := vectors(2, 50), net.group("pair", net.hosts[:2], server=net.host("h4")).sum(arrays))
        assert net.link(net.host("h4")).packets == 0, "only switches have summed"
        net.send("h1", "pressure", to="h4", sensor=7, value=950)
        assert net.alerts("pressure") == [(7, 950)]


def test_a_group_that_needs_several_switches_gets_a_hint_about_trees() -> None:
    with Net(tree(2, 2), program=Program(Aggregate("sums", workers=3, lanes=4, slots=4))) as net:
        with pytest.raises(MidflightError, match="both lie behind port") as raised:
            net.group("sums", net.hosts[:3], server=net.host("h4"))
        assert 'Hierarchy(topology, program=program, workers=["h1", "h2", "h3"], server="h4")' in raised.value.hint
        assert "s3, s1, s2" in raised.value.hint


def test_a_tree_requires_an_aggregate() -> None:
    with pytest.raises(MidflightError, match="no Aggregate over 3 workers"):
        Hierarchy(
            tree(2, 2),
            program=Program(Threshold("pressure", above=900, clear=850)),
            workers=["h1", "h2", "h3"],
            server="h4",
        )


def test_a_link_between_switches_carries_one_packet_each_way_per_chunk() -> None:
    arrays = vectors(6, 100)
    with Hierarchy(
        uneven(), program=Program(Aggregate("sums", workers=6, lanes=32, slots=8)), workers=WORKERS, server="h7"
    ) as net:
        check(arrays, net.workers().sum(arrays))
        chunks = 4 + 1  # one more for the scale
        for leaf in ("a", "b", "c"):
            above = "d" if leaf == "c" else "top"
            assert net.fabric.statistics(leaf, above).packets == chunks
            assert net.fabric.statistics(above, leaf).packets == chunks
        assert net.link(net.host("h7")).packets == 0


@pytest.mark.parametrize("overflow", ["saturate", "detect"])
def test_hosts_repair_losses_between_switches(overflow: str) -> None:
    assert overflow in ("saturate", "detect")
    aggregate = Aggregate(
        "sums", workers=6, lanes=8, slots=4, overflow="detect" if overflow == "detect" else "saturate"
    )
    arrays = vectors(6, 300)
    with Hierarchy(uneven(LOSSY), program=Program(aggregate), workers=WORKERS, server="h7", seed=1) as net:
        results = net.workers().sum(arrays)
        check(arrays, results)
        assert all(np.array_equal(each.integers, results[0].integers) for each in results)
        assert net.totals().lost > 0
        assert net.link(net.host("h7")).packets == 0


def test_any_switch_may_lose_its_state_during_a_sum() -> None:
    aggregate = Aggregate("sums", workers=6, lanes=8, slots=4)
    with Hierarchy(
        uneven(LinkQuality(loss=0.01)), program=Program(aggregate), workers=WORKERS, server="h7", seed=2
    ) as net:
        assert isinstance(net.fabric, SimFabric)
        simulator = net.fabric.network.simulator
        group = net.workers()
        for number, victim in enumerate(("a", "top"), 1):
            arrays = vectors(6, 2000, number)
            simulator.at(net.now + 100_000, net.kill, victim)
            simulator.at(net.now + 300_000, net.revive, victim)
            check(arrays, group.sum(arrays))
            assert net.fabric.network.switches[victim].lost > 0
            assert all(each.epochs == number for each in group.statistics)


def test_applications_change_while_a_tree_sums() -> None:
    pairs = [("h1", "a"), ("h2", "a"), ("h3", "b"), ("a", "top"), ("b", "top"), ("h4", "top")]
    topology = Topology.of([(*each, LinkQuality(loss=0.01)) for each in pairs])
    aggregate = Aggregate("sums", workers=3, lanes=4, slots=4)
    with Hierarchy(topology, program=Program(aggregate), workers=["h1", "h2", "h3"], server="h4", seed=4) as net:
        group = net.workers()
        net.after(100_000, net.change, net.program.extended(Threshold("pressure", above=900, clear=850, sensors=8)))
        check(arrays := vectors(3, 1000), group.sum(arrays))
        assert list(net.state("pressure", "b").armed.read()) == [1] * 8
        assert {each.epochs for each in group.statistics} == {0}, "the epoch has not changed"
        wider = Aggregate("sums", workers=3, lanes=8, slots=4)
        with pytest.raises(MidflightError, match="sums has a group"):
            net.change(net.program.replaced(wider))
        group.close()
        net.change(net.program.without("pressure").replaced(wider))
        check(arrays := vectors(3, 100, 2), net.workers().sum(arrays))
        assert net.link(net.host("h4")).packets == 0, "only switches have summed"


def test_a_switch_outside_the_tree_runs_the_other_applications() -> None:
    program = Program(Aggregate("sums", workers=2, lanes=4, slots=4))
    topology = Topology.of([("h1", "a"), ("h2", "a"), ("a", "b"), ("b", "h3")])
    with Hierarchy(topology, program=program, workers=["h1", "h2"], server="h3") as net:
        assert [*net.branches] == ["a"]
        with pytest.raises(MidflightError, match="b does not run sums"):
            net.state("sums", "b")
        net.change(program.extended(Threshold("pressure", above=900, clear=850, sensors=8)))
        assert net.placements["b"].on("b") == ("pressure",)
        assert list(net.state("pressure", "b").armed.read()) == [1] * 8
        check(arrays := vectors(2, 30), net.workers().sum(arrays))


def test_without_a_switch_the_server_computes_all_sums() -> None:
    arrays = vectors(6, 2000)
    aggregate = Aggregate("sums", workers=6, lanes=8, slots=4)
    with Hierarchy(
        uneven(LinkQuality(loss=0.01)), program=Program(aggregate), workers=WORKERS, server="h7", seed=3
    ) as net:
        assert isinstance(net.fabric, SimFabric)
        simulator = net.fabric.network.simulator
        simulator.at(100_000, net.kill, "b")
        simulator.at(300_000, net.give_up, "b")
        check(arrays, net.workers().sum(arrays))
        assert net.link(net.host("h7")).packets > 0


def test_a_switch_without_room_leaves_all_sums_to_the_server() -> None:
    arrays = vectors(4, 50)
    aggregate = Aggregate("sums", workers=4, lanes=8, slots=4)
    small = {"s1": Capabilities(kind="small", register_bits=100)}
    workers = ["h1", "h2", "h4", "h5"]
    with Hierarchy(tree(2, 3), program=Program(aggregate), workers=workers, server="h9", capabilities=small) as net:
        check(arrays, net.workers().sum(arrays))
        assert net.link(net.host("h9")).packets > 0
        assert "has 100" in net.placements["s1"].explain()


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        (["h1", "h4", "h2"], "the workers on a are not consecutive"),
        ([], "needs at least one worker"),
    ],
)
def test_an_invalid_tree_is_rejected(workers: list[str], words: str) -> None:
    graph = Topology.of([*((each.one.node, each.other.node) for each in uneven().links), ("h8", "top")]).graph()
    with pytest.raises(MidflightError, match=words):
        branches(graph, workers, "h7")
