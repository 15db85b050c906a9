"""Scores of children, against the children frozen and evaluated by hand under a real trainer."""

import copy
import math
import random

import numpy as np
import pytest
import torch
from nni.nas.evaluator.pytorch import (
    Classification,
    DataLoader,
    Lightning,
    LightningModule,
    Trainer,
)
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from spaces import CellSpace, ConvSpace, MixedSpace
from torch import nn
from torch.utils.data import TensorDataset
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassPrecision

from nni_magic.resume import isolated_randomness, seed_generators
from nni_magic.scoring import Scorer, better
from nni_magic.strategies import SPOS

torch.set_num_threads(1)

BATCH = 8
IMAGES = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))  # 8 + 8 + 4
LABELS = torch.arange(20) % 10
CHILD = {"block_1": "conv3", "block_2": "drop", "block_3": "skip", "block_4": "conv1"}
OTHER = {"block_1": "conv1", "block_2": "conv1", "block_3": "conv3", "block_4": "drop"}


class Evaluator(LightningModule):
    """Logs its validation loss, a torchmetric, and how often it was asked."""

    def __init__(self):
        super().__init__()
        self.accuracy = MulticlassAccuracy(10, average="micro")
        self.batches = []

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    def validation_step(self, batch, index):
        self.batches.append((index, len(batch[0])))
        logits = self.model(batch[0])
        loss = nn.functional.cross_entropy(logits, batch[1])
        self.report(logits, loss, batch[1])
        return loss

    def report(self, logits, loss, labels):
        self.log("val_loss", loss)
        self.accuracy.update(logits, labels)
        self.log("val_acc", self.accuracy, on_epoch=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader(**kwargs):
    return DataLoader(TensorDataset(IMAGES, LABELS), batch_size=BATCH, **kwargs)


def trained(evaluator=None, space=None, val=None, trainer=None, **kwargs):
    """Train for one epoch and give the strategy's Lightning module."""
    torch.manual_seed(0)
    settings = {
        "max_epochs": 1, "accelerator": "cpu", "logger": False, "enable_progress_bar": False,
        "enable_checkpointing": False, "enable_model_summary": False, "num_sanity_val_steps": 0,
    }  # fmt: skip
    strategy = SPOS(seed=0, validation_children=2, **{"calibration_batches": 0, **kwargs})
    lightning = Lightning(
        evaluator or Evaluator(),
        Trainer(**{**settings, **(trainer or {})}),
        train_dataloaders=loader(),
        val_dataloaders=loader() if val is None else val,
    )
    model = RawFormatModelSpace.from_model(space or ConvSpace(), lightning)
    strategy(model, SequentialExecutionEngine())
    return strategy.oneshot_module


def logits_by_hand(module, sample, images=IMAGES):
    """Of the child frozen out of the supernet, in evaluation mode."""
    child = copy.deepcopy(module.model.freeze(sample)).eval()
    with torch.no_grad():
        return child(images)


def loss_by_hand(module, sample, n=20):
    return nn.functional.cross_entropy(logits_by_hand(module, sample)[:n], LABELS[:n]).item()


def accuracy_by_hand(module, sample):
    return (logits_by_hand(module, sample).argmax(1) == LABELS).double().mean().item()


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


# Metrics


def test_score_of_a_torchmetric_is_computed_over_all_batches():
    module = trained(metric="val_acc", mode="max")
    found = {module.scorer(child): accuracy_by_hand(module, child) for child in (CHILD, OTHER)}
    assert list(found) == pytest.approx(list(found.values()))


def test_score_of_a_named_plain_metric():
    module = trained(metric="val_loss")
    assert module.scorer(CHILD) == pytest.approx(loss_by_hand(module, CHILD), rel=1e-5)


def test_score_with_nnis_own_evaluator():
    evaluator = Classification(
        num_classes=10, train_dataloaders=loader(), val_dataloaders=loader(), max_epochs=1,
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False,
        enable_model_summary=False,
    )  # fmt: skip
    strategy = SPOS(seed=0, metric="val_acc", mode="max", validation_children=2)
    model = RawFormatModelSpace.from_model(ConvSpace(), evaluator)
    strategy(model, SequentialExecutionEngine())
    module = strategy.oneshot_module
    assert module.scorer(CHILD) == pytest.approx(accuracy_by_hand(module, CHILD))


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


class Collected(Evaluator):
    """Logs a collection whose members share their state."""

    def __init__(self):
        super().__init__()
        self.metrics = MetricCollection(
            {
                "precision": MulticlassPrecision(10, average="macro"),
                "f1": MulticlassF1Score(10, average="macro"),
            }
        )

    def report(self, logits, loss, labels):
        self.metrics.update(logits, labels)
        self.log_dict(self.metrics)


@pytest.mark.parametrize("name", ["precision", "f1"])
def test_score_of_a_member_of_a_collection(name):
    module = trained(Collected(), metric=name, mode="max")
    metric = {"precision": MulticlassPrecision, "f1": MulticlassF1Score}[name](10, average="macro")
    expected = metric(logits_by_hand(module, CHILD), LABELS).item()
    assert expected > 0
    assert module.scorer(CHILD) == pytest.approx(expected)


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


def test_score_of_a_metric_that_keeps_lists():
    class Listing(Evaluator):
        def __init__(self):
            super().__init__()
            self.mean = MeanMetric()
            self.listing = MulticlassAccuracy(10, average="micro", multidim_average="global")

        def report(self, logits, loss, labels):
            self.mean.update(loss, weight=len(labels))
            self.log("val_mean", self.mean)

    module = trained(Listing(), metric="val_mean")
    assert module.scorer(CHILD) == pytest.approx(loss_by_hand(module, CHILD), rel=1e-5)


def test_loss_that_is_logged_as_a_torchmetrics_object_is_the_score():
    class Object(Evaluator):
        def __init__(self):
            super().__init__()
            self.mean = MeanMetric()

        def validation_step(self, batch, index):
            return 10 + super().validation_step(batch, index)

        def report(self, logits, loss, labels):
            self.mean.update(loss, weight=len(labels))
            self.log("val_loss", self.mean)

    module = trained(Object())
    assert module.scorer(CHILD) == pytest.approx(loss_by_hand(module, CHILD), rel=1e-5)


@pytest.mark.parametrize("used", [0, 1, 3])
def test_held_out_batches_do_not_depend_on_what_was_read_before(used):
    """Of a loader that shuffles by its own generator, and of data augmented by NumPy."""

    class Augmented(TensorDataset):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return image + np.random.rand(), label

    generator = torch.Generator().manual_seed(5)
    val = DataLoader(Augmented(IMAGES, LABELS), batch_size=BATCH, shuffle=True, generator=generator)
    for _ in range(used):
        list(val)
    module = trained(val=val)
    module.scorer.reset()
    state = generator.get_state()
    with isolated_randomness():
        images, _ = module.scorer.held_out()[0]
    assert torch.equal(generator.get_state(), state)
    with isolated_randomness():
        seed_generators(0)
        fresh = torch.Generator().manual_seed(0)
        expected, _ = next(iter(DataLoader(val.dataset, BATCH, shuffle=True, generator=fresh)))
    assert torch.equal(images, expected)


def test_score_weighs_by_the_batch_size_that_the_evaluator_names():
    class Weighted(Evaluator):
        def report(self, logits, loss, labels):
            self.log("val_loss", loss, batch_size=1 if len(labels) == BATCH else 6)

    module = trained(Weighted())
    logits = logits_by_hand(module, CHILD)
    losses = [
        nn.functional.cross_entropy(logits[i : i + BATCH], LABELS[i : i + BATCH]).item()
        for i in (0, 8, 16)
    ]
    assert module.scorer(CHILD) == pytest.approx(np.average(losses, weights=[1, 1, 6]), rel=1e-5)


class Opaque:
    """A batch in which Lightning cannot find a batch size."""

    def __init__(self, items):
        self.images = torch.stack([image for image, _ in items])
        self.labels = torch.stack([label for _, label in items])


def test_score_of_a_batch_whose_size_only_the_evaluator_knows():
    class Own(Evaluator):
        def training_step(self, batch, index):
            return super().training_step((batch.images, batch.labels), index)

        def validation_step(self, batch, index):
            self.n = len(batch.labels)
            super().validation_step((batch.images, batch.labels), index)

        def report(self, logits, loss, labels):
            self.log("val_loss", loss, batch_size=self.n)

    torch.manual_seed(0)
    data = loader(collate_fn=Opaque)
    strategy = SPOS(seed=0, validation_children=2, calibration_batches=0)
    lightning = Lightning(
        Own(),
        Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False,
                enable_checkpointing=False, enable_model_summary=False),
        train_dataloaders=data, val_dataloaders=data,
    )  # fmt: skip
    model = RawFormatModelSpace.from_model(ConvSpace(), lightning)
    strategy(model, SequentialExecutionEngine())
    module = strategy.oneshot_module
    assert module.scorer(CHILD) == pytest.approx(loss_by_hand(module, CHILD), rel=1e-5)


