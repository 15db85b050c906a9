"""GLUE's nine tasks [Wang2019]_: their files, their labels, their metrics.

A task's folder has its official layout, ``train.tsv`` and ``dev.tsv``, and for MNLI
``dev_matched.tsv`` and ``dev_mismatched.tsv``. Nothing is quoted there: quotes are text.

References
----------
.. [Wang2019] A. Wang et al., "GLUE: A Multi-Task Benchmark and Analysis Platform for Natural
   Language Understanding", ICLR 2019.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from ...support.errors import check_choice

__all__ = ["GLUE", "Example", "GlueTask", "glue_task", "metrics", "read_part"]

_logger = logging.getLogger(__name__)

METRICS = {
    "accuracy": accuracy_score,
    "f1": f1_score,
    "matthews": matthews_corrcoef,
    "pearson": lambda labels, predictions: pearsonr(labels, predictions).statistic,
    "spearman": lambda labels, predictions: spearmanr(labels, predictions).statistic,
}
"""Every metric by its name, a function of labels and predictions."""


@dataclass(frozen=True)
class Example:
    """One text or a pair, with its label: the number of a class, or what it is rated."""

    texts: tuple[str, ...]
    label: float


@dataclass(frozen=True, kw_only=True)
class GlueTask:
    """One row of GLUE.

    Parameters
    ----------
    name
        As on GLUE's web page.
    texts
        Columns of the one or two texts.
    label
        Column of the label.
    labels
        Names of the classes in the file, in the order of their numbers; none: texts are rated.
    metrics
        Names in :data:`METRICS`; the task's score is their mean.
    dev
        Parts on which it is measured.
    columns
        Names of the columns, where the file has no header.
    starts_from
        Task whose fine-tuned model a fine-tuning begins with, as RoBERTa's does.
    """

    name: str
    texts: tuple[str, ...]
    label: str = "label"
    labels: tuple[str, ...] = ("0", "1")
    metrics: tuple[str, ...] = ("accuracy",)
    dev: tuple[str, ...] = ("dev",)
    columns: tuple[str, ...] = ()
    starts_from: str | None = None

    @property
    def num_labels(self) -> int:
        """Number of outputs of a model: one for each class, or one for what is rated."""
        return len(self.labels) or 1


_ENTAILMENT = ("entailment", "not_entailment")
_SENTENCES = ("sentence1", "sentence2")
GLUE: dict[str, GlueTask] = {
    task.name: task
    for task in (
        GlueTask(name="CoLA", texts=("sentence",), metrics=("matthews",),
                 columns=("source", "label", "mark", "sentence")),
        GlueTask(name="SST-2", texts=("sentence",)),
        GlueTask(name="MRPC", texts=("#1 String", "#2 String"), label="Quality",
                 metrics=("f1", "accuracy"), starts_from="MNLI"),
        GlueTask(name="STS-B", texts=_SENTENCES, label="score", labels=(),
                 metrics=("pearson", "spearman"), starts_from="MNLI"),
        GlueTask(name="QQP", texts=("question1", "question2"), label="is_duplicate",
                 metrics=("f1", "accuracy")),
        GlueTask(name="MNLI", texts=_SENTENCES, label="gold_label",
                 labels=("entailment", "neutral", "contradiction"),
                 dev=("dev_matched", "dev_mismatched")),
        GlueTask(name="QNLI", texts=("question", "sentence"), labels=_ENTAILMENT),
        GlueTask(name="RTE", texts=_SENTENCES, labels=_ENTAILMENT, starts_from="MNLI"),
        GlueTask(name="WNLI", texts=_SENTENCES),
    )
}  # fmt: skip
"""Every task by its name."""


def glue_task(name: str) -> GlueTask:
    """Find a task.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    check_choice("glue task", name, GLUE)
    return GLUE[name]


def read_part(task: GlueTask, folder: str | Path, part: str) -> list[Example]:
    """Read a part of a task, such as ``train``.

    Rows that lack columns, of which the official files have a few, are left out, and a warning
    counts them.

    Raises
    ------
    FileNotFoundError
        If the folder lacks the part.
    ValueError
        If a column or every row is missing, a label is none of the task's, or the file is no text
        in UTF-8.
    """
    path = Path(folder) / f"{part}.tsv"
    if not path.is_file():
        raise FileNotFoundError(
            f"{task.name} is {str(folder)!r}, without {path.name}; accepted are folders in GLUE's "
            "layout"
        )
    rows, short = [], 0
    for line, row in _rows(path, task):
        if row is None:
            short += 1
            continue
        rows.append(Example(tuple(row[name] for name in task.texts), _label(task, row, path, line)))
    if short:
        _logger.warning("%s: left out %d rows that lack columns", path, short)
    if not rows:
        raise ValueError(f"{str(path)!r} has no rows")
    return rows


def _rows(path: Path, task: GlueTask) -> Iterator[tuple[int, dict[str, str] | None]]:
    """Give the number and the columns of every line; none of a line that is too short."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        # Lines of the file, not of Python: some texts hold separators of other scripts.
        lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        try:
            header = list(task.columns) or next(lines, [])
            if missing := [name for name in (*task.texts, task.label) if name not in header]:
                raise ValueError(
                    f"{str(path)!r} has no column {missing[0]!r}; accepted are files of {task.name}"
                )
            for row in lines:
                whole = len(row) >= len(header)
                yield lines.line_num, dict(zip(header, row, strict=False)) if whole else None
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(
                f"{str(path)!r} cannot be read ({error}); accepted are files of text in UTF-8"
            ) from error


def _label(task: GlueTask, row: dict[str, str], path: Path, line: int) -> float:
    text = row[task.label]
    if task.labels:
        if text not in task.labels:
            accepted = ", ".join(map(repr, task.labels))
            raise ValueError(f"{path}:{line}: label is {text!r}; accepted are {accepted}")
        return task.labels.index(text)
    try:
        rating = float(text)
    except ValueError:
        rating = -1.0
    if not 0 <= rating <= 5:
        raise ValueError(f"{path}:{line}: label is {text!r}; accepted are numbers from 0 to 5")
    return rating


def metrics(
    task: GlueTask, predictions: Sequence[float], labels: Sequence[float]
) -> dict[str, float]:
    """Measure predictions, by the task's metrics and by ``score``, their mean.

    Parameters
    ----------
    predictions
        Numbers of classes, or ratings.
    labels
        What is right.

    Raises
    ------
    ValueError
        If there are not as many predictions as labels.

    Examples
    --------
    >>> found = metrics(GLUE["MRPC"], predictions=[1, 1, 0, 0], labels=[1, 0, 0, 1])
    >>> found["accuracy"], found["f1"], found["score"]
    (0.5, 0.5, 0.5)
    """
    if len(predictions) != len(labels):
        raise ValueError(
            f"predictions has {len(predictions)} rows; accepted are those of labels, {len(labels)}"
        )
    found = {name: float(METRICS[name](labels, predictions)) for name in task.metrics}
    return {**found, "score": fmean(found.values())}
