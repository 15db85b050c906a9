"""Samplers that look at children before a step, and are told what came of it."""

import math

import pytest
import torch
from regressions import Regression, regression, run
from spaces import ConvSpace, FlatSpace
from training import Watch, classification, make, train
from twins import Twins

from nni_magic.samplers import UniformSampler
from nni_magic.supernet.step import Turn


class Choosy(Twins):
    """Of three children the one with the least loss on the batch."""

    def make_sampler(self, space):
        class Best(UniformSampler):
            watches_gradients = True

            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.probed, self.told = [], []

            def turns(self, probe):
                children = [self.next() for _ in range(3)]
                losses = [probe(child) for child in children]
                self.probed.append((children, losses))
                return [Turn(min(zip(losses, range(3), children, strict=True))[2])]

            def tell(self, step):
                if step.losses:  # none where the evaluator skips the batch
                    self.told.append((step.losses[0].item(), step.gradient_norm.item()))

        return Best(space, seed=self.seed)

    def make_terms(self):
        return []


def test_sampler_may_choose_by_the_loss_on_the_batch_and_is_told_what_came_of_it():
    norms = []

    class Norms(Watch):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            gradients = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
            norms.append(torch.cat(gradients).norm().item())

    watch = Norms()
    strategy = Choosy(seed=3, validation_batches=1)
    run(strategy, watch)
    sampler = strategy.oneshot_module.sampler
    assert len(sampler.probed) == len(sampler.told) == 4
    for (children, losses), (child, loss) in zip(sampler.probed, watch.steps, strict=True):
        assert child == children[losses.index(min(losses))]
        assert loss == pytest.approx(min(losses), rel=1e-6)
    assert [loss for loss, _ in sampler.told] == [loss for _, loss in watch.steps]
    assert [norm for _, norm in sampler.told] == pytest.approx(norms, rel=1e-6)


def test_probing_leaves_no_trace():
    """Not in BatchNorm's buffers, nor in the generators that dropout draws from."""

    class Probing(Twins):
        def make_sampler(self, space):
            class Curious(UniformSampler):
                def turns(self, probe):
                    child = self.next()
                    probe({label: choices[0] for label, choices in self.candidates.items()})
                    return [Turn(child)]

            return Curious(space, seed=self.seed)

        def make_terms(self):
            return []

    runs = []
    settings = {"seed": 3, "validation_children": 3, "validation_batches": 2}
    for strategy in (Probing(**settings), make("spos", calibration_batches=4)):
        watch, space = Watch(), None
        torch.manual_seed(11)
        space = ConvSpace()
        train(strategy, space, classification(watch))
        runs.append((watch.steps, space.state_dict()))
    (steps, state), (plain_steps, plain_state) = runs
    assert steps == plain_steps
    assert all(torch.equal(state[key], plain_state[key]) for key in plain_state)


def test_probe_of_a_batch_that_is_skipped_is_not_a_number():
    class Skipping(Regression):
        def training_step(self, batch, batch_idx):
            return None if batch_idx == 1 else super().training_step(batch, batch_idx)

    class Ends(Watch):
        def on_train_batch_end(self, *args):
            """Skipped batches have no loss to remember."""

    evaluator = regression(Ends())
    evaluator.module = Skipping()
    strategy = train(Choosy(seed=3, validation_batches=1), FlatSpace(), evaluator)
    losses = [losses for _, losses in strategy.oneshot_module.sampler.probed]
    assert [all(map(math.isnan, of_step)) for of_step in losses] == [False, True, False, False]


class Learner(Twins):
    """Keeps a child while its loss falls, so that all depends on what it was told."""

    def make_sampler(self, space):
        class Keeping(UniformSampler):
            last, keep = math.inf, False

            def turns(self, probe):
                return [Turn(dict(self.current) if self.keep else self.next())]

            def tell(self, step):
                loss = step.losses[0].item()
                self.last, self.keep = loss, loss < self.last

            def state_dict(self):
                return {**super().state_dict(), "last": self.last, "keep": self.keep}

            def load_state_dict(self, state):
                super().load_state_dict(state)
                self.last, self.keep = state["last"], state["keep"]

        return Keeping(space, seed=self.seed)

    def make_terms(self):
        return []


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5, 6, 8])
def test_sampler_that_learns_goes_on_as_if_it_had_not_stopped(stop_after, tmp_path):
    def start(watch, checkpoint=None):
        torch.manual_seed(11)
        strategy = Learner(seed=3, validation_children=3, validation_batches=2)
        train(strategy, ConvSpace(), classification(watch), checkpoint)
        return watch.steps

    whole = start(Watch())
    path = tmp_path / "stopped.ckpt"
    assert start(Watch(stop_after, path)) + start(Watch(), path) == whole
    assert len({str(child) for child, _ in whole}) < 18
