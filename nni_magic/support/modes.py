"""Which way a metric is better: the name tells it where it is well known."""

from __future__ import annotations

import re
from typing import Any, Literal

from .errors import check_choice
from .kinds import fits

__all__ = ["Mode", "mode_of"]

Mode = Literal["min", "max"]
"""Whether a smaller or a larger score is better."""

LESS = frozenset((
    "loss", "losses", "error", "errors", "err", "perplexity", "ppl", "bpc", "bpb", "mse",
    "rmse", "msle", "mae", "mape", "smape", "nll", "bce", "ce", "kl", "crossentropy",
    "entropy", "hinge", "eer", "wer", "cer", "ter", "fid", "lpips", "brier", "ece", "regret",
))  # fmt: skip
MORE = frozenset((
    "acc", "accuracy", "top", "auc", "auroc", "auprc", "ap", "map", "f1", "f1score", "fbeta",
    "precision", "recall", "sensitivity", "specificity", "bleu", "sacrebleu", "rouge",
    "rougel", "meteor", "chrf", "r2", "iou", "miou", "jaccard", "dice", "ndcg", "mrr", "mcc",
    "matthews", "kappa", "pearson", "spearman", "kendall", "correlation", "psnr", "ssim", "em",
    "exactmatch",
))  # fmt: skip
NEUTRAL = frozenset((
    "val", "valid", "validation", "eval", "test", "train", "dev", "epoch", "step", "dataloader",
    "idx", "mean", "avg", "average", "macro", "micro", "weighted", "balanced", "total", "overall",
    "binary", "multiclass", "multilabel", "cross", "squared", "absolute", "percentage", "root",
    "score", "rate", "at", "k", "index", "coefficient", "s", "b",
))  # fmt: skip
"""Words that change nothing about which way is better."""


def mode_of(metric: Any, mode: Mode | None) -> Mode:
    """Give the mode, or what the metric's name tells where none is given.

    Words of the name count, of two that tell the last one: ``val_acc``, ``valid/top1`` and
    ``test_error/dataloader_idx_0`` are told from ``acc``, ``top`` and ``error``. A name with a word
    that is not known, such as ``acc_gap`` and ``neg_loss``, does not tell.

    Parameters
    ----------
    metric
        Name of a metric, a function, or ``None`` for the validation loss.
    mode
        As given; ``None`` lets the name tell.

    Raises
    ------
    ValueError
        If the metric is none of these, there is no such mode, or none is given and the name does
        not tell it.

    Examples
    --------
    >>> mode_of("val_acc", None), mode_of("val_loss", None), mode_of(None, None)
    ('max', 'min', 'min')
    >>> mode_of("reward", None)
    Traceback (most recent call last):
    ValueError: mode is None; accepted are 'min' and 'max', as metric 'reward' does not tell which \
is better
    """
    if not (metric is None or callable(metric) or fits(metric, str)):
        raise ValueError(
            f"metric is {metric!r}; accepted are the name of a metric, a function, and None for "
            "the validation loss"
        )
    if mode is not None:
        check_choice("mode", mode, ("min", "max"))
        return mode
    if metric is None:
        return "min"
    told = _told_by(metric) if isinstance(metric, str) else None
    if told is None:
        raise ValueError(
            f"mode is None; accepted are 'min' and 'max', as metric {metric!r} does not tell which "
            "is better"
        )
    return told


def _told_by(name: str) -> Mode | None:
    """What a name tells, if all its words are known."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    for text in (name, spaced):  # torchmetrics' ``F1Score`` and ``MeanSquaredError``, too
        words = [word for word in re.split(r"[^a-z0-9]+", text.lower()) if word]
        known = [found for word in words if (found := _known(word)) is not None]
        if known and all(_is_clear(word, place) for place, word in enumerate(words)):
            return known[-1]
    return None


def _is_clear(word: str, place: int) -> bool:
    """Whether a word is known; a number, as of ``top_5``, may not be the first, as of ``1-acc``."""
    if word.isdigit():
        return place > 0
    return word in NEUTRAL or word.rstrip("0123456789") in NEUTRAL or _known(word) is not None


def _known(word: str) -> Mode | None:
    for form in (word, word.rstrip("0123456789")):  # as it is, such as f1, or as top of top5
        if form in LESS:
            return "min"
        if form in MORE:
            return "max"
    return None
