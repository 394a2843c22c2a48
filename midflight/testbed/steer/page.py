"""The report of a sweep as one HTML page, with plots as inline SVG and nothing loaded from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

__all__ = ["page"]

_OURS, _ORACLE, _OTHER, _INK, _FAINT = "#0f766e", "#d97706", "#9ca3af", "#1f2937", "#e5e7eb"
_STYLE = f"""
body {{ font: 15px/1.5 system-ui, sans-serif; color: {_INK}; max-width: 62em; margin: 2em auto; padding: 0 1em; }}
table {{ border-collapse: collapse; margin: 1em 0; }}
td, th {{ padding: .25em .8em; text-align: right; border-bottom: 1px solid {_FAINT}; }}
td:first-child, th:first-child {{ text-align: left; }}
tr.ours {{ color: {_OURS}; font-weight: 600; }}
svg text {{ font: 12px system-ui, sans-serif; fill: {_INK}; }}
"""
_WIDTH, _LEFT, _RIGHT = 860, 130, 90


def page(results: Mapping[str, Any]) -> str:
    """Return the HTML of the results of `sweep.report`."""
    policies: Mapping[str, Mapping[str, Any]] = results["policies"]
    ours: Sequence[str] = results["ours"]
    stale = f", {results['stale']:.0%} of the metrics stale" if results["stale"] else ""
    about = f"{results['load']:.0%} load{stale}, seeds {', '.join(map(str, results['seeds']))}"
    title = escape(f"midflight steer {results['scenario']}")
    parts = [
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title>",
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1><p>{escape(about)}.",
        "Our policies are green, and the oracle, which knows everything at once, is amber.</p>",
        _bars("99th percentile of the delay", policies, ours, "p99_us", 1e-3, "ms"),
        _curves(policies, ours),
        _bars("CO2", policies, ours, "grams", 1.0, "g"),
        _table(policies, ours),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _colour(name: str, ours: Sequence[str]) -> str:
    return _OURS if name in ours else _ORACLE if name == "oracle" else _OTHER


def _bars(
    title: str, policies: Mapping[str, Mapping[str, Any]], ours: Sequence[str], figure: str, scale: float, unit: str
) -> str:
    """Return horizontal bars on a logarithmic axis, with a line for the confidence interval."""
    values = {name: max(each[figure] * scale, 1e-9) for name, each in policies.items()}
    low = min(values.values()) / 2.0
    span = math.log(max(values.values()) / low) or 1.0
    room = _WIDTH - _LEFT - _RIGHT

    def across(value: float) -> float:
        return _LEFT + room * min(1.0, max(0.0, math.log(max(value, low) / low) / span))

    rows = []
    for row, (name, value) in enumerate(values.items()):
        y, half = 8 + 24 * row, policies[name].get(f"{figure}_ci", 0.0) * scale
        colour = _colour(name, ours)
        rows.append(f"<text x='{_LEFT - 8}' y='{y + 13}' text-anchor='end'>{escape(name)}</text>")
        rows.append(f"<rect x='{_LEFT}' y='{y}' width='{across(value) - _LEFT:.1f}' height='17' fill='{colour}'/>")
        if half > 0.0:
            ends = f"x1='{across(value - half):.1f}' x2='{across(value + half):.1f}'"
            rows.append(f"<line {ends} y1='{y + 8}' y2='{y + 8}' stroke='{_INK}' stroke-width='1.5'/>")
        rows.append(f"<text x='{across(value + half) + 6:.1f}' y='{y + 13}'>{value:,.4g} {unit}</text>")
    height = 16 + 24 * len(values)
    return (
        f"<h2>{escape(title)}</h2><svg viewBox='0 0 {_WIDTH} {height}' role='img' aria-label='{escape(title)}'>"
        f"{''.join(rows)}</svg><p>Logarithmic axis; black lines are 95 % confidence intervals over the seeds.</p>"
    )


def _curves(policies: Mapping[str, Mapping[str, Any]], ours: Sequence[str]) -> str:
    """Return the distribution of the delay, a curve for each policy, on a logarithmic axis."""
    quantiles = {
        name: [max(value / 1e3, 1e-4) for value in each["quantiles_us"][:100]] for name, each in policies.items()
    }
    low = min(each[1] for each in quantiles.values())
    # The slowest baselines may be a thousand times slower: the axis ends a little above all others.
    shown = sorted(each[99] for each in quantiles.values())
    high = max(shown[len(shown) // 2] * 1.5, low * 10.0)
    room, height = _WIDTH - _LEFT - _RIGHT, 300
    parts = []
    for decade in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for step in (1, 2, 5):
            value = step * 10.0**decade
            if low <= value <= high:
                x = _LEFT + room * math.log(value / low) / math.log(high / low)
                parts.append(f"<line x1='{x:.1f}' x2='{x:.1f}' y1='10' y2='{height}' stroke='{_FAINT}'/>")
                parts.append(f"<text x='{x:.1f}' y='{height + 18}' text-anchor='middle'>{value:g} ms</text>")
    for percent in (0, 25, 50, 75, 99):
        y = height - (height - 10) * percent / 100
        parts.append(f"<text x='{_LEFT - 8}' y='{y + 4:.1f}' text-anchor='end'>{percent} %</text>")
    order = sorted(quantiles, key=lambda name: (name in ours, name == "oracle"))
    for name in order:
        points = [
            f"{_LEFT + room * math.log(max(value, low) / low) / math.log(high / low):.1f},"
            f"{height - (height - 10) * percent / 100:.1f}"
            for percent, value in enumerate(quantiles[name])
            if value <= high
        ]
        width = 2.5 if name in ours or name == "oracle" else 1.2
        parts.append(
            f"<polyline points='{' '.join(points)}' fill='none' stroke='{_colour(name, ours)}' "
            f"stroke-width='{width}'><title>{escape(name)}</title></polyline>"
        )
    return (
        f"<h2>Distribution of the delay</h2><svg viewBox='0 0 {_WIDTH} {height + 30}' role='img' "
        f"aria-label='Distribution of the delay'>{''.join(parts)}</svg>"
    )


def _table(policies: Mapping[str, Mapping[str, Any]], ours: Sequence[str]) -> str:
    names = ("p50_us", "p99_us", "slo_misses", "moved", "bytes", "joules", "grams", "refused", "retried", "lost")
    head = "".join(f"<th>{each}</th>" for each in ("policy", *names))
    rows = []
    for name, each in policies.items():
        cells = "".join(f"<td>{_cell(each, figure)}</td>" for figure in names)
        row = "<tr class='ours'>" if name in ours else "<tr>"
        rows.append(f"{row}<td>{escape(name)}</td>{cells}</tr>")
    return f"<h2>All figures</h2><table><tr>{head}</tr>{''.join(rows)}</table>"


def _cell(figures: Mapping[str, Any], name: str) -> str:
    value, half = figures[name], figures.get(f"{name}_ci")
    shown = f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if value < 10 else f"{value:,.0f}"
    return shown + (f" ± {half:,.3g}" if half else "")
