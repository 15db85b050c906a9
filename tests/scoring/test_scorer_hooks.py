"""A child is scored as Lightning validates it: hooks, gathered outputs, steps that write."""

import functools

import pytest
import torch
from nni.nas.evaluator.pytorch import Lightning, LightningModule, Trainer
from scored import BATCH, CHILD, IMAGES, LABELS, OTHER, Evaluator, loader, trained
from spaces import ChainSpace, ConvSpace
from torch import nn
from training import QUIET

from nni_magic.search import ChildEvaluator

torch.set_num_threads(1)
CHILDREN = [CHILD, OTHER, {**CHILD, "block_4": "conv3"}, CHILD]


def validated(module, child, metric):
    """What Lightning's own validation of the stand-alone child gives."""
    evaluator = type(module.training_module)()
    evaluator.set_model(module.model.freeze(child))
    trainer = Trainer(**QUIET)
    trainer.validate(evaluator, loader(), verbose=False)
    return trainer.callback_metrics[metric].item()


def check(module, metric, **settings):
    """Scores in training and afterwards, each child twice, beside plain validations."""
    expected = [validated(module, child, metric) for child in CHILDREN]
    assert len(set(expected)) > 1
    found = [module.scorer(child) for child in CHILDREN]
    assert found == pytest.approx(expected, rel=1e-6)
    lightning = Lightning(module.training_module, Trainer(**QUIET), val_dataloaders=loader())
    evaluate = ChildEvaluator(
        module.model, lightning, metric=metric, n_batches=3, calibration_batches=0, **settings
    )
    assert evaluate(CHILDREN) == pytest.approx(expected, rel=1e-6)
    assert [evaluate([child])[0] for child in reversed(CHILDREN)] == found[::-1]


class Gathering(Evaluator):
    """Computes its metric from what an epoch has gathered; never empties a list by itself."""

    def on_validation_start(self):
        self.logits, self.ends = [], []

    def on_validation_epoch_start(self):
        self.scale = 2.0

    def on_validation_batch_start(self, batch, batch_idx):
        batch.append(batch_idx)

    def validation_step(self, batch, index):
        images, labels, index = batch
        self.logits.append((self.model(images), labels))
        return {"index": index}

    def on_validation_batch_end(self, outputs, batch, batch_idx):
        self.ends.append((outputs["index"], batch_idx, len(batch)))

    def on_validation_epoch_end(self):
        children = len(self.ends) // 3
        assert self.ends == [(i, i, 3) for i in range(3) for _ in range(children)]
        logits, labels = map(torch.cat, zip(*self.logits, strict=True))
        self.log("spread", self.scale * logits.var())  # no mean over batches
        self.log("rows", float(len(labels)))


@pytest.mark.parametrize("space", [ChainSpace, ConvSpace])
def test_a_metric_logged_at_the_end_of_the_epoch_is_that_of_a_validation(space):
    module = trained(Gathering(), space(), metric="spread", mode="min")
    check(module, "spread", mode="min")
    module.scorer.metric = "rows"
    assert module.scorer(CHILD) == len(IMAGES)  # and not those of a panel


class Writing(Evaluator):
    """Takes its batch apart, and writes into what is left of it."""

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self.model(batch[0]), batch.pop())

    def validation_step(self, batch, index):
        labels = batch.pop()
        batch[0].mul_(3)
        self.log("val_loss", nn.functional.cross_entropy(self.model(batch[0]), labels))


@pytest.mark.parametrize("space", [ChainSpace, ConvSpace])
def test_a_step_that_changes_its_batch_does_not_change_scores(space):
    check(trained(Writing(), space()), "val_loss")


class Tripling(ChainSpace):
    """Writes into its input before the stem."""

    def forward(self, x):
        return super().forward(x.mul_(3))


class TriplingStem(ChainSpace):
    """Writes into its input in the stem, so that it is a chain."""

    def __init__(self):
        super().__init__()
        self.stem.register_forward_pre_hook(lambda module, args: args[0].mul_(3))


class Comparing(Evaluator):
    """Reads its batch behind the model's call."""

    def validation_step(self, batch, index):
        logits = self.model(batch[0])
        loss = nn.functional.cross_entropy(logits, batch[1])
        self.log("val_loss", loss + batch[0].square().mean())


@pytest.mark.parametrize("evaluator", [Evaluator, Comparing])
@pytest.mark.parametrize("space", [Tripling, TriplingStem])
def test_a_model_that_writes_into_its_input_does_not_change_scores(space, evaluator):
    check(trained(evaluator(), space()), "val_loss")


class Counting(LightningModule):
    """Its loss depends on how often it has been asked, and on a generator of its own."""

    def __init__(self):
        super().__init__()
        self.n, self.generator = 0, torch.Generator().manual_seed(0)

    def training_step(self, batch, index):
        self.n += 1
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    def validation_step(self, batch, index):
        self.n += 1
        noise = torch.randn(batch[0].shape, generator=self.generator)
        loss = nn.functional.cross_entropy(self.model(batch[0] + noise), batch[1])
        self.log("val_loss", loss * self.n)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_children_are_scored_from_the_same_state_of_the_evaluator():
    module = trained(Counting(), metric="val_loss")
    evaluator = module.training_module
    before = (evaluator.n, evaluator.generator.get_state().tolist())
    scores = [module.scorer(child) for child in (CHILD, OTHER, CHILD)]
    assert scores[0] == scores[2] != scores[1]
    assert (evaluator.n, evaluator.generator.get_state().tolist()) == before


