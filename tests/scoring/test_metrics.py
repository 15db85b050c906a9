"""Children scored by a metric of the evaluator: torchmetrics, plain values, returned losses."""

import copy

import numpy as np
import pytest
import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader, Lightning, Trainer
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from scored import (
    BATCH,
    CHILD,
    IMAGES,
    LABELS,
    OTHER,
    Evaluator,
    accuracy_by_hand,
    loader,
    logits_by_hand,
    loss_by_hand,
    trained,
)
from spaces import ConvSpace
from torch import nn
from torch.utils.data import TensorDataset
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassPrecision

from nni_magic.strategies import SPOS
from nni_magic.supernet.resume import isolated_randomness, seed_generators

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def module():
    """One trained supernet for the tests that only look at it."""
    return trained()


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


def test_score_gives_a_batch_of_size_zero_no_weight_as_lightning_does():
    class Second(Evaluator):
        def report(self, logits, loss, labels):
            self.log("val_loss", loss, batch_size=0 if len(labels) == BATCH else 4)

    module = trained(Second())
    logits = logits_by_hand(module, CHILD)[2 * BATCH :]
    expected = nn.functional.cross_entropy(logits, LABELS[2 * BATCH :]).item()
    assert module.scorer(CHILD) == pytest.approx(expected, rel=1e-5)


def test_score_of_batches_that_all_have_no_weight_is_not_a_number_as_in_lightning():
    class Weightless(Evaluator):
        def report(self, logits, loss, labels):
            self.log("val_loss", loss, batch_size=0)

    module = trained(Weightless())
    assert np.isnan(module.trainer.callback_metrics["val_loss"])
    assert np.isnan(module.scorer(CHILD))


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
        ValueError, match=r"metric is None; accepted .* logs, \['entropy', 'val_acc'"
    ):
        trained(Silent(loss=False))


def test_score_of_an_unknown_metric_raises_at_the_start_and_names_those_there_are():
    evaluator = Evaluator()
    steps = []
    evaluator.on_train_batch_end = lambda *args: steps.append(args)
    with pytest.raises(
        ValueError, match=r"metric is 'val_f1'; acc.* logs, \['val_acc', 'val_loss'\]"
    ):
        trained(evaluator, metric="val_f1")
    assert steps == []
