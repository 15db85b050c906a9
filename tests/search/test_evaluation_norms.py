"""Scores of children with BatchNorm: those of stand-alone children recalibrated the long way."""

from itertools import islice

import pytest
import torch
from nni.nas.evaluator.pytorch import DataLoader
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.hub.pytorch import ProxylessNAS
from nni.nas.space import RawFormatModelSpace
from scipy.stats import kendalltau
from scores import (
    Images,
    images,
    lightning,
    losses_by_hand,
    population,
    recalibrated_losses,
    trained,
)
from sklearn.datasets import load_digits
from spaces import ChainSpace, ConvSpace, MixedSpace, WidthSpace
from torch.nn.functional import cross_entropy
from torch.utils.data import DistributedSampler, RandomSampler, TensorDataset
from training import Watch, bert, dict_evaluator, make, train

from nni_magic.search import ChildEvaluator, Evolution
from search_spaces import ProxylessNASSpace

TRAIN = images(40)


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
    assert found == pytest.approx(recalibrated_losses(net, children, evaluator, batches), rel=1e-5)
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
    assert evaluate.calls == len({tuple(sorted(child.items())) for child in children})


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


def test_a_samplers_epoch_and_generator_stay_where_they_were():
    net, generator = trained(ChainSpace), torch.Generator().manual_seed(9)
    children = population(net, 6)[:5]
    by_epoch = DistributedSampler(TRAIN, num_replicas=1, rank=0)
    for sampler in (by_epoch, RandomSampler(TRAIN, generator=generator)):
        scores = []
        for epoch in (0, 3):
            by_epoch.set_epoch(epoch)
            before = generator.get_state()
            evaluator = lightning(train=training_data(sampler=sampler))
            scores.append(ChildEvaluator(net, evaluator, calibration_batches=2)(children))
            assert torch.equal(generator.get_state(), before)
            assert by_epoch.epoch == epoch
            torch.rand(1, generator=generator)  # training goes on
        assert scores[0] == scores[1]


@pytest.mark.parametrize("loaders", [
    None, [], DataLoader(TRAIN, batch_size=64, drop_last=True),
])  # fmt: skip
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


# ProxylessNAS: ours, with blocks left out, and that of NNI's hub, with its depths


def ours():
    return ProxylessNASSpace.preset("tiny", resolution=8, dropout=0.2)


def hub():
    return ProxylessNAS(10, width_mult=0.25, dropout_rate=0.2)


PROXYLESS = {ours: {}, hub: {"size": 32, "channels": 3}}


def proxyless(space):
    """A supernet, its evaluator, and the batches to calibrate on."""
    data = DataLoader(images(32, **PROXYLESS[space]), batch_size=16)
    return trained(space), lightning(data=images(**PROXYLESS[space]), train=data), list(data)


@pytest.mark.parametrize("space", PROXYLESS)
def test_scores_of_proxylessnas_are_those_of_recalibrated_children(space, caplog):
    net, evaluator, batches = proxyless(space)
    children = population(net, 4)[:8]
    found = ChildEvaluator(net, evaluator, calibration_batches=2)(children)
    assert found == pytest.approx(recalibrated_losses(net, children, evaluator, batches), rel=1e-4)
    assert "alone" not in caplog.text


@pytest.mark.parametrize("space", [ChainSpace, ConvSpace, MixedSpace, WidthSpace, *PROXYLESS])
def test_child_has_the_statistics_of_its_score(space):
    if space in PROXYLESS:
        net, evaluator, _ = proxyless(space)
    else:
        net, evaluator = trained(space), lightning(train=training_data())
    evaluate, children = ChildEvaluator(net, evaluator, calibration_batches=2), population(net)[:2]
    for score, sample in zip(evaluate(children), children, strict=True):
        child = evaluate.child(sample).eval()
        with torch.no_grad():
            losses = [
                cross_entropy(child(x), y, reduction="sum").item()
                for x, y in evaluator.val_dataloaders
            ]
        assert sum(losses) / 20 == pytest.approx(score, rel=1e-4)
    assert evaluate(children) == ChildEvaluator(net, evaluator, calibration_batches=2)(children)


def test_child_of_another_space_is_refused():
    evaluate = ChildEvaluator(trained(ChainSpace), lightning(train=training_data()))
    with pytest.raises(ValueError, match=r"of another space: it lacks \['block_1'"):
        evaluate.child({})


def test_evolution_lists_children_with_the_statistics_of_their_scores():
    net, evaluator = trained(ConvSpace), lightning(train=training_data())
    strategy = Evolution(generations=1, population=6, seed=0)
    strategy(RawFormatModelSpace.from_model(net, evaluator), SequentialExecutionEngine())
    weights = {id(t) for t in net.state_dict(keep_vars=True).values()}
    for model in strategy.list_models(limit=3):
        assert model.status.frozen() and net.contains(model.sample)
        child = model.executable_model().eval()
        losses = [
            cross_entropy(child(x), y, reduction="sum").item() for x, y in evaluator.val_dataloaders
        ]
        assert sum(losses) / 20 == pytest.approx(model.metric, rel=1e-5)
        assert weights.isdisjoint(id(t) for t in child.state_dict(keep_vars=True).values())


def test_the_supernets_statistics_misrank_children():
    """They fit none: the loss is that of guessing, and the order says nothing."""
    digits = load_digits()
    data = TensorDataset(
        torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16, torch.tensor(digits.target)
    )
    torch.manual_seed(0)
    space = ProxylessNASSpace.preset(
        "tiny", resolution=8, stages=[(8, 3, 2), (8, 3, 1)], stem_channels=8, head_channels=32
    )
    training = TensorDataset(*data[:512])
    evaluator = lightning(
        data=TensorDataset(*data[512:768]), batch_size=256, max_epochs=5,
        train=DataLoader(training, batch_size=32, shuffle=True),
    )  # fmt: skip
    net = train(make("spos", validation_children=1), space, evaluator).supernet
    children = population(net, 12, seed=1)[:12]
    truth = recalibrated_losses(net, children, evaluator, list(DataLoader(training, 256)))
    scores = {n: ChildEvaluator(net, evaluator, calibration_batches=n)(children) for n in (0, 4)}
    taus = {n: kendalltau(truth, found).statistic for n, found in scores.items()}
    assert taus[4] > 0.7 and taus[0] < 0.4, taus
    errors = {
        n: max(abs(a - b) for a, b in zip(found, truth, strict=True)) for n, found in scores.items()
    }
    assert errors[0] > 5 * errors[4], errors
