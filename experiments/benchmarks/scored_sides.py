"""The sides of the benchmark of child evaluation, and the children that they score."""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Callable, Sequence

import numpy as np
import torch
from nni.mutable import Sample
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.oneshot.pytorch.strategy import RandomOneShot
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from nni.nas.space import RawFormatModelSpace
from torch import Tensor
from torch.nn import functional as F

from nni_magic.children import samples
from nni_magic.search import ChildEvaluator, Population
from nni_magic.tasks.language.mlm import mlm_search_evaluator
from nni_magic.tasks.language.mlm_data import MlmData, prepare
from search_spaces import BertSpace
from search_spaces.bert import PRESETS

__all__ = ["Losses", "Setting", "Side", "populations"]

Losses = list[float]
Side = Callable[[Sequence[Sample]], Losses]


class Setting:
    """A supernet and held-out text, on which each side scores children."""

    def __init__(
        self, settings: argparse.Namespace, layers: int | None, batch_size: int, n_batches: int = 1
    ) -> None:
        shape = {**PRESETS[settings.preset], **({"n_layers": layers} if layers else {})}
        data = prepare(settings.corpus, settings.cache, shape["vocab_size"], shape["max_length"])
        torch.manual_seed(settings.seed)
        space = BertSpace(**{**shape, "vocab_size": data.vocab_size, "dropout": 0.0})
        self.device = settings.device
        self.supernet: BertSpace = RandomOneShot().mutate_model(space).to(self.device)
        self.evaluator = _evaluator(data, batch_size, n_batches, self.device)
        self.batches = [
            [tensor.to(self.device) for tensor in batch]
            for batch, _ in zip(self.evaluator.val_dataloaders, range(n_batches), strict=False)
        ]
        self.pad_id = data.special.pad
        modules = [m for m in self.supernet.modules() if isinstance(m, BaseSuperNetModule)]
        self._choose = [module.resample for module in modules]
        self.evaluate = ChildEvaluator(self.supernet, self.evaluator, n_batches=n_batches)

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
        total, count = torch.zeros((), device=self.device), 0
        for inputs, targets, selected in self.batches:
            total += self._batch_loss(inputs, targets, selected)
            count += int(selected.sum())
        return float(total) / count

    def _batch_loss(self, inputs: Tensor, targets: Tensor, selected: Tensor) -> Tensor:
        logits = self.supernet(inputs, attention_mask=inputs != self.pad_id, positions=selected)
        return F.cross_entropy(logits, targets[selected], reduction="sum")

    def nni(self, children: Sequence[Sample]) -> Losses:
        """Score by NNI's sequential engine, without the tables that Lightning prints."""
        engine = SequentialExecutionEngine(max_model_count=len(children))
        space = RawFormatModelSpace.from_model(self.supernet, self.evaluator)
        with contextlib.redirect_stdout(io.StringIO()):
            engine.submit_models(*(space.freeze(child) for child in children))
        return [-model.metric for model in engine.list_models()]


def _evaluator(data: MlmData, batch_size: int, n_batches: int, device: str) -> Lightning:
    return mlm_search_evaluator(
        data,
        batch_size=batch_size,
        trainer_kwargs={
            "limit_val_batches": n_batches,
            "devices": 1,
            "accelerator": "gpu" if device == "cuda" else "cpu",
        },
    )


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
        "generation": evolving.ask(),
        "neighbours": list(samples.neighbours(drawn[0], candidates)),
    }
