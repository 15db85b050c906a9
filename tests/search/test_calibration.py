"""BatchNorm statistics of children, against stand-alone children recalibrated the long way."""

import copy
from itertools import islice

import nni
import numpy as np
import pytest
import torch
from nni.nas.evaluator.pytorch import DataLoader
from nni.nas.nn.pytorch import ModelSpace, MutableBatchNorm2d, MutableConv2d, MutableLinear
from scores import Images, images, lightning, losses_by_hand, population, trained
from spaces import ChainSpace, ConvSpace, FlatSpace, MixedSpace
from torch import nn
from torch.nn.functional import cross_entropy
from training import Watch, bert, dict_evaluator

from nni_magic.search import ChildEvaluator
from nni_magic.search.calibration import Calibration, tracking_norms

TRAIN = images(40)


class WidthSpace(ModelSpace):
    """BatchNorm of variable width; ``(batch, 1, 8, 8)`` to ``(batch, 10)``."""

    def __init__(self):
        super().__init__()
        width = nni.choice("width", [2, 4, 6])
        self.conv = MutableConv2d(1, width, 3, padding=1)
        self.norm = MutableBatchNorm2d(width)
        self.head = MutableLinear(width, 10)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))


def recalibrated_losses(net, samples, evaluator, batches):
    """Of the children frozen out of the supernet: statistics reset, averaged over batches."""
    losses = []
    for sample in samples:
        child = copy.deepcopy(net.freeze(sample))
        child.train()
        for module in child.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None
            if isinstance(module, nn.Dropout):
                module.eval()
        with torch.no_grad():
            for batch in batches:
                child(batch[0])
            child.eval()
            pairs = [(child(x), y) for x, y in islice(evaluator.val_dataloaders, 4)]
        means = [cross_entropy(logits, labels).item() for logits, labels in pairs]
        losses.append(float(np.average(means, weights=[len(labels) for _, labels in pairs])))
    return losses


def training_data(**settings):
    return DataLoader(TRAIN, batch_size=16, **settings)


@pytest.mark.parametrize("memory", [1, 2**28])
@pytest.mark.parametrize("space", [ChainSpace, ConvSpace, MixedSpace, WidthSpace])
def test_scores_are_those_of_recalibrated_children(space, memory, caplog):
    net, evaluator = trained(space), lightning(train=training_data())
    children = population(net, 6)[:12]
    before = {name: (t.clone(), t._version) for name, t in net.state_dict(keep_vars=True).items()}
    own = {name: id(t) for name, t in net.named_buffers()}
    evaluate = ChildEvaluator(net, evaluator, calibration_batches=2, memory=memory)
    found = evaluate(children)
    after = net.state_dict(keep_vars=True)
    assert all(torch.equal(t, after[name]) for name, (t, _) in before.items())
    assert all(version == after[name]._version for name, (_, version) in before.items())
    assert own == {name: id(t) for name, t in net.named_buffers()}
    batches = list(islice(training_data(), 2))
    assert found == pytest.approx(
        recalibrated_losses(net, children, evaluator, batches), rel=1e-5
    )
    assert "alone" not in caplog.text
    if space is ChainSpace and memory > 1:
        assert evaluate.calls == evaluate.needed_calls(children)


@pytest.mark.parametrize("space", [ChainSpace, ConvSpace])
def test_without_recalibration_scores_are_others(space):
    net, evaluator = trained(space), lightning(train=training_data())
    children = population(net, 6)[:8]
    as_they_are = ChildEvaluator(net, evaluator, calibration_batches=0)(children)
    assert as_they_are == pytest.approx(losses_by_hand(net, children, evaluator), rel=1e-6)
    anew = ChildEvaluator(net, evaluator, calibration_batches=2)(children)
    assert all(abs(a - b) > 1e-4 for a, b in zip(as_they_are, anew, strict=True))