# Loss that is returned, and nothing logged


class Silent(Evaluator):
    """Logs nothing that could be a loss; returns it, bare or in a dict."""

    def __init__(self, in_dict=False, loss=True):
        super().__init__()
        self.in_dict, self.loss = in_dict, loss

    def validation_step(self, batch, index):
        loss = super().validation_step(batch, index)
        if not self.loss:
            return None
        return {"loss": loss, "more": 1} if self.in_dict else loss

    def report(self, logits, loss, labels):
        self.log("entropy", loss * 0)
        self.accuracy.update(logits, labels)
        self.log("val_acc", self.accuracy)


@pytest.mark.parametrize("in_dict", [False, True])
def test_score_is_the_returned_loss_when_none_is_logged(in_dict):
    module = trained(Silent(in_dict))
    assert module.scorer(CHILD) == pytest.approx(loss_by_hand(module, CHILD), rel=1e-5)


def test_score_without_any_loss_raises_and_names_what_is_logged():
    with pytest.raises(
        ValueError, match=r"a validation loss is not logged.*\['entropy', 'val_acc'"
    ):
        trained(Silent(loss=False))


def test_score_of_an_unknown_metric_raises_at_the_start_and_names_those_there_are():
    evaluator = Evaluator()
    steps = []
    evaluator.on_train_batch_end = lambda *args: steps.append(args)
    with pytest.raises(
        ValueError, match=r"metric 'val_f1' is not logged.*\['val_acc', 'val_loss'\]"
    ):
        trained(evaluator, metric="val_f1")
    assert steps == []


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
    batches = module.scorer._batches
    module.scorer(OTHER)
    assert module.scorer._batches is batches
    module.scorer.reset()
    module.scorer(CHILD)
    assert module.scorer._batches is not batches


def test_score_takes_the_first_of_several_loaders():
    class Several(Evaluator):
        def __init__(self):
            super().__init__()
            self.loaders = []

        def validation_step(self, batch, index, dataloader_idx):
            self.loaders.append(dataloader_idx)
            return super().validation_step(batch, index)

    half = DataLoader(TensorDataset(IMAGES[:10], LABELS[:10]), batch_size=BATCH)
    module = trained(Several(), val=[half, loader()])
    module.training_module.loaders.clear()
    assert module.scorer(CHILD) == pytest.approx(loss_by_hand(module, CHILD, n=10), rel=1e-5)
    assert module.training_module.loaders == [0, 0]


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
    module.route(OTHER)
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
        module, module.route, **{"metric": None, "mode": "min", "n_batches": 4, **settings}
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
            module.route(child)
            values.append(scorer.validate(batches))
    assert module.model.training
    assert scorer.reduce(values) == [scorer(child) for child in (CHILD, OTHER, CHILD)]
    assert scorer.reduce([]) == []