class Rows(Evaluator):
    """Gathers rows over a validation and over a training epoch, and notes how many there were."""

    def __init__(self):
        super().__init__()
        self.rows, self.trained_rows, self.seen = [], [], []

    def training_step(self, batch, index):
        self.trained_rows.append(len(batch[0]))
        return super().training_step(batch, index)

    def validation_step(self, batch, index):
        self.rows.append(len(batch[0]))
        return super().validation_step(batch, index)

    def on_validation_epoch_end(self):
        self.seen.append(("validated", sum(self.rows)))
        self.rows.clear()

    def on_train_epoch_end(self):
        self.seen.append(("trained", sum(self.trained_rows)))
        self.trained_rows.clear()


def test_an_epoch_gathers_the_rows_of_the_whole_panel_and_nothing_of_scoring():
    settings = {"max_epochs": 2, "num_sanity_val_steps": 1}
    module = trained(Rows(), trainer=settings, calibration_batches=1)
    rows, panel = len(IMAGES), 2  # children that ``trained`` validates
    assert module.training_module.seen == [
        ("validated", panel * BATCH),  # Lightning's check before training
        *[("validated", panel * rows), ("trained", rows)] * 2,
    ]
    assert LABELS.shape == (rows,)


class Stepping(Evaluator):
    """Logs for steps, for the epoch and for both; by keyword and by place."""

    def report(self, logits, loss, labels):
        self.log("last", loss, on_step=True, on_epoch=False)
        self.log("placed", loss, False, True, True, False)
        self.log("both", loss, on_step=True, on_epoch=True)
        self.log("sum", loss, False, True, True, None, "sum")
        self.accuracy.update(logits, labels)
        self.log("val_acc", self.accuracy, on_step=True, on_epoch=True)

    def on_validation_start(self):
        self.total = torch.zeros(())

    def on_validation_batch_end(self, outputs, batch, batch_idx):
        self.total += outputs
        self.log("running", self.total)


@pytest.fixture(scope="module")
def stepping():
    return trained(Stepping(), metric="both", mode="min")


@pytest.mark.parametrize("name", ["both", "both_epoch", "sum", "sum_epoch", "running"])
def test_a_metric_that_is_logged_for_steps_too_is_that_of_a_validation(stepping, name):
    stepping.scorer.metric = name
    check(stepping, name, mode="min")


def test_a_torchmetric_that_is_logged_for_steps_too_is_that_of_a_validation(stepping):
    stepping.scorer.metric = "val_acc_epoch"
    expected = [validated(stepping, child, "val_acc_epoch") for child in (CHILD, OTHER)]
    assert [stepping.scorer(child) for child in (CHILD, OTHER)] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["last", "placed", "both_step"])
def test_a_metric_of_steps_alone_is_none_of_a_validations_and_refused(stepping, name):
    with pytest.raises(KeyError, match=name):
        validated(stepping, CHILD, name)
    stepping.scorer.metric = name
    with pytest.raises(
        ValueError,
        match=rf"metric is '{name}'; accepted .*'both_epoch'.*; \['last', 'placed'\] are logged "
        "with on_epoch=False, and have no value",
    ):
        stepping.scorer(CHILD)


def test_a_hook_that_is_a_partial_is_called():
    module = trained(Evaluator())
    evaluator = module.training_module
    evaluator.on_validation_epoch_end = functools.partial(
        lambda value: evaluator.log("extra", value), 3.0
    )
    module.scorer.metric = "extra"
    assert module.scorer(CHILD) == 3.0


class Failing(Evaluator):
    """Fails in its step or in a hook, once it has been trained."""

    fails = None

    def validation_step(self, batch, index):
        if self.fails == "step":
            raise ValueError("labels are out of range")
        return super().validation_step(batch, index)

    def on_validation_epoch_start(self):
        if self.fails == "hook":
            raise ValueError("labels are out of range")


@pytest.mark.parametrize("where", ["step", "hook"])
def test_an_error_of_the_evaluator_leaves_no_child_unchecked(where):
    module = trained(Failing())
    module.training_module.fails = where
    with pytest.raises(ValueError, match="labels are out of range"):
        module.scorer.child(CHILD)


class Swapping(Evaluator):
    """Validates other weights than it trains."""

    def on_validation_start(self):
        self.scale(0.5)

    def on_validation_end(self):
        self.scale(2.0)

    @torch.no_grad()
    def scale(self, factor):
        torch._foreach_mul_(list(self.model.parameters()), factor)


def test_a_child_is_built_while_no_weights_are_swapped():
    module = trained(Swapping())
    before = [weight.clone() for weight in module.model.parameters()]
    child = module.scorer.child(CHILD)
    assert all(map(torch.equal, before, module.model.parameters()))
    expected = module.model.freeze(CHILD).eval()(IMAGES)
    torch.testing.assert_close(child.eval()(IMAGES), expected)
    check(module, "val_loss")


class Twice(Evaluator):
    """Logs one name in its step and at the end of the epoch, and another at the start."""

    def on_validation_epoch_start(self):
        self.seen = 0
        self.log("late", 5.0)

    def report(self, logits, loss, labels):
        self.seen += loss
        self.log("val_loss", loss)
        self.log("late", loss)

    def on_validation_epoch_end(self):
        self.log("val_loss", 10 * self.seen)


@pytest.mark.parametrize("name", ["val_loss", "late"])
def test_a_name_that_step_and_epoch_log_is_the_latters(name):
    check(trained(Twice(), metric=name, mode="min"), name, mode="min")
