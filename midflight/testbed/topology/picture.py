"""Topologies as pictures, in SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from midflight.testbed.topology.layout import Point, place
from midflight.testbed.topology.parts import Link, Port
from midflight.testbed.topology.quality import LinkQuality

__all__ = ["draw"]

_MARGIN = 60.0
_WIDE, _NARROW = 86.0, 34.0  # distances between hosts, with and without addresses
_FEW = 24  # up to so many hosts, addresses are shown
_DETAILED = 60  # up to so many links, port numbers are shown
_HALF_SWITCH = 38.0, 17.0
_LABEL, _LINE = 12.0, 10.0  # the width and height of a port number
_ROUNDS = 100  # of moving port numbers apart
_CROWDED = 24  # up to so many ports of a switch, their numbers are shown

_STYLE = """\
text { font: 12px ui-sans-serif, system-ui, "Segoe UI", "DejaVu Sans", sans-serif; text-anchor: middle; fill: #1f2937 }
.link { stroke: #94a3b8; stroke-width: 1.8; fill: none; stroke-linecap: round }
.bad { stroke: #dc6803; stroke-dasharray: 6 4 }
.switch { fill: #2563eb; stroke: #1d4ed8 }
.switch-name { fill: #ffffff; font-weight: 600 }
.host { fill: #ecfdf5; stroke: #059669; stroke-width: 1.6 }
.stand { stroke: #059669; stroke-width: 1.6; stroke-linecap: round }
.name { font-weight: 600 }
.address { font-size: 10px; fill: #64748b }
.port { font-size: 9.5px; fill: #475569 }
.quality { font-size: 10.5px; fill: #9a3412 }
.over { stroke: #ffffff; stroke-width: 3.5; paint-order: stroke; stroke-linejoin: round }"""


def draw(hosts: Sequence[str], switches: Sequence[str], links: Sequence[Link], addresses: Mapping[str, str]) -> str:
    """Return a picture of a network as the text of an SVG file. Equal arguments give equal text.

    `hosts` and `switches` are names. `addresses` are the hosts' addresses by name; they are shown for up to 24 hosts.
    Port numbers are shown for up to 60 links, at switches with up to 24 of them, and qualities of links that differ
    from the default.
    """
    wide = len(hosts) <= _FEW
    places = place(hosts, switches, links, _WIDE if wide else _NARROW)
    xs, ys = [x for x, _ in places.values()] or [0.0], [y for _, y in places.values()] or [0.0]
    left, top = min(xs) - _MARGIN, min(ys) - _MARGIN
    width, height = max(xs) + _MARGIN - left, max(ys) + _MARGIN + 20 - top
    # In a star a host can be above its switch. Its name is then above the host.
    below = {near.node for each in links for near, far in (each.ends, each.ends[::-1]) if _lower(far, near, places)}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="{left:.1f} {top:.1f} {width:.1f} {height:.1f}">',
        f"<style>\n{_STYLE}\n</style>",
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" fill="#ffffff"/>',
        *(_link(link, places) for link in links),
        *(_switch(name, places[name]) for name in switches),
        *(line for name in hosts for line in _host(name, places[name], addresses[name] if wide else "", name in below)),
    ]
    if len(links) <= _DETAILED:
        lines += _port_numbers(links, places, switches)
    lines += [line for link in links for line in _note(link, places)]
    return "\n".join([*lines, "</svg>", ""])


def _link(link: Link, places: Mapping[str, Point]) -> str:
    (x1, y1), (x2, y2) = places[link.one.node], places[link.other.node]
    look = "link bad" if link.quality.impaired else "link"
    if _passes_by(link, places):  # a link along a tier bends around the nodes between its ends
        bend = y1 - 34 - 0.12 * abs(x2 - x1)
        return f'<path class="{look}" d="M{x1:.1f} {y1:.1f}Q{(x1 + x2) / 2:.1f} {bend:.1f} {x2:.1f} {y2:.1f}"/>'
    return f'<path class="{look}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>'


def _passes_by(link: Link, places: Mapping[str, Point]) -> bool:
    (x1, y1), (x2, y2) = places[link.one.node], places[link.other.node]
    low, high = sorted((x1, x2))
    return y1 == y2 and any(low < x < high and y == y1 for x, y in places.values())


def _switch(name: str, at: Point) -> str:
    (x, y), (across, down) = at, _HALF_SWITCH
    return (
        f'<rect class="switch" x="{x - across:.1f}" y="{y - down:.1f}" width="{2 * across:.0f}" '
        f'height="{2 * down:.0f}" rx="8"/>'
        f'<text class="switch-name" x="{x:.1f}" y="{y + 4:.1f}">{name}</text>'
    )


def _lower(one: Port, other: Port, places: Mapping[str, Point]) -> bool:
    return places[one.node][1] > places[other.node][1] + 1


def _host(name: str, at: Point, address: str, above: bool) -> Iterator[str]:
    x, y = at
    down = -19 - (13 if address else 0) if above else 26
    yield (
        f'<rect class="host" x="{x - 14:.1f}" y="{y - 12:.1f}" width="28" height="19" rx="3"/>'
        f'<path class="stand" d="M{x - 7:.1f} {y + 11:.1f}h14"/>'
    )
    yield f'<text class="name over" x="{x:.1f}" y="{y + down:.1f}">{name}</text>'
    if address:
        yield f'<text class="address over" x="{x:.1f}" y="{y + down + 13:.1f}">{address}</text>'


def _port_numbers(links: Sequence[Link], places: Mapping[str, Point], switches: Sequence[str]) -> Iterator[str]:
    """Yield the port numbers of switches with up to 24 ports."""
    for switch in switches:
        found = sorted(each for link in links for each in _ports(link, places, switch))
        if len(found) <= _CROWDED:
            for (x, y), (_, _, number) in zip(_apart([(x, y) for x, y, _ in found]), found, strict=True):
                yield f'<text class="port over" x="{x:.1f}" y="{y:.1f}">{number}</text>'


def _apart(points: Sequence[Point]) -> list[Point]:
    """Return places close to the given ones, which are in order, so that labels there do not overlap.

    Labels that overlap are moved apart to the left and the right, a pair at a time.
    """
    xs = [x for x, _ in points]
    for _ in range(_ROUNDS):
        moved = False
        for number, (_, y) in enumerate(points):
            for other in range(number):
                short = _LABEL - (xs[number] - xs[other])
                if 0.01 < short < 2 * _LABEL and abs(y - points[other][1]) < _LINE:
                    xs[other], xs[number] = xs[other] - short / 2, xs[number] + short / 2
                    moved = True
        if not moved:
            break
    return [(x, y) for x, (_, y) in zip(xs, points, strict=True)]


def _ports(link: Link, places: Mapping[str, Point], switch: str) -> Iterator[tuple[float, float, int]]:
    """Yield the port of the link at a switch: where its number is, just outside of the switch, and the number."""
    for near, far in (link.ends, link.ends[::-1]):
        if near.node == switch:
            (x, y), (fx, fy) = places[near.node], places[far.node]
            if _passes_by(link, places):
                fx, fy = (x + fx) / 2, y - 34 - 0.12 * abs(fx - x)
            length = math.hypot(fx - x, fy - y) or 1.0
            dx, dy = (fx - x) / length, (fy - y) / length
            # At the border of the box, with a margin.
            away = min(_HALF_SWITCH[0] / (abs(dx) or 1e-9), _HALF_SWITCH[1] / (abs(dy) or 1e-9)) + 10
            yield x + dx * away, y + dy * away + 3, near.number


def _note(link: Link, places: Mapping[str, Point]) -> Iterator[str]:
    """Yield the properties of a link that differ from the defaults."""
    words = _words(link.quality)
    if words:
        (x1, y1), (x2, y2) = places[link.one.node], places[link.other.node]
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        for number, word in enumerate(words):
            down = (number - (len(words) - 1) / 2) * 13 + 4
            yield f'<text class="quality over" x="{x:.1f}" y="{y + down:.1f}">{word}</text>'


def _words(quality: LinkQuality) -> list[str]:
    usual = LinkQuality()
    words = []
    if quality.rate != usual.rate:
        words.append("no limit" if quality.rate is None else _scaled(quality.rate, "kMGT", "bit/s", 1000))
    if quality.delay != usual.delay:
        words.append(_time(quality.delay))
    for name in ("loss", "duplicate", "reorder"):
        share = getattr(quality, name)
        if share:
            words.append(f"{100 * share:.3g}% {name}")
    return words


def _scaled(number: float, prefixes: str, unit: str, step: int) -> str:
    prefix = ""
    for each in prefixes:
        if number < step:
            break
        number, prefix = number / step, each
    return f"{number:.4g} {prefix}{unit}"


def _time(nanoseconds: int) -> str:
    for size, unit in ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.4g} {unit}"
    return f"{nanoseconds} ns"
