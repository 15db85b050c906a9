"""Evaluators that optimize by hand: trained as by plain Lightning, or refused by name."""

import copy

import pytest
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from spaces import ChainSpace, ConvSpace, set_path, supernet
from torch import nn
from training import QUIET, Watch, images, make, train
from twins import Twins

from nni_magic.analysis.during_training import LogInterference
from nni_magic.search import ChildEvaluator

torch.set_num_threads(1)


def batches(**settings):
    return DataLoader(images(), batch_size=8, **settings)


class OneOptimizer(LightningModule):
    """Accumulates over two batches, clips, and steps a schedule."""

    automatic_optimization = False
    every = 2

    def loss(self, batch):
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        if batch_idx % self.every == 0:
            optimizer.zero_grad()
        self.manual_backward(self.loss(batch) / self.every)
        if (batch_idx + 1) % self.every == 0:
            self.clip_gradients(optimizer, gradient_clip_val=0.5)
            optimizer.step()
            self.lr_schedulers().step()

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]


class TwoOptimizers(OneOptimizer):
    """Takes turns: the stem by one optimizer, all above it by another."""

    def training_step(self, batch):
        losses = []
        for optimizer in self.optimizers():
            self.toggle_optimizer(optimizer)
            losses.append(loss := self.loss(batch))
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            self.untoggle_optimizer(optimizer)
        return {"loss": losses[0].detach(), "other": losses[1].detach()}

    def configure_optimizers(self):
        stem = list(self.model.stem.parameters())
        known = set(map(id, stem))
        above = [weight for weight in self.parameters() if id(weight) not in known]
        return [torch.optim.SGD(stem, lr=0.1), torch.optim.Adam(above, lr=0.01)]


class Extras(TwoOptimizers):
    """Gives a dict without a loss."""

    def training_step(self, batch):
        return {"other": super().training_step(batch)["other"]}


def lightning(module, callbacks=(), epochs=2):
    trainer = Trainer(max_epochs=epochs, callbacks=list(callbacks), **QUIET)
    return Lightning(module, trainer, batches(), batches())


class Steps(Watch):
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.steps.append((trainer.global_step, dict(module.child)))


class Follow(pl.Callback):
    """Sets the path of a supernet in plain training to the children of another training."""

    def __init__(self, steps):
        self.children = iter([child for _, child in steps])

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        set_path(module.model, next(self.children))


@pytest.mark.parametrize("name", ["spos", "magic_t"])
@pytest.mark.parametrize("evaluator", [OneOptimizer, TwoOptimizers, Extras])
def test_training_by_hand_gives_the_weights_of_plain_lightning(evaluator, name):
    torch.manual_seed(0)
    space, watch = ChainSpace(dropout=0.0), Steps()
    plain, settings = supernet(copy.deepcopy(space)), {"calibration_batches": 0}
    strategy = train(make(name, **settings), space, lightning(evaluator(), [watch]))
    module = evaluator()
    module.set_model(plain)
    Trainer(max_epochs=2, callbacks=[Follow(watch.steps)], **QUIET).fit(module, batches())
    found = strategy.oneshot_module.model.state_dict()
    assert len({str(child) for _, child in watch.steps}) > 2
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(found[key], value, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("evaluator", "children"), [(OneOptimizer, 3), (TwoOptimizers, 6)])
def test_there_is_another_child_when_an_optimizer_has_stepped(evaluator, children):
    watch = Steps()
    train(make("spos"), ConvSpace(), lightning(evaluator(), [watch], epochs=1))
    drawn = [watch.steps[0][1]]
    for (step, child), (before, previous) in zip(watch.steps[1:], watch.steps, strict=False):
        assert step >= before
        if child != previous:
            drawn.append(child)
    assert len(watch.steps) == 6 and len(drawn) == children


def test_children_are_scored_as_calibrated_and_nothing_is_optimized():
    module = TwoOptimizers()
    evaluator = lightning(module)
    strategy = train(make("spos", metric="val_loss"), ConvSpace(), evaluator)
    net = strategy.oneshot_module.model
    for weight in net.parameters():
        weight.grad = torch.ones_like(weight)
    before = copy.deepcopy(net.state_dict())
    child = strategy.oneshot_module.export()
    evaluate = ChildEvaluator(net, lightning(TwoOptimizers()))
    [score] = evaluate([child])
    with torch.no_grad():
        network = evaluate.child(child).eval()
        losses = [nn.functional.cross_entropy(network(x), y).item() for x, y in list(batches())[:4]]
    assert score == pytest.approx(sum(losses) / 4, rel=1e-6)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(w.requires_grad and w.grad.eq(1).all() for w in net.parameters())


class TwoChildren(Twins):
    """Two children a step, and no terms."""

    def make_terms(self):
        return []


@pytest.mark.parametrize(("strategy", "why"), [
    (make("magic_a"), "alignment_loss is to be added"),
    (make("magic_at"), "alignment_loss is to be added"),
    (TwoChildren(seed=0), "TwinSampler may train or probe several children"),
])  # fmt: skip
def test_what_adds_to_the_loss_is_refused_at_the_start(strategy, why):
    watch = Watch()
    with pytest.raises(ValueError, match=f"automatic_optimization of One.* is False; .*{why}"):
        train(strategy, ChainSpace(), lightning(OneOptimizer(), [watch]))
    assert watch.steps == []


def test_interference_is_not_measured_of_steps_by_hand():
    evaluator = lightning(OneOptimizer(), [LogInterference()])
    with pytest.raises(ValueError, match=r"automatic_optimization of One.*: LogInterference takes"):
        train(make("spos"), ChainSpace(), evaluator)


def test_a_dict_without_a_loss_is_left_to_lightning():
    class Automatic(Extras):
        automatic_optimization = True

        def training_step(self, batch):
            return {"other": self.loss(batch)}

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    with pytest.raises(Exception, match="the 'loss' key needs to be present"):
        train(make("spos"), ChainSpace(), lightning(Automatic()))


def test_a_step_that_reads_its_batches_by_itself_is_refused():
    class Reading(OneOptimizer):
        def training_step(self, dataloader_iter):
            raise AssertionError

    with pytest.raises(ValueError, match="training_step of Reading takes dataloader_iter; accepte"):
        train(make("spos"), ChainSpace(), lightning(Reading()))
