"""When the chain cannot be used: every child is run alone, and the scores are right."""

import logging
import random

import numpy as np
import pytest
import torch
from nni.nas.nn.pytorch import InputChoice, LayerChoice, ModelSpace
from scores import Images, images, lightning, losses_by_hand, population, trained
from spaces import ChainSpace, ConvSpace, set_path
from torch import nn
from torch.nn.functional import cross_entropy
from training import Watch, classification

from nni_magic.search import ChildEvaluator

IMAGES, LABELS = images().tensors


def scored(net, evaluator, children, **settings):
    evaluate = ChildEvaluator(net, evaluator, **{"calibration_batches": 0, **settings})
    return evaluate(children), evaluate


class Scaled(ChainSpace):
    def forward(self, x, scale=None):
        return super().forward(x, scale) * 1.01


class Pooled(ModelSpace):
    """``head`` is only the last part of what is behind the layers."""

    def __init__(self):
        super().__init__()
        whole = ChainSpace()
        self.stem, self.layers = whole.stem, whole.layers
        self.head = nn.Linear(4, 10)

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean((2, 3)))


class Skipping(ChainSpace):
    """One choice in ten is made outside of the three parts."""

    def __init__(self):
        super().__init__()
        self.classifier.add_module("inputs", InputChoice(3, n_chosen=1, label="inputs"))

    def forward(self, x):
        stem = hidden = self.stem(x)
        for layer in self.layers:
            hidden = layer(hidden)
        hidden = self.classifier.inputs([hidden, stem, hidden])
        return self.head(hidden)

    def head(self, hidden):
        return self.classifier[1](hidden.mean((2, 3)))


class Mixing(ChainSpace):
    """A layer looks at the other members of the batch."""

    def __init__(self):
        super().__init__(n_blocks=3)
        self.layers[2].norm = nn.BatchNorm2d(4, track_running_stats=False)


class Averaging(ChainSpace):
    """What the head gives has no batch."""

    def head(self, hidden):
        return super().head(hidden).mean(0, keepdim=True)


class OneRow(Images):
    def validation_step(self, batch, index):
        self.log("val_loss", self.model(batch[0]).square().mean())


@pytest.mark.parametrize("space", [Scaled, Pooled, Skipping, Mixing])
def test_parts_that_do_not_compose_to_forward_are_noticed(space, caplog):
    net, evaluator = trained(space), lightning()
    children = population(net)
    found, _ = scored(net, evaluator, children)
    assert found == pytest.approx(losses_by_hand(net, children, evaluator), rel=1e-6)
    assert f"stem, layers and head of {space.__name__} do not give what its forward" in caplog.text


def test_outputs_without_a_batch_are_noticed(caplog):
    net, evaluator = trained(Averaging), lightning(OneRow())
    children = population(net)
    found, _ = scored(net, evaluator, children, n_batches=1)
    for score, child in zip(found, children, strict=True):
        set_path(net, child)
        with torch.no_grad():
            assert score == pytest.approx(net.eval()(IMAGES[:8]).square().mean().item(), rel=1e-5)
    assert "Averaging do not give what its forward gives" in caplog.text


def test_right_parts_are_not_warned_about(caplog):
    net = trained(ChainSpace)
    with caplog.at_level(logging.INFO):
        scored(net, lightning(), population(net))
    assert "alone" not in caplog.text


class Twice(Images):
    """Averages over an image and its mirror image."""

    def validation_step(self, batch, index):
        logits = self.model(batch[0]) + self.model(batch[0].flip(3))
        self.log("val_loss", cross_entropy(logits / 2, batch[1]))


def test_an_evaluator_that_calls_the_model_twice(caplog):
    net = trained(ChainSpace)
    children = population(net)
    with caplog.at_level(logging.INFO):
        found, evaluate = scored(net, lightning(Twice()), children)
    for score, child in zip(found, children, strict=True):
        set_path(net, child)
        with torch.no_grad():
            logits = (net.eval()(IMAGES) + net(IMAGES.flip(3))) / 2
        assert score == pytest.approx(cross_entropy(logits, LABELS).item(), rel=1e-5)
    assert "Every child is run alone" in caplog.text
    assert evaluate.calls == len({tuple(sorted(child.items())) for child in children})


