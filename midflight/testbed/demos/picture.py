"""The picture of the all-reduce demonstration: the learning curves, and the traffic on the server's link."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from midflight.errors import MidflightError
from midflight.testbed.demos.allreduce import Demo

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["drawn"]

_SWITCH, _SERVER, _INK, _FAINT = "#0f766e", "#d97706", "#1f2937", "#9ca3af"
# Behind notes, so that no line of the grid crosses them.
_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}


def drawn(demo: Demo, form: str = "png", *, titles: bool = True) -> bytes:
    """Return the picture of a demonstration as the contents of a file, in a format that matplotlib writes: png, svg,
    pdf and others.

    Without `titles`, it has only axes and curves, for a paper whose captions say the rest. MidflightError if matplotlib
    is not installed or does not know the format.
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
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
    }
    figures = demo.figures
    with rc_context(style):
        layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12, wspace=0.04)
        figure = Figure(figsize=(10, 4.6), dpi=160, layout=layout, facecolor="white")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        if titles:
            figure.suptitle(
                f"{figures.workers} workers train one classifier, their gradients summed in the switch or by a server",
                fontsize=13,
                fontweight="bold",
                x=0.015,
                ha="left",
            )
        _draw_losses(left, demo)
        _draw_bytes(right, demo)
        if not titles:
            left.set_title("", loc="left")
            right.set_title("", loc="left")
        made = BytesIO()
        try:
            figure.savefig(made, format=form)
        except ValueError as error:
            raise MidflightError(f"the picture cannot be drawn as {form}: {error}") from error
    return made.getvalue()


def _draw_losses(axes: Axes, demo: Demo) -> None:
    steps = range(1, demo.figures.steps + 1)
    # The curves coincide. The server's is below, wide and light, so that both are visible.
    axes.plot(
        steps, demo.server.losses, color=_SERVER, alpha=0.35, linewidth=7, solid_capstyle="round",
        label=f"summed by the server: accuracy {demo.figures.accuracy_server:.1%}",
    )  # fmt: skip
    axes.plot(
        steps, demo.switch.losses, color=_SWITCH, linewidth=2,
        label=f"summed in the switch: accuracy {demo.figures.accuracy_switch:.1%}",
    )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_xlim(1, max(2, demo.figures.steps))
    axes.legend(frameon=False, loc="upper right")
    equal = ", bit for bit" if demo.switch.weights_digest == demo.server.weights_digest else ""
    _finish(axes, f"What is learnt: the same model{equal}", "step", "cross entropy on the training images")
    if demo.figures.loss:
        axes.text(
            0.98, 0.72, f"links lose, repeat and delay\n{demo.figures.loss:.0%} of the packets each",
            transform=axes.transAxes, ha="right", va="top", color=_INK, bbox=_PAPER, zorder=1.5,
        )  # fmt: skip


def _draw_bytes(axes: Axes, demo: Demo) -> None:
    steps = range(demo.figures.steps + 1)
    largest = max(demo.server.server_link_bytes[-1], demo.switch.server_link_bytes[-1], 1)
    unit, name = next(each for each in ((1e6, "MB"), (1e3, "kB"), (1, "bytes")) if largest >= each[0])
    lines = ((demo.server, _SERVER, "server sums"), (demo.switch, _SWITCH, "switch sums"))
    for run, colour, label in lines:
        amounts = [0.0, *(each / unit for each in run.server_link_bytes)]
        axes.fill_between(steps, amounts, color=colour, alpha=0.15, linewidth=0)
        axes.plot(steps, amounts, color=colour, linewidth=2.5, clip_on=False, zorder=3)
        axes.annotate(
            f"{label}: {amounts[-1]:,.2f} {name}" if amounts[-1] else f"{label}: not one byte",
            (steps[-1], amounts[-1]),
            xytext=(-8, 8),
            textcoords="offset points",
            ha="right",
            va="bottom",
            color=colour,
            fontweight="bold",
            bbox=_PAPER,
            zorder=2.5,
        )
    axes.set_ylim(0, 1.15 * largest / unit)
    axes.set_xlim(0, demo.figures.steps)
    _finish(axes, "What crosses the server's link for it", "step", f"{name} so far")


def _finish(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, pad=10)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(axis="y", color=_FAINT, alpha=0.25, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.locator_params(axis="x", integer=True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
