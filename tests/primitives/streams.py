"""The programs of the primitives for streams of readings whose P4 is kept in golden files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from midflight.primitives import Ewma, Program, Threshold

__all__ = ["STREAMS"]

STREAMS: Mapping[str, Callable[[], Program]] = {
    "ewma": lambda: Program(Ewma("load", weight=3, shift=4, deviation=50, series=8)),
    "threshold_rate": lambda: Program(Threshold("pressure", above=900, clear=850, rate=30, sensors=8)),
}
