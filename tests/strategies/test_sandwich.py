"""The sandwich rule: a step against the same step by hand, alone and with an alignment."""

import copy
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from regressions import Headed, assert_same_weights, regression, run
from sandwiches import by_hand
from spaces import ConvSpace, FlatSpace
from torch import nn
from training import Watch, classification, make, train

from nni_magic.losses.distillation import Distillation, soft_cross_entropy
from nni_magic.samplers import GradualSampler
from nni_magic.samplers.sandwich import SandwichSampler
from nni_magic.strategies.aligned import alignment
from nni_magic.strategies.by_cost import ByCost
from nni_magic.strategies.magic_a import BestChild
from nni_magic.strategies.settings import MagicASettings
from nni_magic.strategies.turn_settings import SandwichSettings


def cross_entropy(temperature):
    def divergence(student, teacher):
        targets = (teacher / temperature).softmax(-1)
        return temperature**2 * nn.functional.cross_entropy(student / temperature, targets)

    return divergence


@pytest.mark.parametrize(("n_random", "temperature"), [(1, 1.0), (2, 1.0), (0, 1.0), (1, 3.0)])
def test_step_is_that_by_hand(n_random, temperature):
    space = run(make("sandwich", n_random=n_random, temperature=temperature), None, Headed)
    assert_same_weights(space, by_hand(cross_entropy(temperature), n_random))


def test_students_see_what_their_teacher_sees():
    seen = []

    class Noting(Watch):
        def on_train_batch_end(self, trainer, module, *args):
            seen.append(module.step is not None)

        def on_train_start(self, trainer, module):
            inner = module._runner._observed

            def noted(turn, terms):
                found = inner(turn, terms)
                seen.append(module.training_module.seen)
                return found

            module._runner._observed = noted

    run(make("sandwich"), Noting(), Headed, noise=1.0)
    inputs = [each for each in seen if isinstance(each, torch.Tensor)]
    assert len(inputs) == 4 * 3
    for n in range(0, 12, 3):
        assert torch.equal(inputs[n], inputs[n + 1]) and torch.equal(inputs[n], inputs[n + 2])


def test_space_whose_children_all_cost_the_same_is_refused_at_the_start():
    watch = Watch()
    with pytest.raises(ValueError, match=r"cost of the largest child is 60, as of the smallest"):
        train(make("sandwich"), FlatSpace(), regression(watch))
    assert watch.steps == []


# Composed with others


@dataclass(frozen=True, kw_only=True)
class AlignedSandwichSettings(MagicASettings, SandwichSettings):
    """Settings of both."""


class AlignedSandwich(ByCost):
    """The sandwich's children in MAGIC-T's order, distilled, and aligned as MAGIC-A's."""

    settings_class = AlignedSandwichSettings

    def make_sampler(self, space):
        return SandwichSampler(
            space, seed=self.seed, cost=self.cost_in(space), order=partial(GradualSampler, k=1)
        )

    def make_terms(self):
        return [
            Distillation(soft_cross_entropy), alignment(self.settings, BestChild(self.settings)),
        ]  # fmt: skip


def test_sandwich_is_composed_with_an_alignment_and_a_walk(tmp_path):
    settings = {
        "seed": 3, "validation_children": 3, "validation_batches": 2, "warmup_epochs": 1,
        "align_every": 2, "anchor_interval": 3, "anchor_candidates": 4,
    }  # fmt: skip
    logged = []

    class Logged(Watch):
        def on_train_epoch_end(self, trainer, module):
            logged.append(dict(trainer.callback_metrics))

    def start(watch, checkpoint=None):
        torch.manual_seed(11)
        space = ConvSpace()
        train(AlignedSandwich(**settings), space, classification(watch), checkpoint)
        return copy.deepcopy(space.state_dict())

    whole = start(watch := Logged())
    losses = ["supernet/alignment_loss", "supernet/distillation_loss", "supernet/prediction_loss"]
    assert [name for name in losses if name not in logged[-1]] == []
    assert "supernet/alignment_loss" not in logged[0]
    start(before := Watch(7, path := tmp_path / "stopped.ckpt"))
    resumed = start(after := Watch(), path)
    assert before.steps + after.steps == watch.steps
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
