"""Topologies: builders, port numbers, addresses, and errors."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from xml.etree import ElementTree

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.errors import MidflightError
from midflight.runtime.steering import routes
from midflight.testbed.topology import (
    Link,
    LinkQuality,
    Port,
    Topology,
    fat_tree,
    from_networkx,
    leaf_spine,
    line,
    star,
    tree,
)

LOSSY = LinkQuality(loss=0.01, delay=2_000_000)


def graph(topology: Topology) -> nx.Graph:
    """Return a topology as a networkx graph."""
    made = nx.Graph()
    made.add_nodes_from((*topology.hosts, *topology.switches))
    made.add_edges_from((link.one.node, link.other.node) for link in topology.links)
    return made


@pytest.mark.parametrize(
    ("topology", "hosts", "switches", "links", "diameter"),
    [
        (star(5), 5, 1, 5, 2),
        (star(1), 1, 1, 1, 1),
        (line(4, 2), 8, 4, 11, 5),
        (line(1, 1), 1, 1, 1, 1),
        (tree(3, 2), 8, 7, 14, 6),
        (tree(1, 4), 4, 1, 4, 2),
        (tree(2, 3), 9, 4, 12, 4),
        (leaf_spine(4, 2, 3), 12, 6, 20, 4),
        (fat_tree(4), 16, 20, 48, 6),
        (fat_tree(6), 54, 45, 162, 6),
    ],
)
def test_builders_create_the_named_shapes(
    topology: Topology, hosts: int, switches: int, links: int, diameter: int
) -> None:
    made = graph(topology)
    assert (len(topology.hosts), len(topology.switches), len(topology.links)) == (hosts, switches, links)
    assert made.number_of_edges() == links
    assert nx.is_connected(made)
    assert nx.diameter(made) == diameter
    for name in topology.switches:
        assert [*topology.ports(name)] == [*range(1, made.degree(name) + 1)]
    for name in topology.hosts:
        assert [*topology.ports(name)] == [0]


def test_a_fat_tree_has_a_path_through_every_core() -> None:
    made = graph(fat_tree(4))
    assert all(made.degree(name) == 4 for name in made if not name.startswith("h"))
    ways = list(nx.all_shortest_paths(made, "h1", "h16"))
    assert sorted(way[3] for way in ways) == ["core1", "core2", "core3", "core4"]


def test_port_1_of_a_trees_switch_leads_up() -> None:
    topology = tree(3, 2)
    assert {name: topology.ports(name)[1][0].node for name in topology.switches[1:]} == {
        "s2": "s1", "s3": "s1", "s4": "s2", "s5": "s2", "s6": "s3", "s7": "s3",
    }  # fmt: skip
    assert [topology.ports("s7")[port][0].node for port in (2, 3)] == ["h7", "h8"]


def test_addresses_follow_from_the_order() -> None:
    topology = star(300)
    assert topology.address("h1") == IPv4Address("10.0.0.1")
    assert topology.address("h300") == IPv4Address("10.0.1.44")
    assert topology.mac("h300") == 0x02_00_00_00_01_2C
    assert topology.mac("s1") == topology.gateway("h7") == 0x02_00_00_01_00_01
    macs = {topology.mac(name) for name in (*topology.hosts, *topology.switches)}
    assert len(macs) == 301


def test_ports_are_numbered_in_order_except_given_ones() -> None:
    topology = Topology.of(
        [("h1", "s1"), ("s1:2", "s2:0"), ("h2", "s1"), ("s2", "h3"), ("core", "s1", LOSSY)], hosts=["extra"]
    )
    assert topology.hosts == ("extra", "h1", "h2", "h3")
    assert topology.switches == ("s1", "s2", "core")
    assert [(str(link.one), str(link.other)) for link in topology.links] == [
        ("h1:0", "s1:1"), ("s1:2", "s2:0"), ("h2:0", "s1:3"), ("s2:1", "h3:0"), ("core:1", "s1:4"),
    ]  # fmt: skip
    assert topology.links[-1].quality == LOSSY
    assert topology.ports("s2") == {0: (Port("s1", 2), topology.links[1]), 1: (Port("h3"), topology.links[3])}


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_steering_finds_a_route_from_every_switch_to_every_host(leaves: int, spines: int, hosts: int) -> None:
    topology = leaf_spine(leaves, spines, hosts)
    ways = routes(topology.graph())
    macs = {topology.mac(name): name for name in (*topology.hosts, *topology.switches)}
    for host in topology.hosts:
        for switch in topology.switches:
            node, steps = switch, 0
            while node != host:
                route = next(each for each in ways[node] if each.address == topology.address(host))
                far = topology.ports(node)[route.port][0].node
                assert macs[route.mac] == far
                node, steps = far, steps + 1
                assert steps <= 3


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: star(0), "a star has 1 to 500 hosts, not 0"),
        (lambda: fat_tree(5), "an even number of ports"),
        (lambda: tree(0, 2), "1 to 16 levels"),
        (lambda: tree(16, 16), "switches, not"),
        (lambda: leaf_spine(2, 0, 1), "1 to 200 spines"),
        (lambda: line(0), "1 to 10000 switches"),
        (lambda: Topology(("1st",), (), ()), "cannot be called '1st'"),
        (lambda: Topology(("h1", "a b"), (), ()), "cannot be called 'a b'"),
        (lambda: Topology(("a" * 33,), (), ()), "cannot be called"),
        (lambda: Topology(("h1",), ("h1",), ()), "the same name, h1"),
        (lambda: Topology((), ("s1",), (Link(Port("s1", 1), Port("s1", 2)),)), "from s1 to itself"),
        (lambda: Topology(("h1",), ("s1",), (Link(Port("h1", 1), Port("s1", 2)),)), "only port 0, not port 1"),
        (lambda: Topology(("h1",), ("s1",), (Link(Port("h1"), Port("s1", 510)),)), "no port 510"),
        (lambda: Topology.of([("h1", "s1"), ("h1", "s2")]), "two links end in host h1"),
        (lambda: Topology.of([("h1", "s1:1"), ("h2", "s1:1")]), "two links end in port 1 of s1"),
        (lambda: Topology.of([("h1", "s1:one")]), "'s1:one' is not an end of a link"),
        (lambda: star(2).address("s1"), "no host named s1"),
        (lambda: star(2).mac("s2"), "no host or switch named s2"),
        (lambda: Topology(("h1",), (), ()).gateway("h1"), "host h1 has no link"),
    ],
)
def test_an_invalid_topology_is_rejected(wrong: Callable[[], object], words: str) -> None:
    with pytest.raises(MidflightError, match=words):
        wrong()


def test_a_networkx_graph_is_a_topology() -> None:
    given_graph = nx.Graph()
    given_graph.add_node("box", kind="host")
    given_graph.add_edge("h1", "s1", delay="5us", loss=0.01, weight=3)
    given_graph.add_edge("box", "s1", ports={"s1": 9})
    given_graph.add_edge("s1", "s2", rate="1Gbit")
    topology = from_networkx(given_graph)
    assert (topology.hosts, topology.switches) == (("box", "h1"), ("s1", "s2"))
    assert topology == Topology.of(
        [
            ("box", "s1:9"),
            ("h1", "s1", LinkQuality(delay=5_000, loss=0.01)),
            ("s1", "s2", LinkQuality(rate=1_000_000_000)),
        ],
        hosts=["box", "h1"],
    )
    assert nx.utils.graphs_equal(graph(from_networkx(nx.relabel_nodes(nx.cycle_graph(5), "s{}".format))),
        nx.relabel_nodes(nx.cycle_graph(5), "s{}".format))  # fmt: skip


def test_parallel_links_of_a_multigraph_are_kept() -> None:
    given_graph = nx.MultiGraph([("s1", "s2"), ("s1", "s2")])
    assert [(str(link.one), str(link.other)) for link in from_networkx(given_graph).links] == [
        ("s1:1", "s2:1"),
        ("s1:2", "s2:2"),
    ]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (nx.DiGraph([("h1", "s1")]), "no direction"),
        (nx.Graph([(1, 2)]), "cannot be called '1'"),
        (nx.Graph([("h1", "s1", {"loss": "much"})]), "the link between h1 and s1: 'much' is not a valid loss"),
    ],
)
def test_an_invalid_networkx_graph_is_rejected(wrong: nx.Graph, words: str) -> None:
    with pytest.raises(MidflightError, match=words):
        from_networkx(wrong)


SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    "topology",
    [
        star(5),
        star(60),
        tree(3, 2),
        leaf_spine(4, 2, 3),
        fat_tree(4),
        line(4, 2, LOSSY),
        Topology.of([("s1", "s2"), ("s2", "s3"), ("s3", "s1")]),
        Topology(("h1", "h2"), (), ()),
        Topology((), (), ()),
    ],
    ids=["star", "big-star", "tree", "leaf-spine", "fat-tree", "line", "ring", "no-links", "nothing"],
)
def test_a_picture_shows_every_node_once_without_overlap(topology: Topology) -> None:
    picture = topology.svg()
    assert picture == topology.svg()
    root = ElementTree.fromstring(picture)
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    texts = [(each.text, float(each.attrib["x"]), float(each.attrib["y"])) for each in root.iter(f"{SVG}text")]
    names = [text for text, _, _ in texts]
    for name in (*topology.hosts, *topology.switches):
        assert names.count(name) == 1
    for _, x, y in texts:
        assert left < x < left + width
        assert top < y < top + height
    ports = [each.attrib for each in root.iter(f"{SVG}text") if each.attrib["class"].startswith("port")]
    spots = [(float(each["x"]), float(each["y"])) for each in ports]
    for number, (x, y) in enumerate(spots):
        for x2, y2 in spots[:number]:
            assert abs(x - x2) > 8 or abs(y - y2) > 9, "two port numbers overlap"
    drawn = [each.attrib for each in root.iter(f"{SVG}rect") if "class" in each.attrib]
    assert [each["class"] for each in drawn].count("switch") == len(topology.switches)
    assert [each["class"] for each in drawn].count("host") == len(topology.hosts)
    boxes = [[float(each[key]) for key in ("x", "y", "width", "height")] for each in drawn]
    for number, (x, y, w, h) in enumerate(boxes):
        for x2, y2, w2, h2 in boxes[:number]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y, "two nodes overlap"
    assert len(list(root.iter(f"{SVG}path"))) == len(topology.links) + len(topology.hosts)


def test_a_picture_labels_qualities_other_than_the_default() -> None:
    quality = LinkQuality(rate=100_000_000, delay=2_000_000, loss=0.01, reorder=0.125)
    picture = star(1, quality).svg()
    for word in ("100 Mbit/s", "2 ms", "1% loss", "12.5% reorder", "10.0.0.1", "link bad"):
        assert word in picture
    usual = star(1).svg()
    assert "loss" not in usual
    assert 'class="link bad"' not in usual
