"""Builders of common topologies: star, line, tree, leaf-spine and fat tree.

Each takes `quality`, the quality of all links, by default `LinkQuality()`, and raises MidflightError if a number is out
of its range. Hosts are named `h1`, `h2`, ...
"""

from __future__ import annotations

from itertools import pairwise

from midflight.errors import MidflightError
from midflight.testbed.topology.quality import LinkQuality
from midflight.testbed.topology.topology import Ends, Topology

__all__ = ["fat_tree", "leaf_spine", "line", "star", "tree"]


def star(hosts: int, quality: LinkQuality | None = None) -> Topology:
    """Return a star: hosts `h1`, `h2`, ... (1 to 500) around one switch `s1`, host n on port n of the switch.

    `quality` applies to all links, by default `LinkQuality()`. MidflightError if `hosts` is out of range.
    """
    _within("a star", "hosts", hosts, 1, 500)
    names = _names("h", hosts)
    return _build([(name, "s1") for name in names], names, ["s1"], quality)


def line(switches: int, hosts: int = 1, quality: LinkQuality | None = None) -> Topology:
    """Return switches `s1`, `s2`, ... (1 to 10,000) in a row, with `hosts` hosts (0 to 500) on each, on its first
    ports.

    `quality` applies to all links, by default `LinkQuality()`. MidflightError if a number is out of range.
    """
    _within("a line", "switches", switches, 1, 10_000)
    _within("a line", "hosts on each switch", hosts, 0, 500)
    chain, names = _names("s", switches), _names("h", switches * hosts)
    links = [(name, chain[number // hosts]) for number, name in enumerate(names)]
    links += pairwise(chain)
    return _build(links, names, chain, quality)


def tree(depth: int, fanout: int, quality: LinkQuality | None = None) -> Topology:
    """Return a tree of switches with `depth` levels (1 to 16), root `s1`, and `fanout` hosts on each lowest switch.

    Every switch above the lowest level has `fanout` children (1 to 500). Port 1 of a switch leads to its parent; the
    root has only children. There are at most 20,000 switches. `quality` applies to all links, by default
    `LinkQuality()`. MidflightError if a number is out of range.
    """
    _within("a tree", "levels", depth, 1, 16)
    _within("a tree", "branches", fanout, 1, 500)
    count = sum(fanout**level for level in range(depth))
    _within("a tree", "switches", count, 1, 20_000)
    switches = _names("s", count)
    leaves = switches[count - fanout ** (depth - 1) :]
    hosts = _names("h", len(leaves) * fanout)
    # Switches are numbered level by level from 0: the children of switch n are n * fanout + 1 and the following ones.
    links = [(name, switches[(number - 1) // fanout]) for number, name in enumerate(switches) if number]
    links += [(name, leaves[number // fanout]) for number, name in enumerate(hosts)]
    return _build(links, hosts, switches, quality)


def leaf_spine(leaves: int, spines: int, hosts: int, quality: LinkQuality | None = None) -> Topology:
    """Return a leaf-spine network: every leaf switch is linked to every spine switch, and has `hosts` hosts.

    Switches are `leaf1`, ... (1 to 500) and `spine1`, ... (1 to 200). The first ports of a leaf lead to its hosts (0 to
    300), the following ones to the spines. `quality` applies to all links, by default `LinkQuality()`. MidflightError
    if a number is out of range.
    """
    _within("a leaf-spine network", "leaves", leaves, 1, 500)
    _within("a leaf-spine network", "spines", spines, 1, 200)
    _within("a leaf-spine network", "hosts on each leaf", hosts, 0, 300)
    below, above, names = _names("leaf", leaves), _names("spine", spines), _names("h", leaves * hosts)
    links = [(name, below[number // hosts]) for number, name in enumerate(names)]
    links += [(leaf, spine) for leaf in below for spine in above]
    return _build(links, names, [*below, *above], quality)


def fat_tree(k: int, quality: LinkQuality | None = None) -> Topology:
    """Return the fat tree of k-port switches: k pods of k/2 edge and k/2 aggregation switches, and (k/2)^2 cores.

    The network has k^3/4 hosts; k is even, 2 to 32. Edge and aggregation switches are `edge1`, ... and `agg1`, ...,
    numbered pod after pod; core switches are `core1`, ... Aggregation switch n of every pod is linked to the n-th group
    of k/2 cores (Al-Fares et al., SIGCOMM 2008). `quality` applies to all links, by default `LinkQuality()`.
    MidflightError if k is odd or out of range.
    """
    if k < 2 or k % 2 or k > 32:
        raise MidflightError(f"the switches of a fat tree have an even number of ports, 2 to 32, not {k}")
    half = k // 2
    edges, aggregations, cores = _names("edge", k * half), _names("agg", k * half), _names("core", half * half)
    hosts = _names("h", k * half * half)
    links = [(name, edges[number // half]) for number, name in enumerate(hosts)]
    for number, edge in enumerate(edges):
        pod = number // half
        links += [(edge, aggregations[pod * half + each]) for each in range(half)]
    for number, aggregation in enumerate(aggregations):
        within = number % half
        links += [(aggregation, cores[within * half + each]) for each in range(half)]
    return _build(links, hosts, [*edges, *aggregations, *cores], quality)


def _build(
    links: list[tuple[str, str]], hosts: list[str], switches: list[str], quality: LinkQuality | None
) -> Topology:
    quality = quality or LinkQuality()
    ends: list[Ends] = [(*each, quality) for each in links]
    return Topology.of(ends, hosts=hosts, switches=switches)


def _names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(1, count + 1)]


def _within(network: str, what: str, number: int, least: int, most: int) -> None:
    if not least <= number <= most:
        raise MidflightError(f"{network} has {least} to {most} {what}, not {number}")
