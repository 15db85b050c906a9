"""ShiftNAS: what is learned from the losses of a training."""

import pytest
from regressions import Headed, run
from training import Watch, make

from nni_magic.samplers.shifted import MOMENTUM


def test_losses_of_the_training_are_learned_by_group():
    strategy = make("shiftnas", cost_groups=4)
    run(strategy, watch := Watch(), Headed)
    sampler = strategy.oneshot_module.sampler
    expected = {}
    for child, loss in watch.steps:
        group = sampler.groups.of(child)
        expected[group] = MOMENTUM * expected.get(group, loss) + (1 - MOMENTUM) * loss
    assert sampler.losses == {group: pytest.approx(each) for group, each in expected.items()}


def test_settings_reach_the_sampler():
    sampler = make("shiftnas", cost_groups=5, shift_temperature=0.5).make_sampler(Headed())
    assert (sampler.groups.n_groups, sampler.temperature) == (5, 0.5)
