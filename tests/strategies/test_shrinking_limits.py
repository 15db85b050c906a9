"""Shrinking under constraints, of scores that are not finite, and with too few epochs."""

import functools
import logging
import math

import pytest
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, Trainer
from scores import Images
from shrunk import EPOCHS, lightning, run
from spaces import ConvSpace, FlatSpace
from training import (
    QUIET,
    SHRINKABLE,
    STRATEGIES,
    Watch,
    bert,
    dict_evaluator,
    make,
    train,
)

from nni_magic.search import ProgressiveShrinking

every_strategy = pytest.mark.parametrize("name", SHRINKABLE)


def different(sample):
    return len(set(sample.values()))


@pytest.mark.parametrize(
    ("name", "most"),
    # With 1 no two allowed children are neighbours: a walk has nowhere to go.
    [*((name, 2) for name in STRATEGIES), ("spos", 1), ("magic_a", 1)],
)
def test_a_valid_child_is_always_left(name, most):
    strategy, watch, shrinking = run(
        name, space=lambda: ConvSpace(3), epochs=9, n_drop=1, evaluations=3,
        settings={"filter": lambda sample: different(sample) <= most},
    )  # fmt: skip
    assert all(different(child) <= most for child, _ in watch.steps)
    assert all(different(record["best"]) <= most for record in shrinking.history)
    candidates = strategy.oneshot_module.sampler.candidates
    assert [len(choices) for choices in candidates.values()] == [1, 1, 1]
    assert different(strategy.oneshot_module.export()) <= most


class Diverging(Images):
    """Children with some candidate in the first block have no finite loss."""

    bad = ("conv1",)

    def validation_step(self, batch, index):
        loss = torch.nn.functional.cross_entropy(self.model(batch[0]), batch[1])
        failed = self.model.blocks[0]._sampled in self.bad
        self.log("val_loss", loss * math.nan if failed else loss)


def test_scores_that_are_not_finite_count_as_the_worst_and_are_named(caplog):
    evaluator = functools.partial(lightning, module=Diverging())
    with caplog.at_level(logging.WARNING):
        _, _, shrinking = run("spos", evaluator=evaluator, evaluations=16)
    first = shrinking.history[0]
    assert ["block_1", "conv1"] in [list(pair) for pair in first["dropped"]]
    assert (first["evaluated"], first["not_finite"]) == (16, 4)
    assert all(math.isfinite(value) for values in first["promise"].values() for value in values)
    assert "4 of 16 children have no finite score and count as the worst: " in caplog.text


def test_no_finite_score_at_all_ends_the_training():
    module = Diverging()
    module.bad = ConvSpace.CANDIDATES
    with pytest.raises(ValueError, match=r"none of 6 children has a finite score.*diverged"):
        run("spos", evaluator=functools.partial(lightning, module=module))


@pytest.mark.parametrize("name", ["spos", "magic_at"])
def test_shrinks_a_chain_under_autocast(name, caplog):
    strategy, _, shrinking = run(
        name, space=bert, evaluator=dict_evaluator, epochs=2, n_drop=4, precision="bf16-mixed"
    )
    assert len(shrinking.history) == 2
    assert len(strategy.oneshot_module.export()) == 4
    assert "alone" not in caplog.text


def test_too_few_epochs_are_refused_before_the_first_step():
    watch = Watch()
    with pytest.raises(ValueError, match="at least 3, as 2 epochs have to make the 6 del"):
        run("spos", watch, epochs=2)
    assert watch.steps == []


@pytest.mark.parametrize(("max_steps", "accumulated", "n_drop", "epochs"),
                         [(7, 1, 2, 3), (4, 2, 3, 2), (3, 2, 3, 2)])  # fmt: skip
def test_a_last_epoch_cut_short_counts(max_steps, accumulated, n_drop, epochs):
    strategy, _, shrinking = run(
        "spos", epochs=-1, max_steps=max_steps, accumulate_grad_batches=accumulated, n_drop=n_drop
    )
    assert len(shrinking.history) == epochs
    assert all(len(c) == 1 for c in strategy.oneshot_module.sampler.candidates.values())


def test_batchnorm_needs_training_data_that_a_strategy_always_has():
    _, _, shrinking = run("spos", settings={"calibration_batches": 2})
    assert len(shrinking.history) == EPOCHS
    with_supernets = run("spos", settings={"calibration_batches": 0})[2]
    assert with_supernets.history[0]["score"] != shrinking.history[0]["score"]


def test_one_shrinking_serves_two_runs():
    shrinking = ProgressiveShrinking(n_drop=4, evaluations=4)
    for _ in range(2):
        train(make("spos", shrinking=shrinking), FlatSpace(2, 3), flat(), seed=0)
        assert [record["epoch"] for record in shrinking.history] == [1]


def flat():
    module = Images()
    module.accuracy = torch.nn.Identity()
    module.validation_step = module.training_step
    data = torch.utils.data.TensorDataset(torch.randn(8, 4), torch.arange(8) % 4)
    return Lightning(
        module, Trainer(max_epochs=3, **QUIET),
        train_dataloaders=DataLoader(data, batch_size=4),
        val_dataloaders=DataLoader(data, batch_size=4),
    )  # fmt: skip
