"""Routes are shortest paths without loops. Groups and trees reach every member."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.errors import MidflightError
from midflight.primitives import Steering
from midflight.runtime.steering import Graph, Host, Link, Route, Switch, members, routes, tree
from midflight.runtime.steering.service import steering_entries
from midflight.runtime.steering.ways import find_ways
from tests.steering.graphs import diamond, graphs, host, star, switch


def delays_by_relaxation(graph: Graph, destination: str) -> dict[str, int]:
    """Return delays by Bellman-Ford, as an independent result: relax every link until nothing changes."""
    carriers = {each.name for each in graph.switches} | {destination}
    best = {destination: 0}
    changed = True
    while changed:
        changed = False
        for link in graph.links:
            for near, far in ((link.left, link.right), (link.right, link.left)):
                if far in best and far in carriers and best[far] + link.delay < best.get(near, 1 << 60):
                    best[near] = best[far] + link.delay
                    changed = True
    return best


@given(graphs())
def test_all_routes_are_shortest_paths(graph: Graph) -> None:
    for node in graph.nodes:
        oracle = delays_by_relaxation(graph, node.name)
        found = {name: hop.delay for name, hop in graph.towards(node.name).items()} | {node.name: 0}
        assert found == oracle


@given(graphs())
def test_routes_have_no_loops(graph: Graph) -> None:
    cables = {}
    for link in graph.links:
        cables[link.left, link.left_port] = link.right
        cables[link.right, link.right_port] = link.left
    tables = routes(graph)
    for target in graph.hosts:
        reachable = delays_by_relaxation(graph, target.name)
        for start in graph.switches:
            here, seen = start.name, set[str]()
            while here in tables and (entry := next((e for e in tables[here] if e.address == target.address), None)):
                assert here not in seen
                seen.add(here)
                here = cables[here, entry.port]
                assert entry.mac == graph.node(here).mac
            assert (here == target.name) == (start.name in reachable)


@given(graphs(), st.data())
def test_a_tree_delivers_one_copy_to_every_leaf(graph: Graph, data: st.DataObject) -> None:
    root = data.draw(st.sampled_from(graph.switches)).name
    reachable = sorted(set(graph.towards(root)) & {each.name for each in graph.hosts})
    leaves = data.draw(st.lists(st.sampled_from(reachable), unique=True)) if reachable else []
    copies = tree(graph, root, leaves)
    arrived, queue = list[str](), [root]
    while queue:
        here = queue.pop()
        assert len(arrived) + len(queue) < 100
        for port in copies.get(here, ()):
            far, _ = graph.opposite(here, port)
            (queue if far.startswith("s") else arrived).append(far)
    assert sorted(arrived) == sorted(leaves)


@given(graphs())
def test_the_order_of_links_does_not_matter(graph: Graph) -> None:
    assert routes(graph) == routes(Graph(graph.hosts, graph.switches, graph.links[::-1]))


def test_known_routes() -> None:
    graph = diamond()
    assert str(graph.path("h1", "h2")) == "h1 -> s1 -> s2 -> s4 -> h2 (delay 6)"
    assert str(graph.path("h1", "h1")) == "h1 (delay 0)"
    assert routes(graph)["s1"] == (
        Route(host(1).address, 1, host(1).mac),
        Route(host(2).address, 2, switch(2).mac),
        Route(host(3).address, 3, switch(3).mac),
    )
    assert tree(graph, "s1", ["h2", "h3"]) == {"s1": (2, 3), "s2": (2,), "s3": (3,), "s4": (3,)}


def test_only_switches_can_be_left_out() -> None:
    graph = diamond()
    assert graph.without(["h1", "s9"]) == graph
    assert {each.name for each in graph.without(["h1", "s2"]).switches} == {"s1", "s3", "s4"}


def test_a_host_carries_no_traffic_of_others() -> None:
    graph = Graph(
        (host(1), host(2), host(3)),
        (switch(1), switch(2)),
        (Link("h1", 0, "s1", 1), Link("h2", 0, "s1", 2), Link("h2", 1, "s2", 1), Link("h3", 0, "s2", 2)),
    )
    assert graph.path("h1", "h3") is None
    assert [each.address for each in routes(graph)["s1"]] == [host(1).address, host(2).address]


def test_between_equal_routes_the_first_name_wins() -> None:
    graph = Graph(
        (host(1), host(2)),
        (switch(1), switch(2), switch(3), switch(4)),
        (
            Link("h1", 0, "s1", 1), Link("s1", 2, "s3", 1), Link("s1", 3, "s2", 1),
            Link("s3", 2, "s4", 1), Link("s2", 2, "s4", 2), Link("s4", 3, "h2", 0),
        ),
    )  # fmt: skip
    path = graph.path("h1", "h2")
    assert path is not None
    assert path.nodes == ("h1", "s1", "s2", "s4", "h2")


def test_members_of_a_star() -> None:
    found = members(star(5), "s1", {"h2": 5000, "h1": 5001})
    assert [(each.port, each.mac, each.address, each.udp_port) for each in found] == [
        (1, host(1).mac, host(1).address, 5001),
        (2, host(2).mac, host(2).address, 5000),
    ]


def test_two_members_behind_one_port_are_rejected() -> None:
    graph = Graph(
        (host(1), host(2)),
        (switch(1), switch(2)),
        (Link("s1", 1, "s2", 1), Link("h1", 0, "s2", 2), Link("h2", 0, "s2", 3)),
    )
    assert len(members(graph, "s2", {"h1": 1, "h2": 1})) == 2
    with pytest.raises(MidflightError, match="h1 and h2 both lie behind port 1 of s1"):
        members(graph, "s1", {"h1": 1, "h2": 1})


@pytest.mark.parametrize(
    ("hosts", "links", "message"),
    [
        ((host(1), host(1)), (), "two nodes are named h1"),
        ((host(1), Host("other", 1, host(1).address)), (), "hosts h1 and other have the same address"),
        ((host(1),), (Link("h1", 0, "s9", 1),), "a link ends at s9"),
        ((host(1), host(2)), (Link("h1", 0, "s1", 1), Link("h2", 0, "s1", 1)), "two links end at port 1 of s1"),
        ((host(1),), (Link("h1", 0, "s1", 1, -1),), "negative delay"),
    ],
)
def test_an_invalid_graph_is_rejected(hosts: tuple[Host, ...], links: tuple[Link, ...], message: str) -> None:
    with pytest.raises(MidflightError, match=message):
        Graph(hosts, (Switch("s1", 1),), links)


def test_an_unknown_node_is_named() -> None:
    with pytest.raises(MidflightError, match="no host or switch named h9"):
        diamond().path("h1", "h9")


@settings(max_examples=60)
@given(graphs())
def test_entries_of_instances_follow_the_shortest_paths(graph: Graph) -> None:
    instances = {number: each.name for number, each in enumerate(graph.hosts, start=1)}
    found = steering_entries((), instances, find_ways(graph, instances), Steering())
    wanted: dict[str, dict[int, tuple[str, int]]] = {each.name: {} for each in graph.switches}
    for number, name in instances.items():
        for at, hop in graph.towards(name).items():
            if at in wanted:
                last = hop.node == name
                wanted[at][number] = "to_attached" if last else "to_contact", hop.port
    for at, entries in found.items():
        made: dict[int, tuple[str, int]] = {}
        for each in entries:
            if each.table.endswith(".instances"):
                instance = dict(each.match)["instance"]
                assert isinstance(instance, int)
                assert instance not in made
                made[instance] = each.action.removeprefix("ingress.steering."), dict(each.params)["egress_port"]
        assert made == wanted[at]
        attached = [each for each in wanted[at].values() if each[0] == "to_attached"]
        assert sum(each.table.endswith(".contacts") for each in entries) == len(attached)
