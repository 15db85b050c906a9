"""BatchNorm statistics of children: taken, put in place, and taken away again."""

from itertools import islice

import pytest
import torch
from nni.nas.evaluator.pytorch import DataLoader
from nni.nas.oneshot.pytorch.sampling import RandomSamplingLightningModule
from scores import images, lightning, losses_by_hand, population, recalibrated_losses, trained
from spaces import ChainSpace, ConvSpace, FlatSpace, WidthSpace
from torch import nn

from nni_magic.scoring.scorer import Scorer
from nni_magic.supernet.calibration import Calibrator, Statistics, tracking_norms
from nni_magic.supernet.connection import connect


def test_tracking_norms_are_those_with_running_statistics():
    wanted = nn.BatchNorm2d(2)
    model = nn.Sequential(
        wanted, nn.Sequential(wanted, nn.BatchNorm1d(2)), nn.LayerNorm(2),
        nn.BatchNorm2d(2, track_running_stats=False),
        nn.InstanceNorm2d(2, track_running_stats=True),
    )  # fmt: skip
    assert tracking_norms([model, model[1]]) == [wanted, model[1][1]]
    assert tracking_norms([FlatSpace()]) == []
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.BatchNorm2d(2)))
    assert tracking_norms([synchronised]) == [synchronised[0]]


@pytest.mark.parametrize("momentum", [0.1, None])
def test_statistics_are_plain_averages_over_batches(momentum):
    norm = nn.BatchNorm1d(3, momentum=momentum).eval()
    norm.running_mean.fill_(7)
    batches = torch.randn(4, 10, 3) * 2 + 1
    with Statistics([norm]) as statistics:
        with statistics.taken():
            for batch in batches:
                norm(batch)
        assert not norm.training
        torch.testing.assert_close(norm.running_mean, batches.mean(1).mean(0))
        torch.testing.assert_close(norm.running_var, batches.var(1).mean(0))
    assert norm.momentum == momentum
    assert norm.running_mean.tolist() == [7, 7, 7] and norm.num_batches_tracked == 0


def test_statistics_come_back_after_an_error():
    norm = nn.BatchNorm1d(3).eval()
    own = norm.running_mean
    statistics = Statistics([norm])
    with pytest.raises(ValueError, match="expected 2D or 3D"), statistics, statistics.taken():
        norm(torch.randn(3))
    assert norm.running_mean is own and own.tolist() == [0, 0, 0]
    assert not norm.training and norm.momentum == 0.1


def test_statistics_can_be_put_in_place_again():
    norm = nn.BatchNorm1d(3).eval()
    one, other = Statistics([norm]), Statistics([norm])
    for statistics, batch in ((one, torch.randn(10, 3) + 5), (other, torch.randn(10, 3))):
        with statistics, statistics.taken():
            norm(batch)
    for statistics in (one, other, one):
        with statistics:
            assert (norm.running_mean.mean() > 3) == (statistics is one)
            assert norm.num_batches_tracked == 1
        assert norm.running_mean.tolist() == [0, 0, 0]


# Scores of children, one by one


def scorer(net, *, train=None, n_batches=2):
    """A scorer as strategies have one, without any training."""
    evaluator = lightning(train=train)
    module = RandomSamplingLightningModule(evaluator.module)
    connect(module, net, evaluator)
    return evaluator, Scorer(
        module, metric=None, mode="min", n_batches=4,
        loaders=evaluator.val_dataloaders,
        calibrator=Calibrator(module, lambda: evaluator.train_dataloaders, n_batches),
    )  # fmt: skip


def score_in_evaluation(net, score, sample):
    """Modules of the child of a supernet that is in evaluation mode for it."""
    net.eval()
    child = score.child(sample)
    net.train()
    return child.modules()


def training_data(**settings):
    return DataLoader(images(40), batch_size=16, **settings)


@pytest.mark.parametrize("space", [ChainSpace, ConvSpace, WidthSpace])
def test_score_is_that_of_the_recalibrated_child(space):
    net = trained(space).train()
    before = {name: (t.clone(), t._version) for name, t in net.state_dict(keep_vars=True).items()}
    evaluator, score = scorer(net, train=training_data())
    children = population(net, 4)[:6]
    found = [score(child) for child in children]
    after = net.state_dict(keep_vars=True)
    assert all(torch.equal(t, after[name]) for name, (t, _) in before.items())
    assert all(version == after[name]._version for name, (_, version) in before.items())
    assert all(module.training for module in net.modules())
    batches = list(islice(training_data(), 2))
    assert found == pytest.approx(recalibrated_losses(net, children, evaluator, batches), rel=1e-5)


