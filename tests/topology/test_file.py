"""Topologies from YAML files, and errors in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from midflight.errors import MidflightError
from midflight.testbed.topology import LinkQuality, Topology, fat_tree, leaf_spine, line, star, tree
from midflight.testbed.topology.file import load_topology, parse_topology
from midflight.testbed.topology.units import quality_of, quantity

GOLDEN = Path(__file__).parent / "golden" / "mistakes.txt"


def test_a_file_gives_the_same_topology_as_python() -> None:
    text = """
hosts: [a, h1, h2]   # a would be a switch by its name
switches: [s1]
defaults: {delay: 5us, rate: 1Gbit}
links:
  - h1 s1
  - [h2, "s1:7"]
  - {ends: a s1, loss: 1%, delay: 2ms, rate: none}
  - ends: [s1, s2]
    queue: 64KiB
"""
    usual = LinkQuality(delay=5_000, rate=1_000_000_000)
    assert parse_topology(text) == Topology.of(
        [
            ("h1", "s1", usual),
            ("h2", "s1:7", usual),
            ("a", "s1", LinkQuality(delay=2_000_000, rate=None, loss=0.01)),
            ("s1", "s2", LinkQuality(delay=5_000, rate=1_000_000_000, queue=65_536)),
        ],
        hosts=["a", "h1", "h2"],
        switches=["s1"],
    )


@pytest.mark.parametrize(
    ("text", "topology"),
    [
        ("star: {hosts: 5}", star(5)),
        ("tree: {depth: 2, fanout: 3}", tree(2, 3)),
        ("line: {switches: 3}", line(3)),
        ("leaf_spine: {leaves: 2, spines: 2, hosts: 1}", leaf_spine(2, 2, 1)),
        ("fat_tree: {k: 4}\ndefaults: {loss: 0.5%}", fat_tree(4, LinkQuality(loss=0.005))),
        ("links: []\nswitches: [s1]", Topology((), ("s1",), ())),
        ("star: {hosts: 2}\nipv6: true", star(2).with_ipv6()),
        ("star: {hosts: 2}\nipv6: false", star(2)),
        ("links: [h1 s1, h2 s1]\nipv6: [h2]", star(2).with_ipv6(["h2"])),
        ("star: {hosts: 2}\nipv6: {h1: '2001:db8::1'}", star(2).with_ipv6({"h1": "2001:db8::1"})),
    ],
)
def test_builders_are_available_by_name(text: str, topology: Topology) -> None:
    assert parse_topology(text) == topology


MISTAKES = [
    "",
    "- h1 s1",
    "links: [",
    "links:\n\t- h1 s1",
    "links: []\n---\nlinks: []",
    "nodes: 3",
    "hosts: [h1]",
    "hosts: 4\nlinks: []",
    "hosts: [h1, [h2]]\nlinks: []",
    "links: []\nlinks: []",
    "links: 3",
    "links: [h1]",
    "links: [[h1, s1, s2]]",
    "links:\n  - {loss: 1%}",
    "links:\n  - {ends: h2 s1, los: 1}",
    "links:\n  - h1 s1\n  - {ends: h2 s1, loss: 1500%}",
    "links:\n  - {ends: h2 s1, loss: {is: 1}}",
    "links: [[h1, 's1:x']]",
    "links: [h1 s1, h1 s2]",
    "links: [h1 s1]\ndefaults: {delay: 5 parsecs}",
    "links: [h1 s1]\ndefaults: {rate: true}",
    "star: {host: 3}",
    "star: {}",
    "star: {hosts: many}",
    "star: {hosts: 3}\nlinks: []",
    "star: {hosts: 0}",
    "star: {hosts: !!int x}",
    "fat_tree: {k: 3}",
    "links: !!python/name:os.system ''",
    "star: {hosts: 2}\nipv6: h1",
    "star: {hosts: 2}\nipv6: [h3]",
    "star: {hosts: 2}\nipv6: {h1: 10.0.0.1}",
    "star: {hosts: 2}\nipv6: {h1: ff02::1}",
    "star: {hosts: 2}\nipv6: {h1: 'fd00::1', h2: 'fd00::1'}",
    "star: {hosts: 2}\ndefaults: {mtu: 1000}\nipv6: [h1]",
]


def test_errors_are_reported_with_their_place() -> None:
    reported = []
    for text in MISTAKES:
        with pytest.raises(MidflightError) as caught:
            parse_topology(text, "net.yaml")
        assert caught.value.place is not None
        reported.append(f"{text}\n=>\n{caught.value}\n")
    assert "\n".join(reported) == GOLDEN.read_text()


def test_invalid_files_are_reported(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    file.write_bytes(b"links: [\xff]")
    with pytest.raises(MidflightError, match=r"net\.yaml: not UTF-8 text"):
        load_topology(file)
    with pytest.raises(MidflightError, match="nested too deeply"):
        parse_topology("[" * 1000)
    with pytest.raises(MidflightError, match="not YAML"):
        parse_topology("a: \x00")
    with pytest.raises(MidflightError, match="No such file"):
        load_topology(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("delay", "250ns", 250),
        ("delay", "1.5 us", 1_500),
        ("delay", "2ms", 2_000_000),
        ("jitter", 7, 7),
        ("rate", "100kbit/s", 100_000),
        ("rate", "2.5Gbit", 2_500_000_000),
        ("rate", None, None),
        ("queue", "none", None),
        ("queue", "1MiB", 1 << 20),
        ("loss", "2.5%", 0.025),
        ("loss", 0.25, 0.25),
        ("reorder", 0, 0.0),
    ],
)
def test_quantities_have_units(name: str, text: object, value: float | None) -> None:
    assert quantity(name, text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rate", "10Gbps"),
        ("rate", "1%"),
        ("delay", "5"),
        ("delay", "-1us"),
        ("loss", "1us"),
        ("loss", None),
        ("queue", []),
        ("delay", float("inf")),
        ("delay", float("nan")),
        ("delay", "9" * 400 + "ms"),
        ("rate", "1000000000000000Gbit"),
        ("loss", 10**400),
    ],
)
def test_other_texts_are_not_quantities(name: str, text: object) -> None:
    with pytest.raises(MidflightError, match=f"is not a valid {name} of a link"):
        quantity(name, text)


def test_a_value_that_does_not_match_its_tag_is_reported() -> None:
    for value in ("!!int x", "!!float x"):
        with pytest.raises(MidflightError, match="does not match its tag"):
            parse_topology(f"links: [h1 s1]\ndefaults: {{delay: {value}}}\n")


def test_unknown_qualities_are_rejected() -> None:
    assert quality_of({"delay": "1ms"}, LinkQuality(loss=0.1)) == LinkQuality(delay=1_000_000, loss=0.1)
    with pytest.raises(MidflightError, match="a link has no 'speed'"):
        quality_of({"speed": 1})
    with pytest.raises(MidflightError, match="probability"):
        quality_of({"loss": "200%"})
