"""What all pictures of architectures are drawn with: colours, sizes, and text that fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = [
    "COLOURS", "GAP", "HEAD", "HEIGHT", "INK", "MARGIN", "PALE", "PLAIN", "WIDTH", "Style",
    "style_of", "text_width", "write",
]  # fmt: skip

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
SMALLEST = 5.0  # points of text


@dataclass(frozen=True)
class Style:
    """How a box looks."""

    fill: str = PLAIN
    ink: str = INK
    border: str = "none"
    line: str = INK  # colour of the label and of the border

    def patch(self) -> dict[str, Any]:
        """Give the fill and the border in matplotlib's words."""
        return {"facecolor": self.fill, "edgecolor": self.line, "linestyle": self.border}


def style_of(number: int) -> Style:
    """Style of the candidate with a number; 36 of them differ."""
    return Style(*COLOURS[number % len(COLOURS)], BORDERS[number // len(COLOURS) % len(BORDERS)])


def write(
    axes: Any, x: float, y: float, text: str, *, size: float, width: float, weight: str = "normal",
    color: str = INK, align: str = "center",
) -> None:  # fmt: skip
    """Write a line, smaller if it is too wide, and without its middle if it still is."""
    size = max(SMALLEST, min(size, size * width / max(text_width(text, size, weight), 1e-9)))
    shown, kept = text, len(text)
    while kept > 2 and text_width(shown, size, weight) > 1.01 * width:
        kept -= 1
        shown = f"{text[: kept - kept // 2]}…{text[-(kept // 2) :]}"
    axes.text(x, y, shown, size=size, weight=weight, color=color, ha=align, va="center_baseline",
              parse_math=False)  # fmt: skip


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Width of a text in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size, weight=weight)
    points, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(points) / 72
