"""The programs of the primitives for streams of readings whose P4 is kept in golden files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from midflight.primitives import Controller, Ewma, GroupBy, Program, SafetyStop, Threshold, Window

__all__ = ["STREAMS"]

STREAMS: Mapping[str, Callable[[], Program]] = {
    "controller": lambda: Program(
        Controller("heater", proportional=[2.5], integral=[0.25], derivative=[1], low=0, high=1000, loops=8)
    ),
    "ewma": lambda: Program(Ewma("load", weight=3, shift=4, deviation=50, series=8)),
    "safetystop": lambda: Program(SafetyStop("press", low=-100, high=100, patience=20, cells=8)),
    "window_count": lambda: Program(Window("load", pane=16, by="count", series=8)),
    "window_time": lambda: Program(Window("load", pane=1024, panes=2, by="time", series=8)),
    "groupby": lambda: Program(GroupBy("words", workers=4, lanes=2, cells=64, window=8)),
    "threshold_rate": lambda: Program(Threshold("pressure", above=900, clear=850, rate=30, sensors=8)),
}
