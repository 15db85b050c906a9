"""What belongs to the evaluator is as it was after its steps were run for our own ends."""

import copy

import pytest
import torch
from nni.nas.evaluator.pytorch import LightningModule, Trainer
from pytorch_lightning.loggers import CSVLogger
from scored import (
    CHILD,
    LABELS,
    OTHER,
    Collected,
    logits_by_hand,
    trained,
)
from states import conv_net
from torch import nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy
from training import QUIET

from nni_magic.scoring.evaluator_state import evaluating, logged_to, unnoticed, untouched

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


# untouched


class Keeper(LightningModule):
    """Keeps something of every step, in every place that people keep things."""

    def __init__(self):
        super().__init__()
        self.rows, self.n, self.by_name = [], 0, {"loss": [], "mean": MeanMetric()}
        self.register_buffer("average", torch.zeros(1))
        self.metrics = nn.ModuleDict({"mean": MeanMetric(), "accuracy": MulticlassAccuracy(3)})
        self.inner = nn.Linear(1, 1)
        self.inner.calls = 0
        self.set_model(conv_net())

    def training_step(self, batch, batch_idx):
        self.rows.append(batch)
        self.n += 1
        self.by_name["loss"].append(1.0)
        self.average.mul_(0.9).add_(1)
        self.inner.calls += 1
        for mean in (self.by_name["mean"], self.metrics["mean"]):
            mean.update(torch.tensor(100.0))
        self.metrics["accuracy"].update(torch.tensor([0]), torch.tensor([1]))
        self.log("loss", 1.0)

    def state(self):
        means = [mean.update_count for mean in (self.by_name["mean"], self.metrics["mean"])]
        lists = [len(self.rows), len(self.by_name["loss"])]
        return [*lists, self.n, self.average.item(), self.inner.calls, *means]


def test_whatever_a_step_keeps_comes_back_even_after_an_error():
    evaluator = Keeper()
    for _ in range(2):
        evaluator.metrics["mean"].update(torch.tensor(4.0))
        evaluator.rows.append("before")
    rows, before = evaluator.rows, evaluator.state()
    with pytest.raises(ArithmeticError), unnoticed(evaluator) as snapshot:
        evaluator.training_step(None, 0)
        first = evaluator.state()
        snapshot.restore()
        evaluator.training_step(None, 0)
        assert evaluator.state() == first != before
        raise ArithmeticError
    assert evaluator.state() == before
    assert evaluator.rows is rows
    evaluator.metrics["mean"].update(torch.tensor(1.0))
    assert evaluator.metrics["mean"].compute() == 3.0


def test_metrics_are_found_wherever_they_are_held():
    evaluator = Keeper()
    with untouched(evaluator) as snapshot:
        found = snapshot.found(Metric)
    metrics = [evaluator.by_name["mean"], *evaluator.metrics.values()]
    assert sorted(map(id, found)) == sorted(map(id, metrics))


def test_the_supernet_is_left_alone_wherever_it_is_held():
    evaluator = Keeper()
    block = evaluator.model.blocks[0]
    evaluator.blocks = [block]
    with untouched(evaluator):
        block.seen = True
    assert block.seen


def test_pictures_and_the_like_go_to_no_logger(tmp_path):
    evaluator, written = Keeper(), []
    logger = CSVLogger(tmp_path)
    logger.experiment.log_metrics = written.append
    evaluator.trainer = Trainer(logger=logger, **{k: v for k, v in QUIET.items() if k != "logger"})
    with unnoticed(evaluator):
        evaluator.logger.experiment.log_metrics({"a": 1})
        evaluator.logger.experiment.add_image("a", None)
        evaluator.logger.log_metrics({"a": 1})
    evaluator.logger.experiment.log_metrics({"b": 1})
    assert written == [{"b": 1}]


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