@pytest.mark.parametrize("space", [ChainSpace, ConvSpace, WidthSpace])
def test_stand_alone_child_has_the_statistics_and_modes(space):
    net = trained(space).train()
    evaluator, score = scorer(net, train=training_data())
    for sample in population(net, 3)[:4]:
        child = score.child(sample)
        assert all(module.training for module in child.modules())
        assert not any(module.training for module in score_in_evaluation(net, score, sample))
        assert {getattr(module, "momentum", 0.1) for module in child.modules()} == {0.1}
        shared = {id(t) for t in net.state_dict(keep_vars=True).values()}
        assert shared.isdisjoint(id(t) for t in child.state_dict(keep_vars=True).values())
        pairs = [(child.eval()(x), y) for x, y in evaluator.val_dataloaders]
        losses = [nn.functional.cross_entropy(*pair, reduction="sum").item() for pair in pairs]
        assert sum(losses) / 20 == pytest.approx(score(sample), rel=1e-5)


def test_batches_are_read_once_and_the_same_in_every_run():
    net, scores = trained(ChainSpace), []
    child = population(net, 1)[0]
    for seed in (3, 4):
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        for data in (training_data(shuffle=True), training_data(shuffle=True, generator=generator)):
            _, score = scorer(net, train=data)
            before = torch.get_rng_state(), generator.get_state()
            scores.append(score(child))
            assert score(child) == scores[-1]
            assert torch.equal(torch.get_rng_state(), before[0])
            assert torch.equal(generator.get_state(), before[1])
            calls = score.calibrator._calls
            score(child)
            assert score.calibrator._calls is calls
            score.reset()
            assert score(child) == scores[-1]
            assert score.calibrator._calls is not calls
    assert scores[0] == scores[2] and scores[1] == scores[3]


def test_without_batches_the_supernets_statistics_stay():
    net = trained(ChainSpace)
    children = population(net, 4)[:4]
    evaluator, score = scorer(net, n_batches=0)
    expected = losses_by_hand(net, children, evaluator)
    assert [score(child) for child in children] == pytest.approx(expected, rel=1e-6)


def test_synchronised_norms_are_norms():
    """Without a process group torch's SyncBatchNorm computes what BatchNorm does."""
    net = trained(ChainSpace)
    children = population(net, 4)[:4]
    _, score = scorer(net, train=training_data())
    expected = [score(child) for child in children]
    net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert {type(norm) for norm in tracking_norms([net])} == {nn.SyncBatchNorm}
    _, score = scorer(net, train=training_data())
    assert [score(child) for child in children] == expected


@pytest.mark.parametrize("n_batches", [-1, 1.5, False])
def test_number_of_batches_out_of_range(n_batches):
    with pytest.raises(ValueError, match=f"calibration_batches is {n_batches}; .* of at least 0"):
        Calibrator(None, lambda: None, n_batches)


@pytest.mark.parametrize("kind", ["plain", "variable"])
def test_statistics_are_plain_averages_over_all_calls_of_a_norm(kind):
    if kind == "plain":
        norm = nn.BatchNorm2d(6)
    else:
        norm = trained(WidthSpace).norm
        norm.resample({"width": 6})
    norm.eval()
    first, second = torch.randn(2, 3, 5, 6, 4, 4) * 2 + 1  # three batches of each
    with Statistics([norm]) as statistics, statistics.taken():
        for one, other in zip(first, second, strict=True):
            norm(one)
            norm(norm(other))
    seen = [(x - x.mean((0, 2, 3), keepdim=True)) for x in second]
    calls = [*first, *second]
    calls += [x / (x.var((0, 2, 3), keepdim=True, correction=0) + norm.eps).sqrt() for x in seen]
    with statistics:
        calls[6:] = [norm.weight[:, None, None] * x + norm.bias[:, None, None] for x in calls[6:]]
        mean = torch.stack([x.mean((0, 2, 3)) for x in calls]).mean(0)
        variance = torch.stack([x.var((0, 2, 3)) for x in calls]).mean(0)
        torch.testing.assert_close(norm.running_mean, mean, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(norm.running_var, variance)
