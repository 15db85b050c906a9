"""What is tried on the spaces of NNI's hub, and the spaces, made small.

Every function here is given the maker of a space, and fails where something does not work or gives
a number that is not that of the stand-alone child in plain torch.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import nni_bootstrap  # noqa: F401
import pytorch_lightning as pl
import torch
from nni.mutable import Sample
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.hub import pytorch as hub
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.oneshot.pytorch.strategy import RandomOneShot
from nni.nas.space import RawFormatModelSpace, model_context
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from nni_magic.children.samples import candidates
from nni_magic.export import export_children
from nni_magic.samplers import UniformSampler
from nni_magic.search import ChildEvaluator, Evolution, ProgressiveShrinking
from nni_magic.strategies.registry import METHODS

__all__ = ["COLUMNS", "SPACES", "STOCK", "NotRebuiltError", "WrongValueError"]

STOCK = "NNI's RandomOneShot"
EPOCHS, CLASSES = 2, 10
BATCHES: dict[str, Any] = {"validation_batches": 2, "calibration_batches": 2}

def _mobilenet(**widths: Any) -> ModelSpace:
    return hub.MobileNetV3Space(
        CLASSES, base_widths=(8, 8, 8, 16, 16, 16), expand_ratios=(1.0, 2.0),
        squeeze_excite=("none", "optional", "force"), depth_range=(1, 3), stride=(2, 1, 2, 2, 1, 1),
        activation=("relu",) * 6, **widths,
    )  # fmt: skip


def _autoformer(*widths: int) -> ModelSpace:
    return hub.AutoFormer(
        search_embed_dim=widths, search_mlp_ratio=(1.0, 2.0), search_num_heads=(1, 2),
        search_depth=(2, 3), img_size=32, patch_size=16, num_labels=CLASSES,
    )  # fmt: skip


CELLS: dict[str, Any] = {"num_cells": (3, 6), "dataset": "cifar"}  # NNI runs no 4 or 5 of them
SPACES: dict[str, Callable[[], ModelSpace]] = {
    "ProxylessNAS": lambda: hub.ProxylessNAS(CLASSES, width_mult=0.25),
    "MobileNetV3Space": partial(_mobilenet, width_multipliers=(0.5, 1.0, 2.0)),
    "MobileNetV3Space, one width": partial(_mobilenet, width_multipliers=1.0),
    "ShuffleNetSpace": lambda: hub.ShuffleNetSpace(CLASSES, channel_search=True),
    "NasBench101": lambda: hub.NasBench101(8, num_stacks=2, num_modules_per_stack=1),
    "NasBench201": lambda: hub.NasBench201(4, num_modules_per_stack=1),
    "AutoFormer": partial(_autoformer, 64, 128),
    "AutoFormer, one width": partial(_autoformer, 64),
    **{
        cells.__name__: partial(cells, width=(4, 8), **CELLS)
        for cells in (hub.DARTS, hub.ENAS, hub.PNAS, hub.NASNet, hub.AmoebaNet)
    },
    "DARTS, one width": partial(hub.DARTS, width=4, **CELLS),
}


class WrongValueError(Exception):
    """Something ran, and gave a number that is not the right one."""


class NotRebuiltError(Exception):
    """A child is written, and the export says that NNI builds another one anew."""


def stock(make: Callable[[], ModelSpace]) -> None:
    """Train and export with NNI's own strategy."""
    strategy = RandomOneShot()
    _trained(strategy, make)
    next(strategy.list_models())


def trains(name: str) -> Callable[[Callable[[], ModelSpace]], None]:
    """Swap a strategy in by one line, and list its best children."""

    def run(make: Callable[[], ModelSpace]) -> None:
        aligned = _Aligned()
        strategy = METHODS[name].load()(seed=0, **BATCHES)
        _trained(strategy, make, aligned)
        _check_listed(strategy)
        if "alignment_weight" in METHODS[name].options and not aligned.seen:
            raise WrongValueError("no alignment loss was logged")

    return run


def evaluate(make: Callable[[], ModelSpace]) -> None:
    """Score random children."""
    supernet, evaluator = _supernet(make)
    scorer = ChildEvaluator(supernet, evaluator)
    for sample, score in _scored(scorer, supernet):
        _check_score(scorer.child(sample).eval(), score)


