"""Draw the architecture of a child: its choice blocks in order, or the graphs of its cells."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nni.mutable import Sample
from nni.nas.nn.pytorch import LayerChoice, ModelSpace

from ..children.json_samples import in_space
from ..children.samples import active_labels, candidates, digest
from ..support.compat import freeze
from ..support.files import write_picture
from ..support.flops import count_params
from .cell_graphs import CellGraph, cell_graphs, draw_cell, graph_width
from .drawing import GAP, HEAD, HEIGHT, MARGIN, PALE, WIDTH, Style, style_of, text_width, write

__all__ = ["draw_architecture"]

COLUMNS = 9


@dataclass(frozen=True)
class _Box:
    """What is drawn of one label."""

    label: str
    choice: str
    note: str
    style: Style


INACTIVE = Style("white", PALE, "dashed", PALE)


def draw_architecture(space: ModelSpace, sample: Sample, path: str | Path) -> None:
    """Draw a child in the format that the file's name says, such as PNG or SVG.

    Choice blocks form a chain in the order of the space's labels. They tell the parameters of the
    chosen candidate, whose colour is the same for all children of a space. Cells are graphs, one
    for every label: nodes in a row, inputs first, with operators on the arcs between them. Other
    labels, such as depths and kernel sizes, follow below. Labels without effect on this child are
    pale.

    Parameters
    ----------
    space
        A model space, or a path-sampling supernet.
    sample
        The child.
    path
        The file.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    ValueError
        If the sample is not in the space.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "a picture of an architecture needs matplotlib: pip install nni-magic[plots]"
        ) from error
    sample = in_space(sample, candidates(space))
    cells = cell_graphs(space, candidates(space), sample)
    chain, others, legend = _describe(space, sample, cells)
    columns = max(_columns(len(chain)), _columns(len(others)), 4)
    width = max([columns * (WIDTH + GAP) - GAP, *map(graph_width, cells)]) + 2 * MARGIN
    figure = Figure(figsize=(width, 1), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width))
    axes.axis("off")
    title = f"{type(space).__name__}, child {digest(sample)}"
    write(axes, MARGIN, MARGIN, title, size=12, width=width - 2 * MARGIN, weight="bold",
           align="left")  # fmt: skip
    y = _draw_grid(axes, chain, MARGIN, arrows=True)
    for cell in cells:
        y = draw_cell(axes, cell, sample, legend, y)
    y = _draw_grid(axes, others, y, arrows=False)
    y = _draw_legend(axes, legend, y + HEAD, width)
    figure.set_figheight(y + MARGIN)
    axes.set_ylim(y + MARGIN, 0)  # so that one unit is an inch, downwards
    write_picture(figure, path, dpi=160)


def _describe(
    space: ModelSpace, sample: Sample, cells: Sequence[CellGraph]
) -> tuple[list[_Box], list[_Box], dict[str, Style]]:
    """Boxes of choice blocks and of other labels outside of cells; styles of all candidates."""
    blocks: dict[str, list[LayerChoice]] = {}
    for module in space.modules():
        if isinstance(module, LayerChoice):
            blocks.setdefault(str(module.label), []).append(module)
    choices, active = candidates(space), active_labels(space, sample)
    operators = blocks.keys() | {edge.label for cell in cells for edge in cell.edges}
    names = dict.fromkeys(
        str(name) for label in choices if label in operators for name in choices[label]
    )
    styles = {name: style_of(i) for i, name in enumerate(names)}
    chain: list[_Box] = []
    others: list[_Box] = []
    in_cells: set[str] = set().union(*(cell.labels for cell in cells))
    for label in (label for label in choices if label not in in_cells):
        text, style, note = _text(sample[label]), Style(), ""
        if label in blocks:
            style, note = styles[text], _params(blocks[label], sample)
        if label not in active:
            style, note = INACTIVE, "inactive"
        (chain if label in blocks else others).append(_Box(label, text, note, style))
    return chain, others, styles


def _params(blocks: Sequence[LayerChoice], sample: Sample) -> str:
    """Tell the parameters of the candidates chosen in all choice blocks of a label."""
    try:
        count = sum(count_params(freeze(block, sample)) for block in blocks)
    except Exception:  # NNI cannot freeze every block by itself, and the picture does without
        return ""
    return f"{_short(count)} params"


def _text(choice: Any) -> str:
    return (", ".join(map(str, choice)) or "none") if isinstance(choice, list) else str(choice)


def _short(count: int) -> str:
    """Write a count with three digits.

    Examples
    --------
    >>> _short(0), _short(12_544), _short(999_900), _short(7_087_872)
    ('0', '12.5k', '1M', '7.09M')
    """
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * unit:  # which rounds to it
            return f"{count / unit:.3g}{letter}"
    return str(count)


def _columns(n: int) -> int:
    """Spread boxes evenly over as few rows as they need."""
    return math.ceil(n / max(1, math.ceil(n / COLUMNS)))


def _draw_grid(axes: Any, boxes: Sequence[_Box], top: float, *, arrows: bool) -> float:
    """Draw boxes in rows below ``top``, and give where the last row ends."""
    columns = _columns(len(boxes))
    corners = [
        (MARGIN + i % columns * (WIDTH + GAP), top + HEAD + i // columns * (HEAD + HEIGHT))
        for i in range(len(boxes))
    ]
    if arrows:
        for start, end in itertools.pairwise(corners):
            _draw_arrow(axes, start, end)
    for box, corner in zip(boxes, corners, strict=True):
        _draw_box(axes, box, *corner)
    return corners[-1][1] + HEIGHT if boxes else top


def _draw_box(axes: Any, box: _Box, x: float, y: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    style, middle = box.style, x + WIDTH / 2
    axes.add_patch(
        FancyBboxPatch(
            (x, y), WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.09", **style.patch()
        )
    )
    write(axes, middle, y - 0.1, box.label, size=7.5, width=WIDTH + 0.14, color=style.line)
    inside = partial(write, axes, middle, width=WIDTH - 0.12, color=style.ink)
    centre = y + HEIGHT / 2
    inside(centre - (0.1 if box.note else 0), box.choice, size=11, weight="bold")
    inside(centre + 0.13, box.note, size=7)


def _draw_arrow(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow from box to box; to the next row it goes between the rows."""
    (x, y), (next_x, next_y) = (start[0] + WIDTH, start[1] + HEIGHT / 2), end
    next_y += HEIGHT / 2
    if y != next_y:
        between = start[1] + HEIGHT + 0.13
        bend, back = x + GAP / 2, next_x - GAP / 2
        axes.plot([x, bend, bend, back, back], [y, y, between, between, next_y],
                  color=PALE, lw=1.1, solid_joinstyle="round", clip_on=False)  # fmt: skip
        x = back
    axes.annotate("", (next_x, next_y), (x, next_y), arrowprops={
        "arrowstyle": "-|>", "color": PALE, "lw": 1.1, "shrinkA": 0, "shrinkB": 1})  # fmt: skip


def _draw_legend(axes: Any, legend: dict[str, Style], top: float, width: float) -> float:
    """Draw all candidates with their colours, and give where this ends."""
    from matplotlib.patches import Rectangle

    x, y = MARGIN, top
    for name, style in legend.items():
        needed = 0.22 + text_width(name, 8)
        if x > MARGIN and x + needed > width - MARGIN:
            x, y = MARGIN, y + 0.24
        axes.add_patch(Rectangle((x, y - 0.075), 0.15, 0.15, **style.patch()))
        write(axes, x + 0.22, y, name, size=8, width=width - 2 * MARGIN, align="left")
        x += needed + 0.25
    return y
