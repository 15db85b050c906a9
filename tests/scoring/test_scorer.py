"""Scores of children, against the children frozen and evaluated by hand under a real trainer."""

import math
import random

import numpy as np
import pytest
import torch
from nni.nas.evaluator.pytorch import DataLoader
from scored import (
    BATCH,
    CHILD,
    IMAGES,
    LABELS,
    OTHER,
    Evaluator,
    loader,
    logits_by_hand,
    loss_by_hand,
    trained,
)
from spaces import CellSpace, ConvSpace, MixedSpace
from torch import nn
from torch.utils.data import TensorDataset

from nni_magic.scoring.scorer import Scorer, better

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def module():
    """One trained supernet for the tests that only look at it."""
    return trained()


# better


@pytest.mark.parametrize("mode", ["min", "max"])
def test_better_is_a_strict_order_with_nan_last(mode):
    sign = 1 if mode == "min" else -1

    def rank(score):
        return math.inf if math.isnan(score) else math.atan(sign * score)

    scores = [-math.inf, -1.0, 0.0, 1.0, math.inf, math.nan]
    for a in scores:
        for b in scores:
            assert better(a, b, mode) == (rank(a) < rank(b))


# The score


@pytest.mark.parametrize("sample", [CHILD, OTHER])
def test_score_is_the_frozen_childs_validation_loss(module, sample):
    assert module.scorer(sample) == pytest.approx(loss_by_hand(module, sample), rel=1e-5)


def test_score_weighs_batches_by_their_size(module):
    """The mean of the batches' means, unweighted, would be another number."""
    logits = logits_by_hand(module, CHILD)
    losses = [
        nn.functional.cross_entropy(logits[i : i + BATCH], LABELS[i : i + BATCH]).item()
        for i in (0, 8, 16)
    ]
    unweighted = sum(losses) / 3
    assert abs(unweighted - loss_by_hand(module, CHILD)) > 1e-3
    assert module.scorer(CHILD) == pytest.approx(np.average(losses, weights=[8, 8, 4]), rel=1e-5)


def test_score_is_repeatable_whatever_is_scored_between(module):
    first = module.scorer(CHILD)
    assert module.scorer(OTHER) != first
    assert module.scorer(CHILD) == first


def test_score_routes_to_the_child_and_leaves_the_path_there(module):
    module.scorer(CHILD)
    module.eval()
    with torch.no_grad():
        found = module.model(IMAGES)
    torch.testing.assert_close(found, logits_by_hand(module, CHILD))


def test_score_takes_the_first_batches_only():
    module = trained(validation_batches=2)
    module.training_module.batches.clear()
    assert module.scorer(CHILD) == pytest.approx(loss_by_hand(module, CHILD, n=16), rel=1e-5)
    assert module.training_module.batches == [(0, 8), (1, 8)]


@pytest.mark.parametrize("space, sample", [
    (MixedSpace, {"depth": 2, "op_1": "conv1", "op_2": "conv3", "op_3": "skip", "kernel": 3,
                  "inputs": [1]}),
    (lambda: CellSpace(factories=False), {"cell/op_1_0": "conv", "cell/op_2_0": "skip",
                                          "cell/input_1_0": [0], "cell/input_2_0": [1]}),
])  # fmt: skip
def test_score_in_other_spaces_is_the_frozen_childs(space, sample):
    module = trained(space=space())
    assert module.scorer(sample) == pytest.approx(loss_by_hand(module, sample), rel=1e-5)


def test_score_follows_the_weights(module):
    first = module.scorer(CHILD)
    with torch.no_grad():
        module.model.head.bias += torch.linspace(0, 1, 10)
    second = module.scorer(CHILD)
    assert second == pytest.approx(loss_by_hand(module, CHILD), rel=1e-5)
    assert second != first


# Validation data


def test_score_without_validation_batches_raises():
    empty = DataLoader(TensorDataset(IMAGES[:0], LABELS[:0]), batch_size=BATCH)
    with pytest.raises(ValueError, match="no validation batches to score children on"):
        trained(val=empty)


def test_score_with_validation_switched_off_raises():
    with pytest.raises(ValueError, match="limit_val_batches other than 0"):
        trained(trainer={"limit_val_batches": 0})


def test_score_reads_the_data_once_until_reset():
    module = trained(val=loader(shuffle=True))
    first = module.scorer(CHILD)
    assert module.scorer(CHILD) == first  # a shuffled loader would give other batches
    batches = module.scorer.held_out()
    module.scorer(OTHER)
    assert module.scorer.held_out() is batches
    module.scorer.reset()
    module.scorer(CHILD)
    assert module.scorer.held_out() is not batches


def test_score_is_of_the_batches_of_all_loaders():
    class Several(Evaluator):
        loaders = []  # of the class: attributes of the module are put back

        def validation_step(self, batch, index, dataloader_idx):
            self.loaders.append(dataloader_idx)
            return super().validation_step(batch, index)

    half = DataLoader(TensorDataset(IMAGES[:10], LABELS[:10]), batch_size=BATCH)
    module = trained(Several(), val=[half, loader()])
    module.training_module.loaders.clear()
    both = (10 * loss_by_hand(module, CHILD, n=10) + 20 * loss_by_hand(module, CHILD)) / 30
    assert module.scorer(CHILD) == pytest.approx(both, rel=1e-5)
    assert module.training_module.loaders == [0, 0, 1, 1, 1]


