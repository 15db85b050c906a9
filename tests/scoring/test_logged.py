"""Children scored by a metric of the evaluator: torchmetrics, plain values, returned losses."""

import numpy as np
import pytest
import torch
from nni.nas.evaluator.pytorch import Classification, Lightning, Trainer
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from scored import (
    BATCH,
    CHILD,
    LABELS,
    OTHER,
    Collected,
    Evaluator,
    accuracy_by_hand,
    loader,
    logits_by_hand,
    loss_by_hand,
    trained,
)
from spaces import ConvSpace
from torch import nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassPrecision

from nni_magic.scoring.logged import FUNCTION, RETURNED, Logged
from nni_magic.strategies import SPOS

torch.set_num_threads(1)


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


@pytest.mark.parametrize("name", ["precision", "f1"])
def test_score_of_a_member_of_a_collection(name):
    module = trained(Collected(), metric=name, mode="max")
    metric = {"precision": MulticlassPrecision, "f1": MulticlassF1Score}[name](10, average="macro")
    expected = metric(logits_by_hand(module, CHILD), LABELS).item()
    assert expected > 0
    assert module.scorer(CHILD) == pytest.approx(expected)


def test_score_of_a_metric_that_keeps_lists():
    class Listing(Evaluator):
        def __init__(self):
            super().__init__()
            self.mean = MeanMetric()
            self.listing = MulticlassAccuracy(10, average="micro", multidim_average="global")

        def report(self, logits, loss, labels):
            self.mean.update(loss, weight=len(labels))
            self.log("val_mean", self.mean)

    module = trained(Listing(), metric="val_mean", mode="min")
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


# Without a training


def logged(*pairs, batch_size=None):
    """Values logged under the name ``loss``, each with the batch that it is of."""
    found = Logged()
    for value, rows in pairs:
        found.batch = torch.zeros(rows, 2)
        options = {} if batch_size is None else {"batch_size": batch_size}
        found("loss", value, on_epoch=True, **options)
    return found


def test_value_is_a_sum_with_the_sum_of_the_batches_sizes():
    assert logged((2.0, 3), (torch.tensor(4.0), 1)).value("loss") == (10.0, 4)


def test_value_is_weighed_by_the_size_that_is_named():
    assert logged((2.0, 3), (4.0, 1), batch_size=10).value("loss") == (60.0, 20)


def test_value_of_a_torchmetrics_object_is_what_it_computes():
    found, metric = Logged(), MeanMetric()
    found("mean", metric)
    metric.update(torch.tensor([1.0, 2.0, 6.0]))
    assert found.has("mean") and not found.has("loss")
    assert found.value("mean") == 3.0


def test_value_by_default_is_the_validation_loss_and_else_what_is_returned():
    found = logged()
    found.batch = torch.zeros(4, 1)
    found(RETURNED, torch.tensor(0.5))
    assert found.value(None) == (2.0, 4)
    found("val_loss", 0.25)
    assert found.value(None) == (1.0, 4)


def test_value_of_a_function_is_that_noted_for_it():
    found = logged()
    found.batch = torch.zeros(2, 1)
    found(FUNCTION, 3.0)
    assert found.value(lambda outputs, batch: 0.0) == (6.0, 2)


@pytest.mark.parametrize(
    ("reduce_fx", "expected"),
    [("sum", 6.0), (torch.sum, 6.0), (sum, 6.0), ("max", 3.0), (min, 1.0), ("avg", 7 / 3)],
    ids=["sum", "torch.sum", "builtin_sum", "max", "builtin_min", "avg"],
)
def test_values_are_reduced_as_lightning_does(reduce_fx, expected):
    logged = Logged()
    for value, size in ((1.0, 1), (2.0, 2), (3.0, 3)):
        logged("val", torch.tensor(value), batch_size=size, reduce_fx=reduce_fx)
    found = logged.value("val")
    found = found[0] / found[1] if isinstance(found, tuple) else found
    assert found == pytest.approx(expected)


def test_a_reduction_that_lightning_does_not_know_is_refused():
    with pytest.raises(ValueError, match="reduce_fx of 'val' is 'median'; accepted are mean, sum"):
        Logged()("val", 1.0, batch_size=1, reduce_fx="median")
