"""Programs with golden files of their P4, which run on all available switches."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from midflight.primitives import (
    Aggregate,
    Filter,
    Program,
    Threshold,
)
from tests.primitives import kernels, more_kernels
from tests.primitives.balancing import BALANCING
from tests.primitives.coordination import COORDINATION
from tests.primitives.sketches import SKETCHES
from tests.primitives.streams import STREAMS

__all__ = ["PROGRAMS"]

PROGRAMS: Mapping[str, Callable[[], Program]] = {
    "aggregate_wrap": lambda: Program(Aggregate("gradients", workers=3, lanes=2, slots=4, overflow="wrap")),
    "aggregate_saturate": lambda: Program(Aggregate("gradients", workers=3, lanes=2, slots=4, overflow="saturate")),
    "aggregate_detect": lambda: Program(Aggregate("gradients", workers=3, lanes=2, slots=4, overflow="detect")),
    "filter": lambda: Program(Filter("telemetry", keep="temperature > 80 and status != 0")),
    "threshold": lambda: Program(Threshold("pressure", above=900, clear=850, sensors=8)),
    "all_three": lambda: Program(
        Aggregate("gradients", workers=4, lanes=4, slots=256, overflow="saturate"),
        Filter("telemetry", keep="temperature > 80 and status != 0"),
        Threshold("pressure", above=900, clear=850),
    ),
    "custom": lambda: Program(
        kernels.Threshold("boiler", above=100, clear=90, sensors=16),
        kernels.Ewma("smooth"),
        kernels.Tally("tally"),
    ),
    "samples": lambda: Program(kernels.Samples("samples")),
    "helpers": lambda: Program(kernels.Layered("layered"), kernels.Counted("counted")),
    "calls": lambda: Program(kernels.Calls("calls")),
    "nearest": lambda: Program(kernels.Nearest("nearest")),
    "basket": lambda: Program(kernels.Basket("basket")),
    "words": lambda: Program(kernels.Words("words")),
    "hashes": lambda: Program(kernels.Rows("rows")),
    "outputs": lambda: Program(more_kernels.Walk("walk"), Filter("telemetry", keep="temperature > 80")),
    "tables": lambda: Program(more_kernels.Directory("directory")),
    **BALANCING,
    **COORDINATION,
    **SKETCHES,
    **STREAMS,
}
