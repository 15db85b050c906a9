"""Train a strategy on a small space, and score the same children with every supernet."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace

from experiments.studies.claims import claimed
from experiments.studies.floor.spaces import EPOCHS, SMALL_SPACES
from nni_magic.programs.options import typed_settings
from nni_magic.samplers import UniformSampler
from nni_magic.search import ChildEvaluator
from nni_magic.strategies.registry import method
from nni_magic.support.files import read_record, write_json

__all__ = ["VARIANTS", "read_scores", "train_missing"]

_logger = logging.getLogger(__name__)

N_CHILDREN = 20
CHILDREN_SEED = 12345

Variant = tuple[str, Mapping[str, Any]]

VARIANTS: dict[str, Variant] = {"spos": ("spos", {}), "magic_t": ("magic_t", {})}
"""Strategy and settings by the name of a row: the methods without alignment, ..."""
VARIANTS |= {
    f"magic_a_{error}{'_gradient' * gradient}": (
        "magic_a", {"alignment_error": error, "anchor_gradient": gradient},
    )
    for error in ("mse", "relative", "cosine") for gradient in (False, True)
}  # fmt: skip
"""... MAGIC-A with each error of hidden states, with and without gradient for the anchor, ..."""
VARIANTS |= {
    f"magic_at_{error}": ("magic_at", {"alignment_error": error}) for error in ("mse", "cosine")
}
"""... MAGIC-AT with two of them, ..."""
VARIANTS |= {
    f"{name}_late": (name, {"alignment_error": "cosine", "warmup_epochs": EPOCHS // 2})
    for name in ("magic_a", "magic_at")
}
"""... both begun after half of the epochs in place of the third, ..."""
VARIANTS |= {
    "magic_t_walks_4": ("magic_t", {"walks": 4}),
    "magic_at_cosine_walks_4": ("magic_at", {"alignment_error": "cosine", "walks": 4}),
}
"""... and four walks in turn, to tell the harm of a walk's memory from that of alignment."""


def train_missing(runs: Path, variants: Mapping[str, Variant], seeds: range) -> None:
    """Train and score all that is not there yet, and is claimed by no other process."""
    for seed in seeds:
        for space in SMALL_SPACES:
            for name, (strategy, settings) in variants.items():
                path = _file(runs, space, name, seed)
                with claimed(path) as mine:
                    if mine and not path.exists():
                        write_json(path, train(space, strategy, settings, seed))
                        _logger.info("%s", path)


def train(space: str, strategy: str, settings: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Train a supernet; gives the scores of the children."""
    small = SMALL_SPACES[space]
    pl.seed_everything(seed, verbose=False)
    model, evaluator = small.make_space(), small.make_evaluator(seed)
    chosen = method(strategy)
    options = {"seed": seed, "metric": small.metric, "mode": small.mode, **settings}
    one_shot = chosen.load()(**vars(typed_settings(chosen.settings, options)))
    one_shot(RawFormatModelSpace.from_model(model, evaluator), SequentialExecutionEngine())
    supernet = one_shot.supernet
    draw = UniformSampler(supernet, seed=CHILDREN_SEED)
    evaluate = ChildEvaluator(
        supernet, small.make_evaluator(seed), metric=small.metric, mode=small.mode
    )
    children = [draw.next() for _ in range(N_CHILDREN)]
    return {"space": space, "strategy": strategy, "settings": dict(settings), "seed": seed,
            "metric": small.metric, "scores": evaluate(children)}  # fmt: skip


def read_scores(runs: Path, space: str, name: str, seeds: range) -> dict[int, list[float]]:
    """Scores of the children by the seeds whose supernets are trained."""
    records = {
        seed: read_record(_file(runs, space, name, seed), scores=list[float]) for seed in seeds
    }
    return {seed: record["scores"] for seed, record in records.items() if record is not None}


def _file(runs: Path, space: str, name: str, seed: int) -> Path:
    return runs / f"{space}_{name}_seed{seed}.json"
