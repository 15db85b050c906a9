"""Train a strategy on a small space, and score the same children with every supernet."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace

from experiments.studies.claims import make_once
from experiments.studies.floor.spaces import EPOCHS, SMALL_SPACES
from nni_magic.programs.options import typed_settings
from nni_magic.samplers import UniformSampler
from nni_magic.search import ChildEvaluator
from nni_magic.strategies.registry import method
from nni_magic.support.files import read_record

__all__ = ["VARIANTS", "Variant", "read_scores", "train_missing"]

N_CHILDREN = 20
CHILDREN_SEED = 12345


class Variant(NamedTuple):
    """A strategy with settings of its own, and for how many seeds it is trained at most."""

    strategy: str
    settings: Mapping[str, Any]
    seeds: int = 5


MSE = {"alignment_error": "mse", "warmup_epochs": 3}
COSINE = {"alignment_error": "cosine", "warmup_epochs": 3}
RELATIVE = {"alignment_error": "relative", "warmup_epochs": 3}
LATE = {"alignment_error": "cosine", "warmup_epochs": EPOCHS // 2}
GRADIENT = {"anchor_gradient": True}
ONE = {"walks": 1}
FOUR = {"walks": 4}
MORE = 20
"""Seeds of rows whose differences are small beside those of seeds, where trainings are brief."""

VARIANTS: dict[str, Variant] = {
    # The baseline, and the walk of MAGIC-T; four walks in turn tell what its memory does.
    "spos": Variant("spos", {}, seeds=MORE),
    "magic_t": Variant("magic_t", {}, seeds=MORE),
    "magic_t_walks_4": Variant("magic_t", FOUR, seeds=MORE),
    # Both errors of hidden states; and alignment that begins after half of the epochs, in place of
    # three, as it does by default. MAGIC-AT has four walks by default.
    "magic_a_mse": Variant("magic_a", MSE),
    "magic_a_cosine": Variant("magic_a", COSINE),
    "magic_a_late": Variant("magic_a", LATE, seeds=MORE),
    "magic_at_mse": Variant("magic_at", MSE | ONE),
    "magic_at_cosine": Variant("magic_at", COSINE | ONE),
    "magic_at_late": Variant("magic_at", LATE | ONE, seeds=MORE),
    "magic_at_walks_4": Variant("magic_at", COSINE | FOUR),
    "magic_at_walks_4_late": Variant("magic_at", LATE | FOUR, seeds=MORE),
    # A gradient for the anchor, too, and the third error, which need no more seeds to be left.
    "magic_a_mse_gradient": Variant("magic_a", MSE | GRADIENT, seeds=2),
    "magic_a_cosine_gradient": Variant("magic_a", COSINE | GRADIENT, seeds=2),
    "magic_a_relative": Variant("magic_a", RELATIVE, seeds=1),
    "magic_a_relative_gradient": Variant("magic_a", RELATIVE | GRADIENT, seeds=1),
}
"""What is compared, by the names of the rows."""


def train_missing(runs: Path, variants: Mapping[str, Variant], seeds: range) -> None:
    """Train and score all that is not there yet, and is claimed by no other process."""
    for seed in seeds:
        for space, small in SMALL_SPACES.items():
            for name, variant in variants.items():
                if seed < min(variant.seeds, small.seeds) and name in (small.variants or variants):
                    path = _file(runs, space, name, seed)
                    make_once(path, partial(train, space, variant, seed))


def train(space: str, variant: Variant, seed: int) -> dict[str, Any]:
    """Train a supernet; gives the scores of the children."""
    small = SMALL_SPACES[space]
    pl.seed_everything(seed, verbose=False)
    model, evaluator = small.make_space(), small.make_evaluator(seed)
    chosen = method(variant.strategy)
    options = {"seed": seed, "metric": small.metric, "mode": small.mode, **variant.settings}
    one_shot = chosen.load()(**vars(typed_settings(chosen.settings, options)))
    one_shot(RawFormatModelSpace.from_model(model, evaluator), SequentialExecutionEngine())
    supernet = one_shot.supernet
    draw = UniformSampler(supernet, seed=CHILDREN_SEED)
    evaluate = ChildEvaluator(
        supernet, small.make_evaluator(seed), metric=small.metric, mode=small.mode
    )
    children = [draw.next() for _ in range(N_CHILDREN)]
    return {
        "space": space, "strategy": variant.strategy, "settings": dict(variant.settings),
        "seed": seed, "metric": small.metric, "scores": evaluate(children),
    }  # fmt: skip


def read_scores(runs: Path, space: str, name: str, seeds: range) -> dict[int, list[float]]:
    """Scores of the children by the seeds whose supernets are trained."""
    records = {
        seed: read_record(_file(runs, space, name, seed), scores=list[float]) for seed in seeds
    }
    return {seed: record["scores"] for seed, record in records.items() if record is not None}


def _file(runs: Path, space: str, name: str, seed: int) -> Path:
    return runs / f"{space}_{name}_seed{seed}.json"
