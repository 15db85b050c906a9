"""Scores of children by kind and task, and the found ones' advantage seed by seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from experiments.benchmarks.reporting import table
from experiments.studies.glue.trainings import KINDS
from nni_magic.analysis.intervals import over_seeds

__all__ = ["MEAN", "compared", "markdown"]

MEAN = "mean of all"
"""Name of the row over all tasks; a seed counts once all its tasks are there."""


def compared(records: Iterable[Mapping[str, Any]], tasks: Sequence[str]) -> list[dict[str, Any]]:
    """Compare the kinds of children on every task, and on the mean of all.

    Parameters
    ----------
    records
        See :func:`experiments.studies.glue.trainings.gather`. A score that is not defined counts
        as 0.
    tasks
        In the order of the rows.

    Returns
    -------
    list
        A row for each task and kind: its ``scores`` by seed in percent and their ``mean``; and
        ``better``, how much better the found child is in the mean over the seeds of both, with
        Student's 95 % ``interval`` where there are two seeds.
    """
    scores: dict[tuple[str, str], dict[int, float]] = {}
    for record in records:
        by_seed = scores.setdefault((record["task"], record["kind"]), {})
        by_seed[record["seed"]] = 100 * (record["score"] or 0.0)
    for kind in KINDS:
        every = [scores.get((task, kind), {}) for task in tasks]
        whole = set.intersection(*map(set, every)) if every else set()
        scores[MEAN, kind] = {seed: fmean(each[seed] for each in every) for seed in sorted(whole)}
    return [
        _row(task, kind, scores[task, kind], scores.get((task, "found"), {}))
        for task in (*tasks, MEAN)
        for kind in KINDS
        if scores.get((task, kind))
    ]


def _row(
    task: str, kind: str, scores: Mapping[int, float], found: Mapping[int, float]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "task": task, "kind": kind, "scores": dict(scores), "mean": fmean(scores.values()),
        "better": None, "interval": None,
    }  # fmt: skip
    both = [] if kind == "found" else sorted(scores.keys() & found.keys())
    differences = [found[seed] - scores[seed] for seed in both]
    if differences:
        row["better"] = fmean(differences)
    if len(differences) > 1:
        row["interval"] = over_seeds(differences).interval
    return row


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay the rows out."""
    return (
        "Scores on dev in percent, as papers give them: Matthews for CoLA, Spearman for STS-B, "
        "accuracy for the others. Each seed has a supernet, a search, a random child and trainings "
        "of its own; all children have 95 to 100 % of the parameters of BERT's layers in turns. "
        "The last columns are the found child's advantage over the kind of the row, seed by seed, "
        "with Student's 95 % interval over the seeds: where it holds 0, nothing is shown.\n\n"
    ) + table(["task", "child", "seeds", "mean", "found is better by", "95 %"], map(_cells, rows))


def _cells(row: Mapping[str, Any]) -> list[str]:
    interval = row["interval"]
    return [
        row["task"], KINDS[row["kind"]], " ".join(f"{one:.1f}" for one in row["scores"].values()),
        f"{row['mean']:.1f}", "" if row["better"] is None else f"{row['better']:+.1f}",
        "" if interval is None else f"{interval[0]:+.1f} to {interval[1]:+.1f}",
    ]  # fmt: skip
