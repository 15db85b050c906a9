"""DropNAS: how often candidates are dropped, what their step is, and what stays."""

import math

import pytest
import torch
from mixtures import make, run
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from spaces import CellSpace, ConvSpace
from torch import nn

from nni_magic.strategies.differentiable.drop_nas import (
    AdamOfKept,
    Dropped,
    draw_kept,
    weights_of_candidates,
)

torch.set_num_threads(1)


def test_candidates_are_dropped_as_often_as_the_rate_says_and_never_a_whole_group():
    generator, rate, n = torch.Generator().manual_seed(0), 0.1, 4000
    groups = [1, 0, 1, 0, 1]  # three with weights, two without
    kept = torch.stack([draw_kept(groups, rate, generator) for _ in range(n)])
    assert kept[:, [0, 2, 4]].any(1).all() and kept[:, [1, 3]].any(1).all()
    for own, size in (([0, 2, 4], 3), ([1, 3], 2)):
        # All dropped has probability r and is drawn again: (p - r) / (1 - r) for one of them.
        expected = (rate ** (1 / size) - rate) / (1 - rate)
        five_sigma = 5 * math.sqrt(expected * (1 - expected) / n)
        for index in own:
            assert abs(float((~kept[:, index]).double().mean()) - expected) < five_sigma


def test_nothing_is_dropped_at_rate_zero_and_a_single_candidate_never():
    generator = torch.Generator().manual_seed(0)
    assert all(draw_kept([0, 1, 1], 0.0, generator).all() for _ in range(50))
    assert all(draw_kept([0, 1, 1], 0.9, generator)[0] for _ in range(50))


def test_weights_are_the_softmax_of_what_is_kept():
    alpha, mixing = torch.tensor([1.0, 2.0, 0.5]), Dropped()
    mixing.keep(alpha, torch.tensor([True, False, True]))
    total = math.exp(1.0) + math.exp(0.5)
    expected = [math.exp(1.0) / total, 0, math.exp(0.5) / total]
    assert mixing(alpha).tolist() == pytest.approx(expected)
    assert mixing.eval()(alpha).tolist() == pytest.approx(torch.softmax(alpha, 0).tolist())


def test_step_leaves_the_probability_of_what_is_dropped():
    alpha = nn.Parameter(torch.tensor([1.0, 2.0, 0.5, 0.0], dtype=torch.float64))
    free = nn.Parameter(alpha.detach()[[0, 2, 3]].clone())
    mixing = Dropped()
    mixing.keep(alpha, torch.tensor([True, False, True, True]))
    alpha.grad = torch.tensor([1.0, 9.0, -2.0, 0.3], dtype=torch.float64)
    free.grad = alpha.grad[[0, 2, 3]].clone()
    before = alpha.softmax(0)[1].item()
    AdamOfKept([alpha], mixing, 0.1).step()
    torch.optim.Adam([free], 0.1, betas=(0.5, 0.999), weight_decay=1e-3).step()
    assert alpha[1].item() == 2.0
    assert alpha.softmax(0)[1].item() == pytest.approx(before, rel=1e-12)
    # Among the kept ones it is Adam's step.
    torch.testing.assert_close(alpha[[0, 2, 3]].softmax(0), free.softmax(0))


def test_rate_rises_to_the_last_epoch():
    strategy, _ = run("drop_nas", drop_rate=0.3)
    trainer = strategy._module.trainer
    assert trainer.max_epochs == 3 and trainer.current_epoch == 3
    trainer.fit_loop.epoch_progress.current.completed = 0
    assert strategy._rate(trainer) == pytest.approx(0.1)


def test_rate_rises_over_the_epochs_that_the_steps_make():
    strategy, _ = run("drop_nas", "two", drop_rate=0.3, trainer={"max_steps": 9})  # of 6 an epoch
    trainer = strategy._module.trainer
    assert trainer.max_epochs == 3
    trainer.fit_loop.epoch_progress.current.completed = 0
    assert strategy._rate(trainer) == pytest.approx(0.15)


def test_dropped_operator_stays_as_it_is_and_all_learn_again_afterwards():
    strategy = make("drop_nas", drop_rate=0.5)
    strategy.mutate_model(ConvSpace(1))
    [weights] = strategy._weights.values()
    frozen = weights[1][0]
    frozen.requires_grad_(False)
    strategy._frozen.append(frozen)

    class Run:
        seed, trainer = 3, type("T", (), {"global_step": 0, "max_epochs": -1, "max_steps": -1})()

    seen = set()
    [parameter] = strategy.architecture.parameters
    for Run.trainer.global_step in range(20):
        strategy.before_step(Run)
        kept = strategy._mixing.kept(parameter).tolist()
        seen.add(tuple(kept))
        for own, learns in zip(weights, kept, strict=True):
            assert all(each.requires_grad == (learns and each is not frozen) for each in own)
    assert len(seen) > 3


class Nested(ModelSpace):
    """A choice in a candidate, and two candidates of the same weights."""

    def __init__(self):
        super().__init__()
        inner = LayerChoice([nn.Linear(4, 4), nn.Linear(4, 4)], label="inner")
        shared = nn.Linear(4, 4)
        self.outer = LayerChoice(
            [nn.Sequential(inner, nn.ReLU()), shared, nn.Sequential(shared, nn.ReLU())],
            label="outer",
        )

    def forward(self, x):
        return self.outer(x)


def test_weight_learns_where_all_that_it_is_in_is_kept():
    strategy = make("drop_nas", drop_rate=0.9)
    strategy.mutate_model(Nested())
    by_label, outer = strategy.architecture.by_label, strategy.mixture.outer
    seen = set()
    for step in range(30):
        trainer = type("T", (), {"global_step": step, "max_epochs": -1, "max_steps": -1})()
        strategy.before_step(type("M", (), {"seed": 3, "trainer": trainer})())
        first, second, third = strategy._mixing.kept(by_label["outer"]).tolist()
        inner = strategy._mixing.kept(by_label["inner"]).tolist()
        found = [outer[0][0][i].weight.requires_grad for i in range(2)]
        assert found == [first and own for own in inner]
        assert outer[1].weight.requires_grad == (second or third)
        seen.add((first, second, third, *inner))
    assert len(seen) > 4
    assert len(strategy._weights["outer"][0]) == 4  # and no architecture parameter


def test_trained_weights_learn_again_afterwards():
    strategy, _ = run("drop_nas", drop_rate=0.5, trainer={"epochs": 1})
    assert all(each.requires_grad for each in strategy.supernet.parameters())


def test_groups_in_a_cell_are_of_operators_with_weights_and_without():
    strategy = make("drop_nas")
    strategy.mutate_model(CellSpace())
    found = weights_of_candidates(strategy.mixture)
    assert {label: [len(own) for own in each] for label, each in found.items()} == {
        "cell/1_0": [2, 0, 0], "cell/2_0": [2, 0, 0], "cell/2_1": [2, 0, 0],
    }  # fmt: skip
