"""Programs of the stream primitives with golden files of their P4."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from midflight.primitives import Controller, Ewma, GroupBy, Program, SafetyStop, Threshold, Tree, Window
from midflight.primitives.library.tree import Nodes

__all__ = ["STREAMS"]

FORK: Nodes = {
    "feature": [0, 1, -1, -1, -1],
    "threshold": [80, 5, 0, 0, 0],
    "left": [1, 2, -1, -1, -1],
    "right": [4, 3, -1, -1, -1],
    "votes": [[0, 0], [0, 0], [9, 1], [2, 8], [0, 10]],
}
STREAMS: Mapping[str, Callable[[], Program]] = {
    "controller": lambda: Program(
        Controller("heater", proportional=[2.5], integral=[0.25], derivative=[1], low=0, high=1000, loops=8)
    ),
    "ewma": lambda: Program(Ewma("load", weight=3, shift=4, deviation=50, series=8)),
    "safetystop": lambda: Program(SafetyStop("press", low=-100, high=100, patience=20, cells=8)),
    "window_count": lambda: Program(Window("load", pane=16, by="count", series=8)),
    "window_time": lambda: Program(Window("load", pane=1024, panes=2, by="time", series=8)),
    "groupby": lambda: Program(GroupBy("words", workers=4, lanes=2, cells=64, window=8)),
    "tree": lambda: Program(Tree("alarm", trees=[FORK, FORK], features=3, classes=2)),
    "threshold_rate": lambda: Program(Threshold("pressure", above=900, clear=850, rate=30, sensors=8)),
}
