"""The Pareto front of children: what was scored, and which of them no other child dominates.

A child dominates another if it is nowhere worse, in its score and in all costs, and somewhere
better. The front is what no child dominates, among *all* that were scored.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from nni.mutable import Sample

from ..scoring.scored import ScoredChild
from ..support.errors import check_choice
from ..support.files import write_picture, write_table
from ..support.modes import Mode

__all__ = ["ParetoFront", "PricedChild", "non_dominated"]


@dataclass(frozen=True)
class PricedChild:
    """A scored child with its name and its costs."""

    child: ScoredChild
    name: str
    costs: tuple[float, ...]

    @property
    def sample(self) -> Sample:
        """The child: label to choice."""
        return self.child.sample

    @property
    def score(self) -> float:
        """The child's score."""
        return self.child.score

    def is_finite(self) -> bool:
        """Tell whether the score and all costs are finite numbers."""
        return all(map(math.isfinite, (self.score, *self.costs)))


@dataclass(frozen=True)
class ParetoFront:
    """The children that a search scored, and those of them that no other dominates.

    Attributes
    ----------
    scored : list of PricedChild
        All children scored, in the order of scoring.
    cost_names : list of str
        Names of the costs, in the order of ``PricedChild.costs``.
    mode : str
        Whether a smaller (``min``) or a larger (``max``) score is better. Of costs, less is better.
    """

    scored: list[PricedChild]
    cost_names: list[str]
    mode: Mode

    def objectives(self, children: Sequence[PricedChild]) -> np.ndarray:
        """Score and costs of children, all to be minimized, ``(children, 1 + costs)``."""
        sign = 1 if self.mode == "min" else -1
        rows = [[sign * child.score, *child.costs] for child in children]
        return np.array(rows, dtype=float).reshape(len(children), 1 + len(self.cost_names))

    @property
    def children(self) -> list[PricedChild]:
        """The front: the non-dominated children, sorted by the first cost, then by the next.

        Children that have a score or a cost that is not finite are left out.
        """
        finite = [child for child in self.scored if child.is_finite()]
        kept = non_dominated(self.objectives(finite))
        front = [child for child, keep in zip(finite, kept, strict=True) if keep]
        return sorted(front, key=lambda child: child.costs)

    @property
    def failed(self) -> list[str]:
        """Names of the children that have a score or a cost that is not finite."""
        return [child.name for child in self.scored if not child.is_finite()]

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the front as CSV: each child's name, score, costs and choice for every label."""
        front = self.children
        labels = list(front[0].sample) if front else []
        head = ["child", "score", *self.cost_names, *labels]
        rows = [
            [child.name, child.score, *child.costs, *(child.sample[label] for label in labels)]
            for child in front
        ]
        write_table(path, [head, *rows])

    def plot(
        self, path: str | os.PathLike[str], *, score_label: str, cost: str | None = None
    ) -> None:
        """Draw the score against a cost: all children scored, and the front as a line of steps.

        Parameters
        ----------
        path
            Where the picture goes; its ending decides the format.
        score_label
            Label of the score's axis, with its unit.
        cost
            Name of the cost to draw, by default the first; it labels the other axis. With several
            costs the line joins the front of score and this cost alone; children that are on the
            front for the sake of another cost lie off the line.

        Raises
        ------
        ModuleNotFoundError
            If matplotlib is not installed.
        ValueError
            If no cost has that name, or no child has a finite score and finite costs.
        """
        try:
            from matplotlib.figure import Figure
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "a picture of the front needs matplotlib: pip install nni-magic[plots]"
            ) from error
        column = self._column(cost)
        finite = [child for child in self.scored if child.is_finite()]
        if not finite:
            raise ValueError("there is no front to draw: no child has a finite score and costs")
        figure = Figure(figsize=(6.4, 4.4), layout="constrained")
        axes = figure.subplots()
        self._draw(axes, finite, column)
        axes.set(xlabel=self.cost_names[column], ylabel=score_label)
        write_picture(figure, path, dpi=160)

    def _draw(self, axes: Any, finite: list[PricedChild], column: int) -> None:
        def points(children: Iterable[PricedChild]) -> np.ndarray:
            return np.array([(child.costs[column], child.score) for child in children]).T

        front = self.children
        on_line = non_dominated(self.objectives(finite)[:, [0, 1 + column]])
        line = sorted(
            (child for child, keep in zip(finite, on_line, strict=True) if keep),
            key=lambda child: child.costs[column],
        )
        # Grey and blue of the palette of Okabe and Ito, which differ in lightness too.
        axes.scatter(
            *points(finite), s=16, color="#b8b8b8", linewidths=0,
            label=f"scored children ({len(finite)})",
        )  # fmt: skip
        axes.plot(*points(line), color="#0072b2", linewidth=1.6, drawstyle="steps-post")
        axes.plot(
            *points(front), "o", color="#0072b2", markersize=6, markeredgecolor="white",
            label=f"Pareto front ({len(front)})",
        )  # fmt: skip
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e6e6e6", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.legend(frameon=False)

    def _column(self, cost: str | None) -> int:
        if cost is None:
            return 0
        check_choice("cost", cost, self.cost_names)
        return self.cost_names.index(cost)


def non_dominated(objectives: np.ndarray) -> np.ndarray:
    """Mark the rows that no other row dominates; equal rows do not dominate each other.

    Parameters
    ----------
    objectives
        ``(n, m)``, all to be minimized.

    Returns
    -------
    ndarray of bool
        ``(n,)``.

    Examples
    --------
    >>> non_dominated(np.array([[1, 3], [2, 2], [2, 4]])).tolist()
    [True, True, False]
    """
    kept = np.ones(len(objectives), dtype=bool)
    for i, row in enumerate(objectives):
        no_worse = (objectives <= row).all(axis=1)
        kept[i] = not (no_worse & (objectives < row).any(axis=1)).any()
    return kept