def evolve(make: Callable[[], ModelSpace]) -> None:
    """Search by evolution."""
    strategy = Evolution(seed=0, generations=2, population=4, tournament=2)
    strategy(RawFormatModelSpace.from_model(*_supernet(make)), SequentialExecutionEngine())
    _check_listed(strategy)


def shrink(make: Callable[[], ModelSpace]) -> None:
    """Shrink the space to one child while training."""
    deletions = sum(len(choices) - 1 for choices in candidates(make()).values())
    shrinking = ProgressiveShrinking(n_drop=math.ceil(deletions / EPOCHS), evaluations=8)
    strategy = METHODS["spos"].load()(seed=0, shrinking=shrinking, **BATCHES)
    _trained(strategy, make)
    _check_listed(strategy)
    if len(list(strategy.list_models(limit=None))) != 1:
        raise WrongValueError("more than one child is left")


def export(make: Callable[[], ModelSpace]) -> None:
    """Write a child of the least depth in all formats, and build it anew from its weights."""
    supernet, evaluator = _supernet(make)
    scorer = ChildEvaluator(supernet, evaluator)
    depths = {name: all_[0] for name, all_ in candidates(supernet).items() if "depth" in name}
    sample = {**UniformSampler(supernet, seed=1).next(), **depths}
    [score] = scorer([sample])
    with tempfile.TemporaryDirectory() as folder:
        [written] = export_children(
            supernet, [(sample, score)], folder, child=scorer.child, metric="val_loss",
            provenance={}, args=(_images(4, 1)[:][0],),
        )  # fmt: skip
        program: Any = torch.export.load(written / "child.pt2").module()
        _check_score(program, score)
        problem = json.loads((written / "child.json").read_text())["rebuild_problem"]
        if problem is not None:
            raise NotRebuiltError(problem)
        with model_context(sample):
            child = make().eval()
        child.load_state_dict(torch.load(written / "weights.pt", weights_only=True))
    _check_score(child, score)


COLUMNS: dict[str, Callable[[Callable[[], ModelSpace]], None]] = {
    STOCK: stock,
    **{name: trains(name) for name in ("spos", "magic_t", "magic_a", "magic_at")},
    "evaluate": evaluate, "evolve": evolve, "shrink": shrink, "export": export,
}  # fmt: skip


class _Aligned(pl.Callback):
    """Sees whether children were aligned."""

    seen = False

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self.seen |= float(trainer.callback_metrics.get("supernet/alignment_loss", 0)) > 0


def _images(n: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 3, 32, 32, generator=generator)
    return TensorDataset(images, torch.arange(n) % CLASSES)


def _evaluator(*callbacks: pl.Callback) -> Classification:
    return Classification(
        num_classes=CLASSES, train_dataloaders=DataLoader(_images(16, 0), batch_size=4),
        val_dataloaders=DataLoader(_images(8, 1), batch_size=4), max_epochs=EPOCHS,
        callbacks=list(callbacks), logger=False, enable_checkpointing=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
    )  # fmt: skip


def _trained(strategy: Any, make: Callable[[], ModelSpace], *callbacks: pl.Callback) -> None:
    torch.manual_seed(0)
    space = RawFormatModelSpace.from_model(make(), _evaluator(*callbacks))
    strategy(space, SequentialExecutionEngine())


def _supernet(make: Callable[[], ModelSpace]) -> tuple[ModelSpace, Classification]:
    """A supernet that SPOS has trained, and an evaluator."""
    strategy = METHODS["spos"].load()(seed=0, **BATCHES)
    _trained(strategy, make)
    return strategy.supernet, _evaluator()


def _scored(scorer: ChildEvaluator, supernet: ModelSpace) -> list[tuple[Sample, float]]:
    sampler = UniformSampler(supernet, seed=1)
    samples = [sampler.next() for _ in range(2)]
    return list(zip(samples, scorer(samples), strict=True))


def _check_listed(strategy: Any) -> None:
    for model in strategy.list_models(limit=2):
        _check_score(model.executable_model().eval(), model.metric)


def _check_score(child: nn.Module, score: float) -> None:
    """Compare a score with the loss of a stand-alone child in plain torch."""
    images, labels = _images(8, 1).tensors
    with torch.no_grad():
        output: Tensor = child(images)
    loss = nn.functional.cross_entropy(output, labels).item()
    if not math.isclose(loss, score, rel_tol=1e-5):
        raise WrongValueError(f"the score is {score:.6f}, the stand-alone child's {loss:.6f}")
