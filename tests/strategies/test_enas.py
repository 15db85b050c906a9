"""ENAS: what its controller is told, and which child is exported."""

import logging

import pytest
from regressions import Headed, run
from training import Watch, make

from nni_magic.strategies.probing import BatchProbe


@pytest.fixture
def rewards(monkeypatch):
    """What the controller is told, child by child, with the scores of the same weights."""
    told, reward = [], BatchProbe.reward

    def watched(self, child):
        told.append((child, reward(self, child), self._module.scorer(child)))
        return told[-1][1]

    monkeypatch.setattr(BatchProbe, "reward", watched)
    return told


def test_rewards_are_negative_losses_after_every_epoch(rewards):
    strategy = make("enas", controller_steps=3)
    watch = Watch()
    run(strategy, watch, Headed, max_epochs=3)
    assert len(rewards) == 3 * 3
    for _, reward, score in rewards:
        assert reward == -score
    worst, best = min(r for _, r, _ in rewards), max(r for _, r, _ in rewards)
    assert worst <= strategy.oneshot_module.sampler.baseline < best


def test_children_of_the_controller_are_known_at_the_end(rewards):
    strategy = make("enas", controller_steps=3)
    run(strategy, Watch(), Headed, max_epochs=2)
    module = strategy.oneshot_module
    known = [scored.sample for scored in module.best_children()]
    assert all(child in known for child, _, _ in rewards)
    assert module.export() == known[0]


def test_log_tells_the_mean_reward(caplog, rewards):
    with caplog.at_level(logging.INFO, "nni_magic"):
        run(make("enas", controller_steps=3), Watch(), Headed, max_epochs=2)
    mean = sum(reward for _, reward, _ in rewards[:3]) / 3
    assert f"The controller's children have a mean reward of {mean:.4f}" in caplog.text


def test_settings_reach_the_sampler():
    own = {"controller_steps": 7, "controller_learning_rate": 0.5, "entropy_weight": 0.0}
    sampler = make("enas", **own).make_sampler(Headed())
    assert (sampler.n_steps, sampler.learning_rate, sampler.entropy_weight) == (7, 0.5, 0.0)
