"""What the pictures of an analysis share: panels, lines, dots, labels, and how they are saved."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..support.files import write_picture
from .seeds import MeanInterval

__all__ = [
    "COLOURS", "draw_lines", "draw_means", "draw_seeds", "label_axes", "panels_of", "save",
    "style", "tidy", "write_legend",
]  # fmt: skip

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = "osD^vP"
GREY, PALE = "#555555", "#e6e6e6"


def panels_of(
    n: int, width: float, height: float, *, sharex: bool = False, sharey: bool = False
) -> tuple[Any, list[Any]]:
    """Make a figure with n panels of this size in inches; a panel alone is at least 4.8 x 3.2."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "pictures of an analysis need matplotlib: pip install nni-magic[plots]"
        ) from error
    columns = 2 if n == 4 else min(n, 3)
    rows = math.ceil(n / columns)
    if n == 1:
        width, height = max(width, 4.8), max(height, 3.2)
    figure = Figure(figsize=(columns * width + 0.5, rows * height + 0.5), layout="compressed")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    panels = grid.ravel().tolist()
    for panel in panels[n:]:
        panel.remove()
    for panel in panels[n - columns : n]:
        panel.tick_params(labelbottom=True)  # also where the row below it is not full
    return figure, panels[:n]


def style(i: int) -> dict[str, Any]:
    """Give the look of a line and its intervals; 42 of them differ."""
    return {
        "color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)],
        "markersize": 6, "linewidth": 1.8, "capsize": 3,
    }  # fmt: skip


def draw_seeds(axes: Any, places: Iterable[float], taus: Iterable[ArrayLike], colour: str) -> None:
    """Draw every seed as a dot, those of one mean above each other."""
    for place, seeds in zip(places, taus, strict=True):
        axes.scatter(np.full(np.shape(seeds), place), seeds, s=18, color=colour, alpha=0.6, lw=0)


def draw_means(axes: Any, places: ArrayLike, means: Sequence[MeanInterval], **look: Any) -> None:
    """Draw means with their intervals, which lie around the means."""
    reach = [mean.interval[1] - mean.mean for mean in means]
    axes.errorbar(places, [mean.mean for mean in means], reach, **look)


def draw_lines(axes: Any, lines: Mapping[str, float]) -> None:
    """Draw lines across, with labels beside the axes that do not overlap."""
    low, high = axes.get_ylim()
    low, high = min([low, *lines.values()]), max([high, *lines.values()])
    gap, place = 0.06 * (high - low), -math.inf
    axes.set_ylim(low - gap, high + gap)
    for name, tau in sorted(lines.items(), key=lambda line: line[1]):
        axes.axhline(tau, color=GREY, linewidth=1.1, linestyle="dashed", zorder=1)
        place = max(tau, place + gap)
        axes.annotate(
            f"{name} {tau:.2f}", (1, tau), (1.04, place), xycoords=("axes fraction", "data"),
            va="center", color=GREY, arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.7},
        )  # fmt: skip


def label_axes(figure: Any, below: str, beside: str) -> None:
    """Label the axes of all panels, in the size of a single panel's labels."""
    figure.supxlabel(below, size="medium")
    figure.supylabel(beside, size="medium")


def tidy(axes: Any) -> None:
    """Leave two borders and a pale grid behind everything."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)


def write_legend(figure: Any, panels: Sequence[Any]) -> None:
    """Write above all panels what their lines are, each once."""
    found: dict[str, Any] = {}
    for panel in panels:
        handles, names = panel.get_legend_handles_labels()
        found |= dict(zip(names, handles, strict=True))
    figure.legend(
        found.values(), found.keys(), loc="outside upper center", ncols=min(len(found), 4),
        frameon=False,
    )  # fmt: skip


def save(figure: Any, path: str | Path) -> None:
    """Write both files, without a date or a random name inside."""
    import matplotlib

    base = str(path).removesuffix(".png").removesuffix(".svg")
    write_picture(figure, f"{base}.png", dpi=160, bbox_inches="tight")
    with matplotlib.rc_context({"svg.hashsalt": "nni-magic"}):
        write_picture(figure, f"{base}.svg", metadata={"Date": None}, bbox_inches="tight")
