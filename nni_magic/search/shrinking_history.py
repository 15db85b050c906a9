"""The history of a progressive shrinking as a table and as a heat-map."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..support.files import write_picture, write_table

__all__ = ["plot_history", "write_history"]

History = Sequence[Mapping[str, Any]]

COLUMNS = ("epoch", "label", "candidate", "promise", "deleted")


def write_history(history: History, path: str | Path) -> None:
    """Write the promise of every candidate after every epoch as CSV, deletions marked with 1.

    Parameters
    ----------
    history
        ``history`` of a :class:`nni_magic.search.ProgressiveShrinking`.
    path
        The file; columns are those of :data:`COLUMNS`.
    """
    write_table(path, [COLUMNS, *_rows(history)])


def _rows(history: History) -> Iterator[list[Any]]:
    for record in history:
        dropped = {(label, repr(choice)) for label, choice in record["dropped"]}
        for label, choices in record["candidates"].items():
            for choice, promise in zip(choices, record["promise"][label], strict=True):
                deleted = int((label, repr(choice)) in dropped)
                yield [record["epoch"], label, choice, promise, deleted]


def plot_history(history: History, path: str | Path) -> None:
    """Draw promises and deletions: a panel for each candidate, choice blocks by epochs.

    Colours tell by how much a candidate's promise is better (blue) or worse (red) than the mean
    over all candidates of that epoch. A cross marks the epoch after which it is deleted, a circle
    the one after which it is the last of its block; from then on the row is empty.

    Parameters
    ----------
    history
        ``history`` of a :class:`nni_magic.search.ProgressiveShrinking`.
    path
        The picture, in the format that its name says.

    Raises
    ------
    ValueError
        If the history is empty.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    if not history:
        raise ValueError("the history is empty: nothing has been shrunk yet")
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "a heat-map needs matplotlib: pip install nni-magic[plots]"
        ) from error
    labels = list(history[0]["candidates"])
    names = list(dict.fromkeys(str(c) for cs in history[0]["candidates"].values() for c in cs))
    values, crosses, circles = _panels(history, labels, names)
    limit = float(np.nanmax(np.abs(values))) or 1.0
    figure = Figure(
        figsize=(1.9 + len(names) * (0.7 + 0.22 * len(history)), 1.7 + 0.24 * len(labels)),
        layout="constrained",
    )
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for i, (panel, name) in enumerate(zip(panels, names, strict=True)):
        panel.set_facecolor("#eeeeee")
        image = panel.imshow(values[i], cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
        for marks, shape in ((crosses[i], "x"), (circles[i], "o")):
            rows, columns = np.nonzero(marks)
            panel.plot(columns, rows, shape, color="black", markersize=5, fillstyle="none")
        panel.set_title(name, fontsize=10)
        step = math.ceil(len(history) / 8)
        panel.set_xticks(range(0, len(history), step), [r["epoch"] for r in history[::step]])
        panel.set_yticks(range(len(labels)), labels)
        panel.tick_params(labelsize=8, length=2)
    figure.colorbar(image, ax=list(panels), label="promise against the epoch's mean (blue: better)")
    figure.supxlabel("epoch  (×  deleted after it,  ○  last of its block)", fontsize=9)
    write_picture(figure, path, dpi=150)


def _panels(
    history: History, labels: Sequence[str], names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Promises against the mean, deletions, and last ones: ``(candidates, labels, epochs)``."""
    values = np.full((len(names), len(labels), len(history)), np.nan)
    crosses, circles = np.zeros((2, *values.shape), dtype=bool)
    for column, record in enumerate(history):
        sign = -1 if record["mode"] == "min" else 1
        mean = np.nanmean([v for promises in record["promise"].values() for v in promises])
        dropped = {(label, str(choice)) for label, choice in record["dropped"]}
        for row, label in enumerate(labels):
            choices = record["candidates"][label]
            left = [choice for choice in choices if (label, str(choice)) not in dropped]
            for choice, promise in zip(choices, record["promise"][label], strict=True):
                place = names.index(str(choice)), row, column
                values[place] = sign * (promise - mean) if len(choices) > 1 else np.nan
                crosses[place] = choice not in left
                circles[place] = left == [choice] and len(choices) > 1
    return values, crosses, circles
