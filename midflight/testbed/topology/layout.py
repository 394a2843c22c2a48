"""The positions of nodes in a picture of a topology: hosts at the bottom, each switch above the nodes it connects."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence

from midflight.testbed.topology.parts import Link

__all__ = ["Point", "place"]

Point = tuple[float, float]

_ROW = 130.0  # distance between tiers
_SWITCH = 118.0  # least distance between two switches of a tier


def place(hosts: Sequence[str], switches: Sequence[str], links: Sequence[Link], spacing: float) -> dict[str, Point]:
    """Return the centre (x, y) of each node by name, with y growing downwards, in pixels of the picture.

    A star of up to 24 hosts is drawn as a circle; other networks in rows, hosts at the bottom. `spacing` is the
    distance between two neighbouring hosts, in pixels. The result depends only on the arguments.
    """
    neighbours: dict[str, list[str]] = {name: [] for name in (*hosts, *switches)}
    for link in links:
        neighbours[link.one.node].append(link.other.node)
        neighbours[link.other.node].append(link.one.node)
    if len(switches) == 1 and 2 <= len(hosts) <= 24 and all(neighbours[each] == [*switches] for each in hosts):
        return _around(switches[0], hosts, spacing)
    return _tiers(hosts, switches, neighbours, spacing)


def _around(switch: str, hosts: Sequence[str], spacing: float) -> dict[str, Point]:
    """Return the positions of hosts in a circle around their switch, the first at the top."""
    radius = max(150.0, len(hosts) * spacing * 1.15 / (2 * math.pi))
    places: dict[str, Point] = {switch: (0.0, 0.0)}
    for number, host in enumerate(hosts):
        angle = 2 * math.pi * number / len(hosts) - math.pi / 2
        places[host] = radius * math.cos(angle), 0.82 * radius * math.sin(angle)
    return places


def _tiers(
    hosts: Sequence[str], switches: Sequence[str], neighbours: Mapping[str, list[str]], spacing: float
) -> dict[str, Point]:
    tier = _distances(hosts, switches, neighbours)
    places: dict[str, Point] = {}
    # The lowest tier from left to right, with the hosts below each of its switches.
    left = 0.0
    drawn: set[str] = set()
    lowest = [each for each in switches if tier[each] == 1]
    for switch in lowest:
        own = [each for each in neighbours[switch] if each in hosts and each not in drawn]
        drawn.update(own)
        width = max(len(own) * spacing, _SWITCH) + spacing * 0.25
        places[switch] = left + width / 2, 0.0
        for number, host in enumerate(own):
            places[host] = left + width / 2 + (number - (len(own) - 1) / 2) * spacing, _ROW
        left += width
    for host in hosts:  # hosts without a link
        if host not in places:
            places[host] = left + spacing / 2, _ROW
            left += spacing
    for level in range(2, max(tier.values(), default=1) + 1):
        row = [each for each in switches if tier[each] == level]
        _above(
            row, [{name: places[name][0] for name in neighbours[each] if name in places} for each in row], level, places
        )
    return places


def _above(row: Sequence[str], below: Sequence[Mapping[str, float]], level: int, places: dict[str, Point]) -> None:
    """Place the switches of a tier above the middle of the nodes below them, as far as there is room."""
    middle = [sum(each.values()) / len(each) if each else 0.0 for each in below]
    order = sorted(range(len(row)), key=lambda number: (middle[number], number))
    covered = [x for each in below for x in each.values()]
    apart = max(_SWITCH, 0.6 * (max(covered) - min(covered)) / len(row)) if covered else _SWITCH
    xs: list[float] = []
    for number in order:
        xs.append(max(middle[number], xs[-1] + apart) if xs else middle[number])
    shift = (sum(middle) - sum(xs)) / len(xs) if xs else 0.0
    for number, x in zip(order, xs, strict=True):
        places[row[number]] = x + shift, -(level - 1) * _ROW


def _distances(hosts: Sequence[str], switches: Sequence[str], neighbours: Mapping[str, list[str]]) -> dict[str, int]:
    """Return the number of links from each switch to the nearest host; 1 for switches that reach no host."""
    distance = dict.fromkeys(hosts, 0)
    queue = deque(hosts)
    while queue:
        node = queue.popleft()
        for other in neighbours[node]:
            if other not in distance:
                distance[other] = distance[node] + 1
                queue.append(other)
    return {each: distance.get(each, 1) for each in switches}
