"""Scores on ``dev`` that the paper gives, to stand beside those of models of one's own [Xu2022]_.

Its models have 110 million parameters, and were pre-trained for days on many GPUs.

References
----------
.. [Xu2022] J. Xu et al., "Analyzing and Mitigating Interference in Neural Architecture Search",
   ICML 2022. Tables 2 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["PAPER", "PaperModel", "as_in_paper"]


@dataclass(frozen=True)
class PaperModel:
    """A row of the paper's tables.

    Parameters
    ----------
    size
        Number of parameters, as the paper writes it.
    scores
        In percent, by the names of data sets; F1 of SQuAD.
    """

    size: str
    scores: Mapping[str, float]


_TASKS = ("MNLI", "QQP", "QNLI", "CoLA", "SST-2", "STS-B", "RTE", "MRPC", "SQuAD-1.1", "SQuAD-2.0")
_ROWS: dict[str, tuple[str, tuple[float, ...]]] = {
    "RoBERTa": ("125M", (85.3, 91.1, 91.1, 61.0, 92.7, 90.0, 77.5, 87.9, 89.3, 78.2)),
    "SPOS": ("114M", (84.7, 91.4, 91.4, 59.6, 92.1, 89.7, 80.9, 86.3)),
    "MAGIC-AT": ("113M", (85.6, 91.3, 91.8, 61.1, 93.5, 90.3, 80.9, 90.9, 90.0, 80.4)),
}
PAPER = {
    f"{name} (paper)": PaperModel(size, dict(zip(_TASKS, scores, strict=False)))
    for name, (size, scores) in _ROWS.items()
}
"""The paper's models by their names in tables."""
_METRICS = {"MRPC": "accuracy", "QQP": "accuracy", "STS-B": "spearman"}
"""Metrics of tasks that have several, as the paper gives them; else the task's score."""


def as_in_paper(result: Mapping[str, Any]) -> dict[str, Any]:
    """Give the result of a fine-tuning the score that the paper has of its task.

    >>> metrics = {"dev": {"f1": 0.5, "accuracy": 0.25}}
    >>> as_in_paper({"dataset": "MRPC", "score": 0.375, "metrics": metrics})["score"]
    0.25
    """
    metric = _METRICS.get(result["dataset"])
    score = result["score"] if metric is None else result["metrics"]["dev"][metric]
    return {**result, "score": score}
