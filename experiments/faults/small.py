"""A program of a user's own that is trained in a second: NNI's evaluator, a small space, a search.

Its runs are as disturbed as those of ``nni-magic train``, and so short that there can be many.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import RawFormatModelSpace
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from nni_magic.search import ChildEvaluator, Evolution, ProgressiveShrinking
from nni_magic.strategies.registry import method
from nni_magic.support.files import write_json

__all__ = ["SMALL_RUNS", "Chain", "make_evaluator", "run_strategy", "train_small"]

SMALL_RUNS: dict[str, dict[str, int]] = {
    "own program": {},
    "own program, accumulation": {"accumulate": 2},
    "own program, shrinking": {"n_drop": 3},
}
"""Settings of :func:`train_small` by the names of the runs."""

SHORT = {"warmup_epochs": 1, "anchor_interval": 2, "anchor_candidates": 2, "align_every": 1,
         "n_children": 2, "validation_children": 2, "validation_batches": 1}  # fmt: skip
EPOCHS, STEPS, BATCH = 3, 4, 8


class Chain(ModelSpace):
    """Four choice blocks with BatchNorm and dropout, ``(batch, 8)`` to ``(batch, 4)``."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            LayerChoice([_candidate(width) for width in (4, 8, 12)], label=f"block_{n}")
            for n in range(1, 5)
        )
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def _candidate(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(8, width), nn.BatchNorm1d(width), nn.Dropout(0.1), nn.ReLU(), nn.Linear(width, 8)
    )


def make_evaluator(
    folder: Path, n_rows: int, epochs: int, callbacks: Sequence[pl.Callback] = (), **trainer: Any
) -> Classification:
    """NNI's evaluator on random rows; ``supernet.ckpt`` is written after every epoch."""
    rows = torch.randn(n_rows, 8, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(rows, (rows.sum(1) > 0).long())
    saves = ModelCheckpoint(
        folder, "supernet", enable_version_counter=False, save_on_train_epoch_end=True
    )
    return Classification(
        num_classes=4, learning_rate=1e-3, max_epochs=epochs, accelerator="cpu", logger=False,
        train_dataloaders=DataLoader(data, batch_size=BATCH, shuffle=True),
        val_dataloaders=DataLoader(TensorDataset(*data[:32]), batch_size=16),
        callbacks=[*callbacks, saves], enable_progress_bar=False, enable_model_summary=False,
        **trainer,
    )  # fmt: skip


def run_strategy(name: str, evaluator: Classification, **settings: Any) -> Any:
    """Train a chain with a strategy, with the given settings that it has; gives the strategy."""
    row = method(name)
    own = {key: value for key, value in settings.items() if key in (*row.options, "shrinking")}
    made: Any = row.load()
    strategy = made(seed=0, **own)
    strategy(RawFormatModelSpace.from_model(Chain(), evaluator), SequentialExecutionEngine())
    return strategy


def search(strategy: Any, evaluator: Classification) -> list[Any]:
    """Children that evolution finds, best first."""
    scores = ChildEvaluator(strategy.supernet, evaluator, n_batches=1)
    ranked = Evolution(generations=2, population=3, seed=0).search(strategy.supernet, scores)
    return [[child.sample, child.score] for child in ranked]


def train_small(strategy: str, output: Path, accumulate: int = 1, n_drop: int = 0) -> None:
    """Train, or go on from the checkpoint, search, and write ``results.json``."""
    output.mkdir(parents=True, exist_ok=True)
    pl.seed_everything(0, verbose=False)
    n_rows = BATCH * STEPS * accumulate
    evaluator = make_evaluator(output, n_rows, EPOCHS, accumulate_grad_batches=accumulate)
    checkpoint = output / "supernet.ckpt"
    if checkpoint.exists():
        evaluator.fit_kwargs = {"ckpt_path": str(checkpoint), "weights_only": True}
    more = {"shrinking": ProgressiveShrinking(n_drop=n_drop, evaluations=6)} if n_drop else {}
    trained = run_strategy(strategy, evaluator, **SHORT, **more)
    best = trained.oneshot_module.best_children()
    found = [] if n_drop else search(trained, evaluator)
    write_json(output / "results.json", {"found": found, "best": [list(each) for each in best]})
