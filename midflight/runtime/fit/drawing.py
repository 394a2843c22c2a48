"""An SVG picture of a fit: the stages of the pipeline with the operations in them, how full they are, and the critical
path.
"""

from __future__ import annotations

from html import escape
from itertools import pairwise

from midflight.runtime.devices.capabilities import RESOURCES
from midflight.runtime.fit.fit import Fit, Placed

__all__ = ["stages"]

_WIDTH, _GAP, _LINE, _TOP, _LEFT = 150, 14, 22, 64, 130
_LETTER = 6.4  # width of a letter of a label, in pixels
_STYLE = (
    "<style>text{font:12px system-ui,sans-serif;fill:#222}.bold{font-weight:600}.small{font-size:11px}"
    "rect{fill:#f6f7f9;stroke:#8a93a0}.table rect{fill:#e3efff;stroke:#4a7ebb}"
    ".register rect{fill:#e6f5e6;stroke:#4b9a4b}"
    ".action rect{fill:#fff;stroke:#b0b6be}.critical rect{stroke:#c0392b;stroke-width:2}.bar{fill:#4a7ebb;stroke:none}"
    ".over{fill:#c0392b;stroke:none}.beyond{fill:#fdeceb}path{fill:none;stroke:#c0392b;stroke-width:1.5}"
    "@media (prefers-color-scheme:dark){text{fill:#ddd}}</style>"
)


def stages(found: Fit) -> str:
    """Return a picture of the pipeline stages, from left to right, as the text of an SVG file.

    It shows the operations of each stage, the use of its resources, and the critical path. Stages beyond those of the
    device are red.
    """
    shown = [each for each in RESOURCES if each in found.sheet.per_stage and found.total(each)]
    columns = [[each for each in found.placed if each.first <= n <= each.last] for n in range(1, found.stages + 1)]
    boxes = max([len(each) for each in columns], default=0)
    bars = _TOP + boxes * (_LINE + 4) + 16
    width = _LEFT + max(1, found.stages) * (_WIDTH + _GAP)
    height = bars + 18 * len(shown) + 20
    title = f"{found.stages} stages on {found.device}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
        f"<title>{escape(title)}</title>{_STYLE}",
        f'<text x="10" y="24" class="bold">{escape(title)}</text>',
    ]
    places: dict[str, tuple[float, float]] = {}
    for number, column in enumerate(columns, 1):
        x = _LEFT + (number - 1) * (_WIDTH + _GAP)
        beyond = found.sheet.stages is not None and number > found.sheet.stages
        parts.append(
            f'<rect x="{x}" y="34" width="{_WIDTH}" height="{height - 44}" rx="5"{_class("beyond" if beyond else "")}/>'
            f'<text x="{x + 10}" y="52" class="bold">stage {number}</text>'
        )
        for row, each in enumerate(column):
            y = _TOP + row * (_LINE + 4)
            places.setdefault(each.name, (x, y))
            parts.append(_box(each, number, x + 6, y))
        parts += [_bar(found, resource, number - 1, x + 6, bars + 18 * row) for row, resource in enumerate(shown)]
    for row, resource in enumerate(shown):
        parts.append(f'<text x="10" y="{bars + 18 * row + 10}" class="small">{escape(RESOURCES[resource])}</text>')
    path = [places[name] for name in found.critical if name in places]
    for (x1, y1), (x2, y2) in pairwise(path):
        start, end = x1 + _WIDTH - 6, y1 + _LINE / 2
        if x2 > x1:
            parts.append(f'<path d="M{start} {end} L{x2 + 6} {y2 + _LINE / 2}"/>')
    return "".join(parts) + "</svg>"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _box(each: Placed, stage: int, x: float, y: float) -> str:
    blocks = ", ".join(f"{number} {RESOURCES[kind]}" for kind, number in each.blocks.get(stage, {}).items())
    name = each.name.partition(".")[2] or each.name
    room = int((_WIDTH - 24) / _LETTER)
    text = name if len(name) <= room else f"{name[: room - 1]}…"
    kind = each.kind if each.kind in ("table", "register") else "action"
    hint = f"{each.name}: {each.kind}{f', {blocks}' if blocks else ''}"
    return (
        f'<g class="{kind}{" critical" if each.critical else ""}"><title>{escape(hint)}</title>'
        f'<rect x="{x}" y="{y}" width="{_WIDTH - 12}" height="{_LINE}" rx="4"/>'
        f'<text x="{x + 6}" y="{y + 15}" class="small">{escape(text)}</text></g>'
    )


def _bar(found: Fit, resource: str, stage: int, x: float, y: float) -> str:
    used, limit = found.used[stage].get(resource, 0), found.sheet.per_stage[resource]
    share = used / limit if limit else 0.0
    length = round((_WIDTH - 12) * min(share, 1.0), 1)
    hint = f"{used:,} of {limit:,} {RESOURCES[resource]}"
    return (
        f'<g><title>{escape(hint)}</title><rect x="{x}" y="{y}" width="{_WIDTH - 12}" height="12" rx="2"/>'
        f'<rect x="{x}" y="{y}" width="{length}" height="12" rx="2" class="{"bar" if share <= 1 else "over"}"/></g>'
    )
