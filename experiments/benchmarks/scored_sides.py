"""The sides of the benchmark of child evaluation, and the children that they score."""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from nni.mutable import Sample
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.oneshot.pytorch.strategy import RandomOneShot
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from nni.nas.space import RawFormatModelSpace
from torch import Tensor
from torch.nn import functional as F

from experiments.benchmarks.workloads import digits
from nni_magic.children import samples
from nni_magic.search import ChildEvaluator, Population
from nni_magic.tasks.language.mlm import mlm_search_evaluator
from nni_magic.tasks.language.mlm_data import prepare
from search_spaces import BertSpace
from search_spaces.bert import PRESETS

__all__ = ["Losses", "Setting", "Side", "bert_setting", "digits_setting", "populations"]

Losses = list[float]
BatchLoss = Callable[[Any], tuple[Tensor, int]]
Side = Callable[[Sequence[Sample]], Losses]

N_FEW = 20
"""Children of the population that shares little."""


class Setting:
    """A supernet and held-out data, on which each side scores children.

    Parameters
    ----------
    supernet, evaluator
        Score children by ``val_loss``, with BatchNorm's statistics as they are.
    n_batches
        Of the evaluator's validation data, which make a score.
    batch_loss
        Given what the loader gave, the sum of the losses of its rows, and how many these are.
    """

    def __init__(
        self, supernet: ModelSpace, evaluator: Lightning, n_batches: int, batch_loss: BatchLoss
    ) -> None:
        self.supernet, self.evaluator, self._batch_loss = supernet, evaluator, batch_loss
        self.batches = list(islice(evaluator.val_dataloaders, n_batches))
        modules = [m for m in supernet.modules() if isinstance(m, BaseSuperNetModule)]
        self._choose = [module.resample for module in modules]
        self.evaluate = ChildEvaluator(
            supernet, evaluator, n_batches=n_batches, metric="val_loss", calibration_batches=0
        )

    def ours(self, children: Sequence[Sample]) -> Losses:
        """Score by ``ChildEvaluator``, told that weights have changed, so it knows no score."""
        with torch.no_grad():
            next(self.supernet.parameters()).mul_(1)
        return self.evaluate(children)

    @torch.no_grad()
    def loop(self, children: Sequence[Sample]) -> Losses:
        """Score children one after the other, and do nothing else."""
        self.supernet.eval()
        return [self._loss(child) for child in children]

    def _loss(self, child: Sample) -> float:
        for choose in self._choose:
            choose(memo=child)
        losses, counts = zip(*map(self._batch_loss, self.batches), strict=True)
        return float(sum(losses)) / sum(counts)

    def nni(self, children: Sequence[Sample]) -> Losses:
        """Score by NNI's sequential engine, without the tables that Lightning prints."""
        engine = SequentialExecutionEngine(max_model_count=len(children))
        space = RawFormatModelSpace.from_model(self.supernet, self.evaluator)
        with contextlib.redirect_stdout(io.StringIO()):
            engine.submit_models(*(space.freeze(child) for child in children))
        return [-model.metric for model in engine.list_models()]


def bert_setting(
    settings: argparse.Namespace, layers: int | None, batch_size: int, n_batches: int = 1
) -> Setting:
    """A preset of the BERT space on a corpus, with another number of layers if one is given."""
    shape = {**PRESETS[settings.preset], **({"n_layers": layers} if layers else {})}
    data = prepare(settings.corpus, settings.cache, shape["vocab_size"], shape["max_length"])
    torch.manual_seed(settings.seed)
    space = BertSpace(**{**shape, "vocab_size": data.vocab_size, "dropout": 0.0})
    supernet = RandomOneShot().mutate_model(space).to(settings.device)
    evaluator = mlm_search_evaluator(
        data,
        batch_size=batch_size,
        trainer_kwargs={
            "limit_val_batches": n_batches,
            "devices": 1,
            "accelerator": "gpu" if settings.device == "cuda" else "cpu",
        },
    )

    def batch_loss(batch: Sequence[Tensor]) -> tuple[Tensor, int]:
        inputs, targets, selected = (tensor.to(settings.device) for tensor in batch)
        logits = supernet(inputs, attention_mask=inputs != data.special.pad, positions=selected)
        loss = F.cross_entropy(logits, targets[selected], reduction="sum")
        return loss, int(selected.sum())

    return Setting(supernet, evaluator, n_batches, batch_loss)


def digits_setting(settings: argparse.Namespace) -> Setting:
    """The CNN space of :mod:`experiments.benchmarks.workloads`, on one batch of digits."""
    workload = digits(argparse.Namespace(**{**vars(settings), "precision": "32-true"}))
    torch.manual_seed(settings.seed)
    supernet = RandomOneShot().mutate_model(workload.make_space()).to(settings.device)

    def batch_loss(batch: Sequence[Tensor]) -> tuple[Tensor, int]:
        images, labels = (tensor.to(settings.device) for tensor in batch)
        return F.cross_entropy(supernet(images), labels, reduction="sum"), len(labels)

    return Setting(supernet, workload.make_evaluator(settings.seed, 1, []), 1, batch_loss)


def populations(setting: Setting, settings: argparse.Namespace) -> dict[str, list[Sample]]:
    """Children to score, by the kind of population."""
    rng = np.random.default_rng(settings.seed)
    candidates = samples.candidates(setting.supernet)
    drawn = [samples.random_sample(candidates, rng) for _ in range(settings.random_children)]
    evolving = Population(setting.supernet, size=settings.generation, seed=settings.seed)
    for _ in range(3):
        generation = evolving.ask()
        evolving.tell(generation, setting.ours(generation))
    return {
        "random": list({samples.digest(child): child for child in drawn}.values()),
        "few": drawn[:N_FEW],
        "generation": evolving.ask(),
        "neighbours": list(samples.neighbours(drawn[0], candidates)),
    }
