"""Pictures of means over seeds, a line for each supernet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nni_magic.analysis import figures
from nni_magic.analysis.seeds import MeanInterval

__all__ = ["draw_curves"]


def draw_curves(
    curves: Mapping[str, Sequence[MeanInterval]],
    stem: Path,
    *,
    first: int,
    below: str,
    beside: str,
) -> None:
    """Draw means with their intervals, into ``<stem>.png`` and ``<stem>.svg``.

    Parameters
    ----------
    curves
        Name of a supernet to its means.
    stem
        The pictures, without their ends.
    first
        Place of the first mean; the others follow in steps of 1.
    below, beside
        Labels of the axes.
    """
    figure, [panel] = figures.panels_of(1, 5.5, 3.5)
    for i, (name, curve) in enumerate(curves.items()):
        places = range(first, first + len(curve))
        figures.draw_means(panel, places, curve, label=name, **figures.style(i))
    figures.tidy(panel)
    figures.label_axes(figure, below, beside)
    figures.write_legend(figure, [panel])
    figures.save(figure, stem)
