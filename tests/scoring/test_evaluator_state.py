"""What belongs to the evaluator is as it was after its steps were run for our own ends."""

import copy

import pytest
import torch
from nni.nas.evaluator.pytorch import LightningModule
from scored import (
    CHILD,
    LABELS,
    OTHER,
    Collected,
    logits_by_hand,
    trained,
)
from torch import nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from nni_magic.scoring.evaluator_state import evaluating, kept_metrics, logged_to

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def module():
    """One trained supernet for the tests that only look at it."""
    return trained()


# logged_to


class Bare(LightningModule):
    def training_step(self, batch, batch_idx):
        self.log("loss", 1.0)
        self.log_dict({"a": 2.0, "b": 3.0}, on_epoch=True)


@pytest.mark.parametrize("own", [None, print])
def test_what_is_logged_goes_to_the_function_and_then_where_it_went_before(own):
    evaluator, seen = Bare(), []
    if own is not None:
        evaluator.log = own
    before = dict(vars(evaluator))
    with logged_to(evaluator, lambda name, value, **options: seen.append((name, value))):
        evaluator.training_step(None, 0)
    assert seen == [("loss", 1.0), ("a", 2.0), ("b", 3.0)]
    assert vars(evaluator) == before


def test_log_comes_back_after_an_error():
    evaluator = Bare()
    with pytest.raises(ArithmeticError), logged_to(evaluator, print):
        raise ArithmeticError
    assert "log" not in vars(evaluator)


# evaluating


def test_every_mode_comes_back_even_after_an_error():
    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2)))
    net[1][1].eval()
    modes = [module.training for module in net.modules()]
    with pytest.raises(ArithmeticError), evaluating(net):
        assert not any(module.training for module in net.modules())
        raise ArithmeticError
    assert [module.training for module in net.modules()] == modes
    assert set(modes) == {True, False}


# kept_metrics


def test_metrics_of_all_submodules_are_given_and_come_back():
    inner = nn.ModuleDict({"mean": MeanMetric(), "accuracy": MulticlassAccuracy(3)})
    net = nn.ModuleList([inner, nn.Linear(1, 1)])
    inner["mean"].update(torch.tensor([1.0, 5.0]))
    with kept_metrics(net) as metrics:
        assert [type(metric) for metric in metrics] == [MeanMetric, MulticlassAccuracy]
        inner["mean"].update(torch.tensor(100.0))
        inner["accuracy"].update(torch.tensor([0]), torch.tensor([1]))
    assert (inner["mean"].compute(), inner["mean"].update_count) == (3.0, 1)
    assert inner["accuracy"].update_count == 0
    inner["mean"].update(torch.tensor(9.0))
    assert inner["mean"].compute() == 5.0


# All of them, in a score


def test_score_keeps_the_state_of_torchmetrics(module):
    """Scoring between two updates must not show in what the evaluator's metric computes."""
    evaluator = module.training_module
    logits = logits_by_hand(module, CHILD)
    expected = (logits[:12].argmax(1) == LABELS[:12]).double().mean().item()
    evaluator.accuracy.reset()
    evaluator.accuracy.update(logits[:5], LABELS[:5])
    module.scorer(OTHER)
    evaluator.accuracy.update(logits[5:12], LABELS[5:12])
    module.scorer(OTHER)
    assert evaluator.accuracy.compute().item() == pytest.approx(expected)
    assert evaluator.accuracy.update_count == 2


def test_score_keeps_the_state_of_a_collection():
    module = trained(Collected(), metric="f1", mode="max")
    evaluator = module.training_module
    logits = logits_by_hand(module, CHILD)
    expected = copy.deepcopy(evaluator.metrics)
    for collection in (expected, evaluator.metrics):
        collection.reset()
        collection.update(logits[:5], LABELS[:5])
        if collection is evaluator.metrics:
            module.scorer(OTHER)
        collection.update(logits[5:], LABELS[5:])
    assert evaluator.metrics.compute() == expected.compute()
    assert evaluator.metrics.precision.compute() == expected.precision.compute()
    assert evaluator.metrics.f1.compute() == expected.f1.compute()
