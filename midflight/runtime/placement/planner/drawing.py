"""An SVG picture of a plan: devices in rows by their distance from the hosts, with their steps, and the traffic."""

from __future__ import annotations

from html import escape

from midflight.runtime.placement.planner.model import Network
from midflight.runtime.placement.planner.plan import Plan

__all__ = ["picture"]

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 130, 44, 22, 70
_MOST = 150  # devices, above which only those with traffic are drawn
_STYLE = (
    "<style>text{font:12px system-ui,sans-serif;fill:#222}.bold{font-weight:600}.small{font-size:11px}"
    "rect{fill:#f6f7f9;stroke:#8a93a0}.runs rect{fill:#e6f5e6;stroke:#4b9a4b;stroke-width:2}"
    "line{stroke:#c4cad2;stroke-width:1}.busy{stroke:#4a7ebb}</style>"
)


def picture(network: Network, found: Plan) -> str:
    """Return a picture of a network and a plan on it, as the text of an SVG file.

    It shows the steps of each device and the load of each link. Of a large network, only the devices that run a step or
    carry traffic are shown.
    """
    runs = {name: found.on(name) for name in network.devices}
    used = {name for arc in found.loads.links for name in arc} | {name for name, steps in runs.items() if steps}
    names = [name for name in network.devices if len(network.devices) <= _MOST or name in used]
    rows = _rows(network, names)
    width = max(max((len(row) for row in rows), default=1) * (_WIDTH + _GAP_X) + _GAP_X, 320)
    height = len(rows) * (_HEIGHT + _GAP_Y) + 20
    places: dict[str, tuple[float, float]] = {}
    for number, row in enumerate(rows):
        left = (width - len(row) * (_WIDTH + _GAP_X) + _GAP_X) / 2
        for position, name in enumerate(row):
            places[name] = left + position * (_WIDTH + _GAP_X), 30 + number * (_HEIGHT + _GAP_Y)
    title = f"{', '.join(each.step for each in found.choices)}: {found.objective}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img">',
        f"<title>{escape(title)}</title>{_STYLE}",
    ]
    most = max(found.loads.links.values(), default=1.0) or 1.0
    for link in network.links:
        if link.one in places and link.other in places:
            loads = [found.loads.links.get(arc, 0.0) for arc in ((link.one, link.other), (link.other, link.one))]
            parts.append(_line(places[link.one], places[link.other], loads, most, (link.one, link.other)))
    for name, (x, y) in places.items():
        steps = ", ".join(runs[name])
        kind = network.devices[name].sheet.kind
        words = f"{name}, {kind}: {steps or 'forwards'}"
        parts.append(
            f'<g class="{"runs" if steps else "idle"}"><title>{escape(words)}</title>'
            f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="5"/>'
            f'<text x="{x + 8:g}" y="{y + 18:g}" class="bold">{escape(_short(f"{name} ({kind})"))}</text>'
            f'<text x="{x + 8:g}" y="{y + 35:g}" class="small">{escape(_short(steps))}</text></g>'
        )
    return "".join(parts) + "</svg>"


def _rows(network: Network, names: list[str]) -> list[list[str]]:
    """Return the devices in rows: the farthest from hosts first, hosts last."""
    after: dict[str, list[str]] = {name: [] for name in network.devices}
    for link in network.links:
        after[link.one].append(link.other)
        after[link.other].append(link.one)
    lowest = [name for name, each in network.devices.items() if not each.forwards] or list(network.devices)[:1]
    depth = dict.fromkeys(lowest, 0)
    queue = list(depth)
    for name in queue:
        for other in after[name]:
            if other not in depth:
                depth[other] = depth[name] + 1
                queue.append(other)
    rows: dict[int, list[str]] = {}
    for name in names:
        rows.setdefault(depth.get(name, 0), []).append(name)
    return [rows[number] for number in sorted(rows, reverse=True)]


def _line(
    one: tuple[float, float], other: tuple[float, float], loads: list[float], most: float, ends: tuple[str, str]
) -> str:
    x1, y1, x2, y2 = one[0] + _WIDTH / 2, one[1] + _HEIGHT / 2, other[0] + _WIDTH / 2, other[1] + _HEIGHT / 2
    busy = max(loads) > 0
    style = f' class="busy" style="stroke-width:{1 + 5 * max(loads) / most:.1f}"' if busy else ""
    words = f"{ends[0]} to {ends[1]}: {loads[0] / 1e6:,.1f} Mbit/s, back {loads[1] / 1e6:,.1f}"
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"{style}><title>{escape(words)}</title></line>'


def _short(text: str) -> str:
    room = int((_WIDTH - 14) / 6.6)
    return text if len(text) <= room else f"{text[: room - 1]}…"
