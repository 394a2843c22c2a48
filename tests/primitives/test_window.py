"""Window: invalid parameters, and results that account for every item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from midflight.errors import KernelError
from midflight.primitives import REQUEST, Message, Verdict, Window

EMPTY = {"series": 0, "what": 0, "end": 0, "count": 0, "total": 0, "least": 0, "most": 0}


@pytest.mark.parametrize(
    ("wrong", "reported"),
    [
        ({"pane": 0}, "pane must be 1 to 16777216, not 0"),
        ({"pane": 100}, "pane must be a power of two, not 100"),
        ({"panes": 3}, "panes must be a power of two, not 3"),
        ({"by": "size"}, "by must be count or time, not 'size'"),
        ({"series": 0}, "series must be 1 to 65536, not 0"),
    ],
)
def test_parameters_out_of_range_are_rejected(wrong: dict[str, Any], reported: str) -> None:
    with pytest.raises(KernelError, match=reported):
        Window("load", **{"pane": 8} | wrong)


def results(window: Window, times: Sequence[int], values: Sequence[int]) -> list[dict[str, Any]]:
    """Return the fields of all results."""
    reference = window.reference()
    outcomes = [
        reference.process(Message(REQUEST, "load", 0, {**EMPTY, "time": time, "value": value}))
        for time, value in zip(times, values, strict=True)
    ]
    return [dict(each.message.fields) for each in outcomes if each.verdict == Verdict.FORWARD]


def test_every_item_is_in_one_tumbling_window() -> None:
    random = np.random.default_rng(3)
    times = np.cumsum(random.integers(0, 40, 500))
    values = random.integers(-1000, 1000, 500)
    seen = results(Window("load", pane=64), times.tolist(), values.tolist())
    rest = times >= seen[-1]["end"]
    assert sum(each["count"] for each in seen) + rest.sum() == 500
    assert sum(each["total"] for each in seen) + values[rest].sum() == values.sum()
    assert [each["end"] for each in seen] == sorted({(time // 64 + 1) * 64 for time in times.tolist()})[: len(seen)]


def test_late_items_are_distinguished() -> None:
    (late,) = results(Window("load", pane=8), [17, 15, 16], [1, 2, 3])
    assert (late["what"], late["time"], late["value"]) == (2, 15, 2)