class Masking(Images):
    """Hides random pixels, drawn by each of the three generators."""

    def validation_step(self, batch, index):
        mask = torch.rand(8, 8) < 0.5
        mask[:4] = torch.from_numpy(np.random.rand(4, 8) < 0.5)
        mask[:, 0] = random.random() < 0.5
        self.log("val_loss", cross_entropy(self.model(batch[0] * mask), batch[1]))


@pytest.mark.parametrize("seed", [0, 7])
def test_an_evaluator_that_masks_at_random_gives_all_children_the_same_masks(seed):
    net, module = trained(ChainSpace), Masking()
    children = population(net)
    torch.manual_seed(seed)  # what others have drawn does not matter
    found, evaluate = scored(net, lightning(module), children)
    expected = []
    for child in children:
        set_path(net, child)
        net.eval()
        torch.manual_seed(0), np.random.seed(0), random.seed(0)
        losses = []
        module.log = lambda name, value, losses=losses: losses.append(value.item())
        for i in (0, 8, 16):
            module.validation_step((IMAGES[i : i + 8], LABELS[i : i + 8]), 0)
        expected.append(float(np.average(losses, weights=[8, 8, 4])))
    assert found == pytest.approx(expected, rel=1e-5)
    del module.log
    with torch.no_grad():
        net.classifier[1].bias += 1e-7  # all are scored again, with the same masks
    assert evaluate(children[:5]) == pytest.approx(expected[:5], rel=1e-4)


class KeepsState(ChainSpace):
    """Keeps what its loss is to be of beside the output."""

    def forward(self, x, scale=None):
        self.kept = super().forward(x, scale)
        return self.kept


class KeepsStateToo(ConvSpace):
    def forward(self, x):
        self.kept = super().forward(x)
        return self.kept


class ReadsState(Images):
    def validation_step(self, batch, index):
        self.model(batch[0])
        logits = self.model.kept
        self.log("val_loss", cross_entropy(logits, batch[1][: len(logits)]))


@pytest.mark.parametrize("space", [KeepsState, KeepsStateToo])
def test_an_evaluator_that_reads_more_of_the_model_than_its_outputs(space):
    net, evaluator = trained(space), lightning(ReadsState())
    children = population(net)
    found, _ = scored(net, evaluator, children)
    assert found == pytest.approx(losses_by_hand(net, children, evaluator), rel=1e-6)


class RandomLoss(Images):
    """Calls the model alike for all children, and draws afterwards."""

    def validation_step(self, batch, index):
        kept = torch.rand(len(batch[1])) < 0.5
        self.log("val_loss", cross_entropy(self.model(batch[0])[kept], batch[1][kept]))


def test_an_evaluator_that_draws_behind_the_model_draws_the_same_for_all():
    net = trained(ChainSpace)
    children = population(net)
    first, evaluate = scored(net, lightning(RandomLoss()), children)
    second, _ = scored(net, lightning(RandomLoss()), children[::-1])
    assert first == pytest.approx(second[::-1], rel=1e-6)
    assert evaluate.calls > 0


def test_the_scores_are_those_of_a_strategys_scorer():
    """One by one in NNI's own evaluator, as the strategies do it in training."""
    from nni.nas.oneshot.pytorch.sampling import RandomSamplingLightningModule

    from nni_magic.scoring.scorer import Scorer

    net, evaluator = trained(ChainSpace), classification(Watch())
    children = population(net)
    found, _ = scored(net, evaluator, children)
    module = RandomSamplingLightningModule(evaluator.module)
    module.set_model(net)
    module.trainer = evaluator.trainer
    scorer = Scorer(
        module, metric=None, mode="min", n_batches=4,
        loaders=evaluator.val_dataloaders,
    )  # fmt: skip
    assert found == pytest.approx([scorer(child) for child in children], rel=1e-6)


class Labelled(ChainSpace):
    """A label that is shared by two layers."""

    def __init__(self):
        super().__init__()
        for n in (0, 2):
            self.layers[n].operator = LayerChoice(
                {"conv": nn.Conv2d(4, 4, 3, padding=1), "skip": nn.Identity()}, label="shared"
            )


def test_labels_shared_by_layers(caplog):
    net, evaluator = trained(Labelled), lightning()
    children = population(net)
    found, evaluate = scored(net, evaluator, children)
    assert found == pytest.approx(losses_by_hand(net, children, evaluator), rel=1e-6)
    assert evaluate.calls == evaluate.needed_calls(children)
    assert "alone" not in caplog.text
