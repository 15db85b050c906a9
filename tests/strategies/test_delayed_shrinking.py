"""Delayed shrinking: the schedule and a training against the same by hand."""

import pytest
import torch
from regressions import Headed, X, Y, assert_same_weights, fresh, regression, run
from sandwiches import LARGEST, SMALLEST
from spaces import set_path
from torch import nn
from training import Watch, make, train

from nni_magic.samplers import UniformSampler
from nni_magic.strategies.delayed_shrinking import share
from nni_magic.strategies.turn_settings import DelayedShrinkingSettings


@pytest.mark.parametrize(
    ("progress", "expected"),
    [(0.5, 0.1), (0.55, 0.1 + 0.9 * 0.25), (0.6, 0.55), (0.7, 1.0), (1.0, 1.0)],
)
def test_weight_rises_from_epsilon_to_one(progress, expected):
    settings = DelayedShrinkingSettings(delay=0.5, epsilon=0.1, rise=0.2)
    assert share(progress, settings) == pytest.approx(expected)
    assert share(progress, DelayedShrinkingSettings(delay=0.5, rise=0)) == 1.0


def test_training_is_that_by_hand():
    space = run(make("delayed_shrinking", delay=0.25, epsilon=0.2, rise=0.5), None, Headed)
    net, optimizer = fresh(Headed)
    sampler = UniformSampler(Headed(), seed=3)
    for step, start in enumerate(range(0, 16, 4)):
        x, y = X[start : start + 4], Y[start : start + 4]
        optimizer.zero_grad()
        set_path(net, LARGEST)
        teacher = net(x)
        nn.functional.mse_loss(teacher, y).backward()
        if step > 0:  # a quarter of four steps
            weight = {1: 0.2, 2: 0.2 + 0.8 * 0.5, 3: 1.0}[step]
            for child in (SMALLEST, sampler.next()):
                set_path(net, child)
                targets = teacher.detach().softmax(-1)
                (weight * nn.functional.cross_entropy(net(x), targets)).backward()
        optimizer.step()
    assert_same_weights(space, net)


def test_training_without_an_end_is_refused_at_the_start():
    evaluator = regression(watch := Watch(), max_epochs=-1, max_steps=-1)
    torch.manual_seed(5)
    with pytest.raises(ValueError, match="max_epochs of the trainer is -1, and max_steps -1; acc"):
        train(make("delayed_shrinking"), Headed(), evaluator)
    assert watch.steps == []
