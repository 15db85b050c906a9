"""Draw the architecture of a child: its choice blocks in order, each with the chosen candidate."""

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

__all__ = ["draw_architecture"]

# The "muted" colours of P. Tol (personal.sron.nl/~pault), which the colour-blind tell apart, each
# with a colour for text on it.
COLOURS = (
    ("#88CCEE", "black"), ("#CC6677", "black"), ("#DDCC77", "black"), ("#117733", "white"),
    ("#332288", "white"), ("#AA4499", "white"), ("#44AA99", "black"), ("#999933", "black"),
    ("#882255", "white"),
)  # fmt: skip
BORDERS = ("none", "solid", "dashed", "dotted")  # for a tenth candidate and more
INK, PALE, PLAIN = "#333333", "#A8A8A8", "#EEEEEE"

# In inches: a box, the space beside it, the space above it with its label, the picture's margin.
WIDTH, HEIGHT, GAP, HEAD, MARGIN = 1.06, 0.56, 0.3, 0.46, 0.3
COLUMNS = 9
SMALLEST = 5.0  # points of text


@dataclass(frozen=True)
class _Style:
    fill: str = PLAIN
    ink: str = INK
    border: str = "none"
    line: str = INK  # colour of the label and of the border

    def patch(self) -> dict[str, Any]:
        """Give the fill and the border in matplotlib's words."""
        return {"facecolor": self.fill, "edgecolor": self.line, "linestyle": self.border}


@dataclass(frozen=True)
class _Box:
    """What is drawn of one label."""

    label: str
    choice: str
    note: str
    style: _Style


INACTIVE = _Style("white", PALE, "dashed", PALE)


def draw_architecture(space: ModelSpace, sample: Sample, path: str | Path) -> None:
    """Draw a child in the format that the file's name says, such as PNG or SVG.

    Choice blocks form a chain in the order of the space's labels. They tell the parameters of the
    chosen candidate, whose colour is the same for all children of a space. Other labels, such as
    depths and kernel sizes, follow below. Labels without effect on this child are pale.

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
    chain, others, legend = _describe(space, sample)
    columns = max(_columns(len(chain)), _columns(len(others)), 4)
    width = columns * (WIDTH + GAP) - GAP + 2 * MARGIN
    figure = Figure(figsize=(width, 1), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width))
    axes.axis("off")
    title = f"{type(space).__name__}, child {digest(sample)}"
    _write(axes, MARGIN, MARGIN, title, size=12, width=width - 2 * MARGIN, weight="bold",
           align="left")  # fmt: skip
    y = _draw_grid(axes, chain, MARGIN, arrows=True)
    y = _draw_grid(axes, others, y, arrows=False)
    y = _draw_legend(axes, legend, y + HEAD, width)
    figure.set_figheight(y + MARGIN)
    axes.set_ylim(y + MARGIN, 0)  # so that one unit is an inch, downwards
    write_picture(figure, path, dpi=160)


def _describe(
    space: ModelSpace, sample: Sample
) -> tuple[list[_Box], list[_Box], dict[str, _Style]]:
    """Give the boxes of choice blocks and of other labels, and the styles of all candidates."""
    blocks: dict[str, list[LayerChoice]] = {}
    for module in space.modules():
        if isinstance(module, LayerChoice):
            blocks.setdefault(str(module.label), []).append(module)
    choices, active = candidates(space), active_labels(space, sample)
    names = dict.fromkeys(
        str(name) for label in choices if label in blocks for name in choices[label]
    )
    styles = {
        name: _Style(*COLOURS[i % len(COLOURS)], BORDERS[i // len(COLOURS) % len(BORDERS)])
        for i, name in enumerate(names)
    }
    chain: list[_Box] = []
    others: list[_Box] = []
    for label in choices:
        text, style, note = _text(sample[label]), _Style(), ""
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
    write = partial(_write, axes, middle)
    write(y - 0.1, box.label, size=7.5, width=WIDTH + 0.14, color=style.line)
    write = partial(write, width=WIDTH - 0.12, color=style.ink)
    centre = y + HEIGHT / 2
    write(centre - (0.1 if box.note else 0), box.choice, size=11, weight="bold")
    write(centre + 0.13, box.note, size=7)


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


def _draw_legend(axes: Any, legend: dict[str, _Style], top: float, width: float) -> float:
    """Draw all candidates with their colours, and give where this ends."""
    from matplotlib.patches import Rectangle

    x, y = MARGIN, top
    for name, style in legend.items():
        needed = 0.22 + _width(name, 8)
        if x > MARGIN and x + needed > width - MARGIN:
            x, y = MARGIN, y + 0.24
        axes.add_patch(Rectangle((x, y - 0.075), 0.15, 0.15, **style.patch()))
        _write(axes, x + 0.22, y, name, size=8, width=width - 2 * MARGIN, align="left")
        x += needed + 0.25
    return y


def _write(
    axes: Any, x: float, y: float, text: str, *, size: float, width: float, weight: str = "normal",
    color: str = INK, align: str = "center",
) -> None:  # fmt: skip
    """Write a line, smaller if it is too wide, and without its middle if it still is."""
    size = max(SMALLEST, min(size, size * width / max(_width(text, size, weight), 1e-9)))
    shown, kept = text, len(text)
    while kept > 2 and _width(shown, size, weight) > 1.01 * width:
        kept -= 1
        shown = f"{text[: kept - kept // 2]}…{text[-(kept // 2) :]}"
    axes.text(x, y, shown, size=size, weight=weight, color=color, ha=align, va="center_baseline",
              parse_math=False)  # fmt: skip


def _width(text: str, size: float, weight: str = "normal") -> float:
    """Width of a text in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size, weight=weight)
    points, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(points) / 72