def test_recalibration_where_every_child_runs_alone():
    class Twice(Images):
        def validation_step(self, batch, index):
            self.model(batch[0] + 1)
            self.log("val_loss", cross_entropy(self.model(batch[0]), batch[1]))

    net, evaluator = trained(ChainSpace), lightning(Twice(), train=training_data())
    children = population(net, 6)[:12]
    evaluate = ChildEvaluator(net, evaluator, calibration_batches=2)
    expected = recalibrated_losses(net, children, evaluator, list(islice(training_data(), 2)))
    assert evaluate(children) == pytest.approx(expected, rel=1e-5)
    assert evaluate.calls == 0


def test_shuffled_training_data_are_the_same_batches_every_time():
    net = trained(ChainSpace)
    children = population(net, 6)[:5]
    scores = []
    for seed in (3, 4):
        torch.manual_seed(seed)
        evaluator = lightning(train=training_data(shuffle=True))
        scores.append(ChildEvaluator(net, evaluator, calibration_batches=2)(children))
    assert scores[0] == scores[1]


def test_a_loaders_own_generator_stays_where_it_was():
    net, generator = trained(ChainSpace), torch.Generator().manual_seed(9)
    children, scores = population(net, 6)[:5], []
    for _ in range(2):
        loader = training_data(shuffle=True, generator=generator)
        before = generator.get_state()
        evaluate = ChildEvaluator(net, lightning(train=loader), calibration_batches=2)
        scores.append(evaluate(children))
        assert torch.equal(generator.get_state(), before)
        torch.rand(1, generator=generator)  # training goes on
    assert scores[0] == scores[1]


@pytest.mark.parametrize("loaders", [None, []])
def test_batchnorm_without_training_data_raises(loaders):
    evaluate = ChildEvaluator(trained(ChainSpace), lightning(train=loaders))
    with pytest.raises(ValueError, match=r"ChainSpace has BatchNorm.*train_dataloaders.*=0 to use"):
        evaluate(population(evaluate._model)[:1])


@pytest.mark.parametrize("loaders", [None, []])
def test_without_batchnorm_no_training_data_are_needed(loaders):
    evaluator = dict_evaluator(Watch())
    evaluator.train_dataloaders = loaders
    net = trained(bert)
    children = population(net)[:3]
    assert ChildEvaluator(net, evaluator)(children) == pytest.approx(
        losses_by_hand(net, children, evaluator), rel=1e-6
    )


# The two parts by themselves


def test_tracking_norms_are_those_with_running_statistics():
    wanted = nn.BatchNorm2d(2)
    model = nn.Sequential(
        wanted, nn.Sequential(wanted, nn.BatchNorm1d(2)), nn.LayerNorm(2),
        nn.BatchNorm2d(2, track_running_stats=False),
        nn.InstanceNorm2d(2, track_running_stats=True),
    )  # fmt: skip
    assert tracking_norms([model, model[1]]) == [wanted, model[1][1]]
    assert tracking_norms([FlatSpace()]) == []


@pytest.mark.parametrize("momentum", [0.1, None])
def test_statistics_are_plain_averages_over_batches(momentum):
    norm = nn.BatchNorm1d(3, momentum=momentum).eval()
    norm.running_mean.fill_(7)
    batches = torch.randn(4, 10, 3) * 2 + 1
    with Calibration([norm]) as calibration:
        for index, batch in enumerate(batches):
            with calibration.batch(index):
                norm(batch)
        assert not norm.training
        torch.testing.assert_close(norm.running_mean, batches.mean(1).mean(0))
        torch.testing.assert_close(norm.running_var, batches.var(1).mean(0))
    assert norm.momentum == momentum
    assert norm.running_mean.tolist() == [7, 7, 7] and norm.num_batches_tracked == 0


def test_statistics_come_back_after_an_error():
    norm = nn.BatchNorm1d(3).eval()
    own = norm.running_mean
    calibration = Calibration([norm])
    with pytest.raises(ValueError, match="expected 2D or 3D"), calibration, calibration.batch(0):
        norm(torch.randn(3))
    assert norm.running_mean is own and own.tolist() == [0, 0, 0]
    assert not norm.training and norm.momentum == 0.1
