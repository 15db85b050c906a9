"""Texts of GLUE as rows of ``Trainer``, and a child with a new head for a task."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
from transformers import EvalPrediction, PreTrainedModel, set_seed

from ..glue import GLUE, Example, GlueTask, metrics
from ..tokenization import load_tokenizer, tokenizer_digest
from .heads import MagicBertForQuestionAnswering, MagicBertForSequenceClassification
from .source import Source, read_source

__all__ = [
    "check_classes", "glue_metrics", "glue_rows", "read_mnli", "to_answer", "to_classify",
]  # fmt: skip

_logger = logging.getLogger(__name__)


def glue_rows(
    task: GlueTask, examples: Sequence[Example], tokenizer: Any, max_length: int
) -> list[dict[str, Any]]:
    """Tokenize examples.

    What is longer than ``max_length`` tokens is cut, and a warning counts it.
    """
    columns = list(zip(*(example.texts for example in examples), strict=True))
    whole = tokenizer(*map(list, columns), verbose=False)["input_ids"]
    if cut := sum(len(ids) > max_length for ids in whole):
        _logger.warning(
            "%s: cut %d of %d texts, which are longer than %d tokens",
            task.name, cut, len(whole), max_length,
        )  # fmt: skip
    found = tokenizer(*map(list, columns), truncation=True, max_length=max_length)
    kind = int if task.labels else float
    return [
        {"input_ids": ids, "attention_mask": mask, "labels": kind(example.label)}
        for ids, mask, example in zip(
            found["input_ids"], found["attention_mask"], examples, strict=True
        )
    ]


def glue_metrics(task: GlueTask) -> Callable[[EvalPrediction], dict[str, float]]:
    """Measure a task's predictions.

    ``selection`` is the score, by which an epoch is chosen, and -1 where it is not defined: all
    texts are rated alike, and nothing correlates with that.
    """

    def measured(found: EvalPrediction) -> dict[str, float]:
        predictions = found.predictions.argmax(-1) if task.labels else found.predictions[:, 0]
        scores = metrics(task, predictions, found.label_ids)
        defined = math.isfinite(scores["score"])
        return {**scores, "selection": scores["score"] if defined else -1.0}

    return measured


def check_classes(name: str, folder: Path, config: Any, task: GlueTask) -> None:
    """Make sure that a classifier's outputs are those of the task, in the same order.

    Parameters
    ----------
    name, folder
        What and where the classifier is, for messages.
    config
        The classifier's.
    task
        Whose classes it must have.

    Raises
    ------
    ValueError
        If it has others.
    """
    names = [str(config.id2label[n]) for n in sorted(config.id2label)]
    unnamed = [f"LABEL_{n}" for n in range(task.num_labels)]
    accepted = [list(task.labels), unnamed] if task.labels else [unnamed]
    if names not in accepted:
        raise ValueError(
            f"{name} is {str(folder)!r}, whose classes are {names}; accepted for "
            f"{task.name} are {' or '.join(map(str, accepted))}"
        )


def read_mnli(folder: Path, source: Source) -> Source:
    """Read a classifier of MNLI, with which the fine-tuning of a model on another task begins.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`~.source.read_source`; or if it has other classes, or another tokenizer, layers or
        sizes than the model.
    """
    start = read_source(folder, "mnli")
    if _tokenizer(start) != _tokenizer(source):
        raise ValueError(
            f"mnli is {str(folder)!r}, which has another tokenizer; accepted are models with the "
            f"tokenizer of {str(source.folder)!r}"
        )
    for name in ("operators", "hidden_size", "embedding_size", "max_position_embeddings"):
        theirs, ours = (getattr(each.config, name) for each in (start, source))
        if theirs != ours:
            raise ValueError(
                f"mnli is {str(folder)!r}, whose {name} is {theirs}; accepted is that of "
                f"{str(source.folder)!r}, {ours}"
            )
    check_classes("mnli", folder, start.config, GLUE["MNLI"])
    return start


def _tokenizer(source: Source) -> str:
    """Digest of a tokenizer without truncation and padding, which a run may have left in it."""
    return tokenizer_digest(load_tokenizer(source.folder / "tokenizer.json"))


def to_classify(
    source: Source, task: GlueTask, seed: int, start: Path | None = None
) -> PreTrainedModel:
    """Make a classifier of a folder's weights, with a new last layer.

    Parameters
    ----------
    source
        Pre-trained model.
    task
        Its classes, whose names the model keeps; one output rates texts.
    seed
        Of the new weights, and of the random generators from here on.
    start
        Folder of a classifier of another task to begin with, such as MNLI's.
    """
    set_seed(seed)
    names = {"id2label": dict(enumerate(task.labels)),
             "label2id": {name: n for n, name in enumerate(task.labels)}}  # fmt: skip
    model = MagicBertForSequenceClassification.from_pretrained(
        source.folder if start is None else start, ignore_mismatched_sizes=True,
        num_labels=task.num_labels, **(names if task.labels else {}),
        problem_type="single_label_classification" if task.labels else "regression",
    )  # fmt: skip
    return model


def to_answer(source: Source, seed: int) -> MagicBertForQuestionAnswering:
    """Make a model that answers questions of a folder's weights; see :func:`to_classify`."""
    set_seed(seed)
    model: MagicBertForQuestionAnswering = MagicBertForQuestionAnswering.from_pretrained(
        source.folder
    )
    return model
