"""Joint selection of instance and path, which is deterministic and reports its reasons."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.errors import MidflightError
from midflight.runtime.steering import (
    C_NMA,
    C_SMA,
    Agent,
    Candidate,
    Category,
    Gauge,
    Graph,
    Metric,
    MinMax,
    Path,
    Policy,
    Report,
    Route,
    along,
    candidates,
    select,
)
from tests.steering.graphs import diamond, graphs, host, switch

SMA = Agent(C_SMA, [Gauge("idle", Category.COMPUTING, MinMax(worst=0, best=100))])
NMA = Agent(C_NMA, [Gauge("delay", Category.COMMUNICATION, MinMax(worst=10, best=0))])


def candidate(name: str, computing: int, network: int, *, delay: int = 5, at: int = 0, via: str = "s2") -> Candidate:
    return Candidate(
        name,
        Path(("s1", via, name), delay),
        Report(name, {Category.COMPUTING: Metric("computing_comb", 1, computing)}, at),
        Report(f"s1 to {name}", {Category.COMMUNICATION: Metric("communication_comb", 1, network)}, at),
    )


def simple_paths(
    graph: Graph, here: tuple[str, ...], end: str, delay: int = 0
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield all paths without repeated nodes, by exhaustive search."""
    if here[-1] == end:
        yield delay, here
        return
    if here[-1].startswith("h") and len(here) > 1:
        return
    for link in graph.links:
        for near, far in ((link.left, link.right), (link.right, link.left)):
            if near == here[-1] and far not in here:
                yield from simple_paths(graph, (*here, far), end, delay + link.delay)


@given(graphs().filter(lambda graph: len(graph.links) < 13), st.integers(1, 5), st.data())
def test_the_best_paths_are_found_in_order(graph: Graph, most: int, data: st.DataObject) -> None:
    names = st.sampled_from([each.name for each in graph.nodes])
    source, destination = data.draw(names), data.draw(names)
    best: dict[tuple[str, ...], int] = {}
    for delay, nodes in simple_paths(graph, (source,), destination):
        best[nodes] = min(delay, best.get(nodes, delay))
    oracle = sorted((delay, len(nodes), nodes) for nodes, delay in best.items())[:most]
    found = graph.paths(source, destination, most)
    assert [(each.delay, len(each.nodes), each.nodes) for each in found] == oracle
    assert graph.path(source, destination) == (found[0] if found else None)


def test_an_idle_distant_instance_beats_a_busy_near_one() -> None:
    reports = {"10.0.0.2": SMA.report("10.0.0.2", {"idle": 90}, 0), "10.0.0.3": SMA.report("10.0.0.3", {"idle": 40}, 0)}
    offered = candidates(diamond(), "s1", {"10.0.0.2": "h2", "10.0.0.3": "h3"}, reports, NMA)
    # h2: computing 9, delay 5 gives 5 (by s3: delay 7, 3); h3: computing 4, delay 2 gives 8 (by s2: delay 10, 0).
    choice = select(offered)
    assert choice.candidate.csci_id == "10.0.0.2"
    assert choice.candidate.path.nodes == ("s1", "s2", "s4", "h2")
    assert choice.metric == Metric("norm_fi", 2, 7)
    nearer = select(offered, Policy(weights={Category.COMMUNICATION: 2}))
    assert nearer.candidate.csci_id == "10.0.0.3"
    assert choice.explain().splitlines() == [
        "10.0.0.2 by s1 -> s2 -> s4 -> h2 (delay 5): highest score",
        "    10.0.0.2 by s1 -> s2 -> s4 -> h2 (delay 5): score 7.00 (computing 9, communication 5)",
        "    10.0.0.3 by s1 -> s3 -> h3 (delay 2): score 6.00 (computing 4, communication 8)",
        "    10.0.0.2 by s1 -> s3 -> s4 -> h2 (delay 7): score 6.00 (computing 9, communication 3); not recommended",
        "    10.0.0.3 by s1 -> s2 -> s4 -> s3 -> h3 (delay 10): score 2.00 "
        "(computing 4, communication 0); not recommended",
    ]


