"""Looking at children on a batch; that it leaves no trace is in ``test_turns_of_samplers``."""

import math
from types import SimpleNamespace

import pytest
import torch
from regressions import Regression, X, Y, fresh, regression, run
from spaces import FlatSpace, set_path
from torch import nn
from training import Watch, make, train
from twins import Twins

from nni_magic.samplers import UniformSampler
from nni_magic.samplers.similarity import intrinsic_dimension
from nni_magic.strategies.probing import BatchProbe
from nni_magic.supernet.step import Turn


def probed(look, module=None):
    """What a sampler has seen before every step of a regression."""

    class Looking(Twins):
        def make_sampler(self, space):
            class Curious(UniformSampler):
                seen = []

                def turns(self, probe):
                    child = self.next()
                    self.seen.append((child, look(probe, child)))
                    return [Turn(child)]

            return Curious(space, seed=self.seed)

        def make_terms(self):
            return []

    evaluator = regression(Quiet())
    evaluator.module = module or evaluator.module
    torch.manual_seed(5)
    strategy = train(Looking(seed=3, validation_batches=1), FlatSpace(), evaluator)
    return strategy.oneshot_module.sampler.seen


class Quiet(Watch):
    def on_train_batch_end(self, *args):
        """Skipped batches have no loss to remember."""


def test_progress_is_the_share_of_the_steps():
    seen = probed(lambda probe, child: probe.progress)
    assert [progress for _, progress in seen] == [0.0, 0.25, 0.5, 0.75]


def test_saliency_is_the_sum_of_weight_times_gradient():
    child, found = probed(lambda probe, child: probe.saliency(child))[0]
    net, _ = fresh()
    set_path(net, child)
    nn.functional.mse_loss(net(X[:4]), Y[:4]).backward()
    expected = sum((p * p.grad).abs().sum() for p in net.parameters() if p.grad is not None)
    assert found == pytest.approx(expected.item(), rel=1e-5)


def test_saliency_changes_no_training():
    plain = run(make("spos"))

    class Looking(Twins):
        def make_sampler(self, space):
            class Curious(UniformSampler):
                def turns(self, probe):
                    child = self.next()
                    probe.saliency({label: 0 for label in child})
                    return [Turn(child)]

            return Curious(space, seed=self.seed)

        def make_terms(self):
            return []

    looked = run(Looking(seed=3, validation_batches=1))
    for a, b in zip(plain.parameters(), looked.parameters(), strict=True):
        assert torch.equal(a, b)


def test_gradient_is_that_of_every_weight_that_the_child_has():
    child, found = probed(lambda probe, child: probe.gradient(child))[0]
    net, _ = fresh()
    set_path(net, child)
    nn.functional.mse_loss(net(X[:4]), Y[:4]).backward()
    for gradient, weight in zip(found, net.parameters(), strict=True):
        assert (gradient is None) == (weight.grad is None)
        assert gradient is None or torch.allclose(gradient, weight.grad)


def test_dimensions_are_those_behind_every_block():
    child, found = probed(lambda probe, child: probe.dimensions(child))[0]
    net, _ = fresh()
    set_path(net, child)
    states, hidden = {}, X[:4]
    for n, block in enumerate(net.blocks):
        states[f"blocks.{n}"] = block(hidden)
        hidden = torch.tanh(states[f"blocks.{n}"])
    expected = {name: intrinsic_dimension(state) for name, state in states.items()}
    assert found == pytest.approx(expected, rel=1e-5)


def test_epoch_is_the_trainers():
    assert {epoch for _, epoch in probed(lambda probe, child: probe.epoch)} == {0}


def test_batch_that_is_skipped_has_neither_loss_nor_saliency():
    class Skipping(Regression):
        def training_step(self, batch, batch_idx):
            return None if batch_idx == 1 else super().training_step(batch, batch_idx)

    seen = probed(lambda probe, child: (probe(child), probe.saliency(child)), Skipping())
    assert [all(map(math.isnan, pair)) for _, pair in seen] == [False, True, False, False]


def test_answers_are_means_over_processes():
    reduced = []
    strategy = SimpleNamespace(reduce=lambda v, reduce_op: reduced.append(reduce_op) or v + 1)
    module = SimpleNamespace(trainer=SimpleNamespace(strategy=strategy))
    probe = BatchProbe(module, ())
    probe._loss = lambda child: torch.tensor(2.0)
    assert probe({}) == 3.0
    assert reduced == ["mean"]
