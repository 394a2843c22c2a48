"""The picture of the queue demonstration: packets in the queue over time, for each way to treat it."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from midflight.errors import MidflightError
from midflight.testbed.demos.queues import QueueDemo

__all__ = ["drawn"]

_LINE, _INK, _FAINT = "#0f766e", "#1f2937", "#9ca3af"


def drawn(demo: QueueDemo, form: str = "png") -> bytes:
    """Return the picture of a demonstration as the contents of a file, in a format that matplotlib writes: png, svg,
    pdf and others.

    The same demonstration gives the same picture. MidflightError if matplotlib is not installed or does not know the
    format.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise MidflightError(
            "the picture is drawn with matplotlib, which is not installed", hint="pip install 'midflight[demo]'"
        ) from error
    style: dict[Any, object] = {
        "font.family": "DejaVu Sans", "font.size": 10, "text.color": _INK, "axes.labelcolor": _INK,
        "xtick.color": _INK, "ytick.color": _INK, "svg.hashsalt": "midflight", "svg.fonttype": "none",
    }  # fmt: skip
    with rc_context(style):
        layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12, wspace=0.04)
        figure = Figure(figsize=(10, 3.4), dpi=160, layout=layout, facecolor="white")
        FigureCanvasAgg(figure)
        settings = demo.settings
        title = f"Packets in a queue of {settings.depth} that sends {settings.rate:,} packets a second"
        figure.suptitle(title, fontsize=13, fontweight="bold", x=0.015, ha="left")
        plots = figure.subplots(1, len(demo.runs), sharey=True)
        for axes, run in zip(plots, demo.runs, strict=True):
            axes.plot(run.times, run.depths, color=_LINE, linewidth=1)
            axes.set_xlim(0, settings.seconds)
            axes.set_ylim(0, 1.05 * settings.depth)
            median = run.figures()["median_delay"]
            axes.set_title(f"{run.name}: median delay {median:.0f} ms", loc="left", fontsize=10, pad=8)
            axes.set_xlabel("seconds")
            axes.grid(axis="y", color=_FAINT, alpha=0.25, linewidth=0.8)
            axes.set_axisbelow(True)
            axes.tick_params(length=0)
            for side in ("top", "right", "left"):
                axes.spines[side].set_visible(False)
            axes.spines["bottom"].set_color(_FAINT)
        made = BytesIO()
        try:
            figure.savefig(made, format=form, metadata={"Date": None} if form == "svg" else None)
        except ValueError as error:
            raise MidflightError(f"the picture cannot be drawn as {form}: {error}") from error
    return made.getvalue()