def test_an_instance_without_metrics_is_not_a_candidate() -> None:
    reports = {"10.0.0.3": SMA.report("10.0.0.3", {"idle": 40}, 0)}
    offered = candidates(diamond(), "s1", {"10.0.0.2": "h2", "10.0.0.3": "h3"}, reports, NMA, paths=1)
    assert [each.csci_id for each in offered] == ["10.0.0.3"]


def test_a_candidate_with_a_low_score_in_any_category_is_the_last_resort() -> None:
    lopsided, plain = candidate("a", 10, 3), candidate("b", 6, 6)
    assert select([lopsided, plain]).candidate is plain
    alone = select([lopsided])
    assert alone.candidate is lopsided
    assert alone.reason == "highest score, although not recommended"
    assert select([lopsided, plain], Policy(recommended=3)).candidate is lopsided


def test_traffic_stays_unless_another_candidate_is_clearly_better() -> None:
    here, there = candidate("a", 6, 6), candidate("b", 8, 6)
    current = ("a", here.path.nodes)
    kept = select([here, there], Policy(stickiness=1), current=current)
    assert kept.candidate is here
    assert kept.reason == "kept, because the best is ahead by only 1.00"
    assert select([here, there], Policy(stickiness=0), current=current).candidate is there
    assert select([here, candidate("b", 9, 6)], Policy(stickiness=1), current=current).candidate.csci_id == "b"
    assert select([there], Policy(stickiness=9), current=current).candidate is there


def test_traffic_leaves_an_instance_that_is_ruled_out_or_no_longer_recommended() -> None:
    policy = Policy(stickiness=10, max_age=10)
    other = candidate("b", 5, 5, at=20)
    for here in (candidate("a", 9, 9, at=9), candidate("a", 9, 3, at=20)):
        assert select([here, other], policy, current=("a", here.path.nodes), now=20).candidate is other


def test_old_metrics_and_long_paths_are_ruled_out_with_the_reason() -> None:
    offered = [candidate("a", 9, 9, at=0), candidate("b", 9, 9, at=5, delay=101)]
    with pytest.raises(MidflightError) as caught:
        select(offered, Policy(max_delay=100, max_age=9), now=10)
    assert caught.value.hint == "a: its metrics are 10 old, at most 9 allowed; b: its delay is 101, at most 100 allowed"
    assert select(offered, Policy(max_delay=101, max_age=9), now=10).candidate.csci_id == "b"
    assert select(offered, Policy(max_delay=100, max_age=10), now=10).candidate.csci_id == "a"


def test_no_offers() -> None:
    with pytest.raises(MidflightError, match="no service contact instance"):
        select([])


def test_ties_go_to_delay_then_length_then_name() -> None:
    slow, quick, first = candidate("a", 7, 7, delay=9), candidate("c", 7, 7), candidate("b", 7, 7)
    assert select([slow, quick, first]).candidate is first
    assert select([slow, quick]).candidate is quick
    assert "tie" in select([slow, quick]).reason
    assert select([candidate("b", 7, 7, via="s9"), candidate("b", 7, 7, via="s3")]).candidate.path.nodes[1] == "s3"


OFFERS = st.lists(
    st.builds(candidate, st.sampled_from("abcd"), st.integers(0, 10), st.integers(0, 10), delay=st.integers(0, 3)),
    min_size=1,
    max_size=6,
    unique_by=lambda each: (each.csci_id, each.path.delay),
)


@given(OFFERS, st.data())
def test_the_best_candidate_is_chosen_in_any_order_of_offers(offers: list[Candidate], data: st.DataObject) -> None:
    choice = select(offers)
    again = select(data.draw(st.permutations(offers)))
    assert (again.candidate, again.ranking) == (choice.candidate, choice.ranking)
    sums = {id(each): sum(metric.value for metric in each.metrics) for each in offers}
    fine = [each for each in offers if all(metric.value >= 4 for metric in each.metrics)] or offers
    assert sums[id(choice.candidate)] == max(sums[id(each)] for each in fine)


def test_routes_along_a_chosen_path() -> None:
    path = diamond().paths("h1", "h2", 2)[1]
    assert path.nodes == ("h1", "s1", "s3", "s4", "h2")
    service = IPv4Address("10.0.0.255")
    assert along(diamond(), path, service) == {
        "s1": Route(service, 3, switch(3).mac),
        "s3": Route(service, 2, switch(4).mac),
        "s4": Route(service, 3, host(2).mac),
    }
