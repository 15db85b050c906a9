"""Pictures of interference and of rank correlation, each as PNG and as SVG.

They need matplotlib (``pip install nni-magic[plots]``), whose settings and back end stay as they
are. The same data give the same files. Colours are those of Okabe and Ito, or viridis, which the
colour-blind tell apart; lines differ by their markers, too.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search, ICML 2022.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..support.errors import naming
from .figures import (
    COLOURS,
    draw_lines,
    draw_means,
    draw_seeds,
    label_axes,
    panels_of,
    save,
    style,
    tidy,
    write_legend,
)
from .ranking import rank
from .seeds import MeanInterval, over_seeds

__all__ = [
    "cosine_by_difference", "cosine_heatmap", "score_against_truth", "tau_by_method",
    "tau_by_setting",
]  # fmt: skip

TAU = "Kendall's τ with the ground truth\n(dots: seeds; mean with 95 % interval)"


def cosine_heatmap(
    matrices: Mapping[str, ArrayLike], names: Sequence[str | int], path: str | Path
) -> None:
    """Draw how alike the gradients of every two children are, as Figures 2a and b of [Xu2022].

    Parameters
    ----------
    matrices
        Title of a panel to cosines, ``(C, C)``. All panels have the same scale of colours, from 0
        or the lowest cosine to 1.
    names
        The C candidates by which the children differ.
    path
        The pictures; an ending ``.png`` or ``.svg`` is replaced.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    ValueError
        If there is no matrix, or one is not of cosines between all names.
    """
    _check_filled("picture", matrices)
    labels = [str(name) for name in names]
    cosines = {title: _cosines(title, matrix, len(labels)) for title, matrix in matrices.items()}
    side = 0.6 * len(labels)
    figure, panels = panels_of(len(cosines), side + 0.7, side + 0.4)
    slant = {"rotation": 45, "ha": "right"} if max(map(len, labels)) > 6 else {}
    lowest = min(0, *(math.floor(10 * matrix.min()) / 10 for matrix in cosines.values()))
    for panel, (title, matrix) in zip(panels, cosines.items(), strict=True):
        image = panel.imshow(matrix, cmap="viridis", vmin=lowest, vmax=1)
        for (row, column), cosine in np.ndenumerate(matrix):
            colour = "black" if image.norm(cosine) > 0.5 else "white"
            panel.text(column, row, f"{cosine:.2f}", ha="center", va="center", color=colour)
        panel.set_xticks(range(len(labels)), labels, **slant)
        panel.set_yticks(range(len(labels)), labels)
        panel.tick_params(length=0)
        panel.spines[:].set_visible(False)
        others = matrix[~np.eye(len(labels), dtype=bool)]
        panel.set_title(f"{title} (mean {others.mean():.2f})")
    figure.colorbar(image, ax=panels, label="cosine of gradients (1: no interference)")
    save(figure, path)


def cosine_by_difference(
    curves: Mapping[str, Mapping[str, Mapping[int, tuple[float, float]]]], path: str | Path
) -> None:
    """Draw the mean cosine against how many operators differ, as Figures 2c and 8 of [Xu2022].

    Parameters
    ----------
    curves
        Title of a panel, such as the layer of the shared candidate, to the name of a line, such as
        the supernet's strategy, to m, to the mean cosine and its standard error.
    path
        The pictures; an ending ``.png`` or ``.svg`` is replaced.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    ValueError
        If there is nothing to draw, or a value is not finite.
    """
    _check_filled("picture", curves)
    figure, panels = panels_of(len(curves), 2.8, 2.5, sharex=True, sharey=True)
    names = list(dict.fromkeys(name for lines in curves.values() for name in lines))
    for panel, (title, lines) in zip(panels, curves.items(), strict=True):
        for name, line in lines.items():
            _check_filled(f"{title}, {name}", line)
            means, errors = _numbers(f"{title}, {name}", list(line.values())).T
            panel.errorbar(list(line), means, errors, label=name, **style(names.index(name)))
        panel.set_title(title)
        panel.xaxis.get_major_locator().set_params(integer=True)
        tidy(panel)
    label_axes(
        figure, "operators by which children differ, m", "mean cosine of gradients ± standard error"
    )
    write_legend(figure, panels)
    save(figure, path)


def score_against_truth(
    truth: ArrayLike,
    scores: Mapping[str, ArrayLike],
    path: str | Path,
    *,
    truth_label: str,
    score_label: str,
) -> None:
    """Draw scores against the ground truth with Kendall's tau, as Table 1 of [Xu2022] tells it.

    Parameters
    ----------
    truth
        ``(n,)``.
    scores
        Method to scores, ``(n,)``, better in the same direction. Every panel has its own scale of
        scores. The interval of tau is that of :func:`~nni_magic.analysis.ranking.rank`.
    path
        The pictures; an ending ``.png`` or ``.svg`` is replaced.
    truth_label, score_label
        Labels of the axes, with their units.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    ValueError
        If there are no scores, or tau is undefined, see :func:`~nni_magic.analysis.ranking.rank`.
    """
    _check_filled("picture", scores)
    rankings = {}
    for name, values in scores.items():
        with naming(name):
            rankings[name] = rank(truth, values, top_k=())
    figure, panels = panels_of(len(scores), 2.8, 2.9, sharex=True)
    for panel, (name, found) in zip(panels, rankings.items(), strict=True):
        panel.scatter(truth, scores[name], s=24, color=COLOURS[0], alpha=0.7, linewidths=0)
        low, high = found.tau_interval
        panel.set_title(f"{name}\nτ = {found.kendall_tau:.2f} ({low:.2f} to {high:.2f})")
        tidy(panel)
    label_axes(figure, f"{truth_label}, {found.n} children", score_label)
    save(figure, path)


def tau_by_setting(
    taus: Mapping[str, Mapping[float, ArrayLike]], path: str | Path, *, setting: str
) -> None:
    """Draw tau against a setting, such as k or the anchor's percentile (Figure 3 of [Xu2022]).

    Every seed is a dot; the line goes through the means, with their 95 % intervals over seeds.

    Parameters
    ----------
    taus
        Name of a line to values of the setting to Kendall's tau of every seed.
    path
        The pictures; an ending ``.png`` or ``.svg`` is replaced.
    setting
        Label of the setting's axis, with its unit.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    ValueError
        If there is nothing to draw, a value is not finite, or there are fewer than two seeds.
    """
    _check_filled("picture", taus)
    for name, line in taus.items():
        _check_filled(name, line)
    means = {
        name: [_mean(f"{name}, {setting} {value}", seeds) for value, seeds in line.items()]
        for name, line in taus.items()
    }
    figure, [axes] = panels_of(1, 5.9, 3.6)
    values = sorted({value for line in taus.values() for value in line})
    for i, (name, line) in enumerate(taus.items()):
        # Side by side, dots and lines do not hide each other.
        step = 0.012 * (values[-1] - values[0])
        places = np.array(list(line)) + (2 * i - len(taus) + 1) * step
        draw_seeds(axes, places - step, line.values(), COLOURS[i % len(COLOURS)])
        draw_means(axes, places, means[name], label=name, **style(i))
    axes.set(xlabel=setting, ylabel=TAU, xticks=values)
    tidy(axes)
    write_legend(figure, [axes])
    save(figure, path)


def tau_by_method(
    taus: Mapping[str, ArrayLike],
    path: str | Path,
    *,
    trivial: Mapping[str, float] | None = None,
    ceiling: float | None = None,
) -> None:
    """Draw the tau of methods: every seed as a dot, the mean with its 95 % interval over seeds.

    Parameters
    ----------
    taus
        Method to Kendall's tau of every seed.
    path
        The pictures; an ending ``.png`` or ``.svg`` is replaced.
    trivial
        Name to tau of trivial rankings, such as by parameters, which a method has to beat.
    ceiling
        The largest tau that noise in the ground truth lets scores reach.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    ValueError
        If there is nothing to draw, a value is not finite, or there are fewer than two seeds.
    """
    _check_filled("picture", taus)
    means = {name: _mean(name, seeds) for name, seeds in taus.items()}
    lines = dict(trivial or {}) | ({} if ceiling is None else {"noise ceiling": ceiling})
    for name, tau in lines.items():
        _numbers(name, tau)
    figure, [axes] = panels_of(1, 2 + 1.15 * len(taus), 3.6)
    for i, (name, seeds) in enumerate(taus.items()):
        draw_seeds(axes, [i - 0.13], [seeds], COLOURS[i % len(COLOURS)])
        draw_means(axes, [i + 0.13], [means[name]], **style(i))
        axes.annotate(f"{means[name].mean:.2f}", (i + 0.13, means[name].mean), xytext=(9, 0),
                      textcoords="offset points", va="center", weight="bold")  # fmt: skip
    axes.set(ylabel=TAU, xlim=(-0.5, len(taus) - 0.3))
    axes.set_xticks(range(len(taus)), list(taus))
    tidy(axes)
    draw_lines(axes, lines)
    save(figure, path)


def _cosines(title: str, matrix: ArrayLike, n: int) -> np.ndarray:
    cosines = np.asarray(matrix, dtype=float)
    if cosines.shape != (n, n) or n < 2:
        raise ValueError(
            f"{title}: the matrix has shape {cosines.shape}; accepted is ({n}, {n}) for {n} names, "
            "at least 2"
        )
    if not (np.abs(cosines) <= 1 + 1e-6).all():  # nor is not-a-number
        raise ValueError(
            f"{title}: the matrix holds values that are no cosines; accepted are numbers from -1 "
            "to 1"
        )
    return cosines


def _numbers(name: str, values: ArrayLike) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} is {array.tolist()}; accepted are finite numbers")
    return array


def _check_filled(name: str, items: Collection[Any]) -> None:
    if not items:
        raise ValueError(f"{name}: there is nothing to draw")


def _mean(name: str, seeds: ArrayLike) -> MeanInterval:
    with naming(name):
        return over_seeds(seeds)