# What scoring leaves as it was


def test_score_leaves_modes_weights_buffers_gradients_and_log_alone(module):
    module.train()
    module.model.blocks[0].conv3.eval()
    before_modes = [submodule.training for submodule in module.modules()]
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    log = module.training_module.log
    module.scorer(CHILD)
    assert [submodule.training for submodule in module.modules()] == before_modes
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any("running_mean" in name for name in before)
    assert module.training_module.log == log
    assert torch.is_grad_enabled()


def test_score_leaves_global_generators_alone():
    """Although a shuffled loader draws, and so does this evaluator."""

    class Drawing(Evaluator):
        def report(self, logits, loss, labels):
            torch.rand(1), np.random.rand(), random.random()
            self.log("val_loss", loss)

    module = trained(Drawing(), val=loader(shuffle=True))
    module.scorer.reset()
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    module.scorer(CHILD)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2]


def test_score_cleans_up_after_an_error_of_the_evaluator(module):
    evaluator = module.training_module
    module.train()
    evaluator.accuracy.reset()
    evaluator.accuracy.update(torch.eye(10), torch.arange(10))
    log = evaluator.log
    module.router.set(OTHER)
    with pytest.raises(KeyError, match="no such candidate"):
        module.scorer({**CHILD, "block_2": "no such candidate"})
    assert evaluator.log == log
    assert evaluator.training and evaluator.model.training
    assert evaluator.accuracy.compute() == 1
    assert module.scorer(CHILD) == pytest.approx(loss_by_hand(module, CHILD), rel=1e-5)


def test_score_in_training_does_not_change_training():
    """A run that scores at every step has the same weights as one that does not."""

    class Scoring(Evaluator):
        def on_train_batch_end(self, *args):
            if self.scores:
                self.trainer.lightning_module.scorer(CHILD)
                self.trainer.lightning_module.scorer(OTHER)

    weights = []
    for scores in (False, True):
        evaluator = Scoring()
        evaluator.scores = scores
        module = trained(evaluator)
        weights.append({name: tensor.clone() for name, tensor in module.state_dict().items()})
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


# The parts that many children share


def as_scorer(module, **settings):
    """A scorer of a supernet that was trained, with settings of its own."""
    return Scorer(
        module, **{"metric": None, "mode": "min", "n_batches": 4, **settings}
    )


def test_score_is_a_function_of_outputs_and_batch(module):
    def top3(logits, batch):
        return (logits.topk(3).indices == batch[1][:, None]).any(1).float().mean()

    found = as_scorer(module, metric=top3, mode="max")(CHILD)
    best = logits_by_hand(module, CHILD).topk(3).indices
    assert found == pytest.approx((best == LABELS[:, None]).any(1).double().mean().item())


def test_score_by_a_function_needs_a_call_of_the_model():
    class Elsewhere(Evaluator):
        def validation_step(self, batch, index):
            self.log("val_loss", 1.0)

    scorer = as_scorer(trained(Elsewhere()), metric=lambda logits, batch: 0.0)
    with pytest.raises(ValueError, match=r"function of the model's outputs.*does not call self.mo"):
        scorer(CHILD)


def test_score_of_data_given_to_the_scorer(module):
    few = DataLoader(TensorDataset(IMAGES[:10], LABELS[:10]), batch_size=BATCH)
    scorer = as_scorer(module, loaders=few)
    assert scorer(CHILD) == pytest.approx(loss_by_hand(module, CHILD, n=10), rel=1e-5)


def test_score_without_data_given_raises(module):
    with pytest.raises(ValueError, match="no validation batches"):
        as_scorer(module, loaders=[])(CHILD)


def test_children_of_one_session_are_those_of_calls(module):
    scorer = as_scorer(module)
    values = []
    module.train()
    with scorer.session():
        assert not module.model.training
        batches = [scorer.on_device(batch) for batch in scorer.held_out()]
        for child in (CHILD, OTHER, CHILD):
            module.router.set(child)
            values.append(scorer.validate(batches))
    assert module.model.training
    assert scorer.reduce(values) == [scorer(child) for child in (CHILD, OTHER, CHILD)]
    assert scorer.reduce([]) == []


class Anew(ConvSpace):
    """Builds its children anew."""

    def freeze(self, sample):
        return ConvSpace().freeze(sample)


def test_child_is_compared_with_its_path():
    module = trained(space=Anew())
    with pytest.raises(ValueError, match=r"freeze of Anew gives a child .* other outputs than its"):
        module.scorer.child(CHILD)


def test_child_that_cannot_be_compared_is_told(caplog):
    class Inside(Evaluator):
        def validation_step(self, batch, index):
            self.log("val_loss", self.model.forward(batch[0]).mean())

    child = trained(evaluator=Inside()).scorer.child(CHILD)
    assert child.blocks[0][0].kernel_size == (3, 3)
    assert "is not compared with its path in the supernet: the evaluator's" in caplog.text
