"""Weights of a loss term: in the optimizer, in the checkpoint, and in no child."""

import copy

import pytest
import torch
from ranks import launch
from regressions import Regression, regression
from spaces import FlatSpace
from torch import nn
from training import Watch, train

from nni_magic.losses.term import LossTerm
from nni_magic.strategies import SPOS, Darts
from nni_magic.strategies.term_weights import TeachableModule
from nni_magic.supernet.checkpoint import load_supernet
from nni_magic.supernet.conversion import to_supernet
from nni_magic.supernet.routing import Router


class Mapped(LossTerm):
    """Pulls a trained map of the output to one."""

    weight = 1.0

    def __init__(self, name="mapped_loss"):
        self.name = name
        torch.manual_seed(1)
        self.weights = nn.Linear(1, 2)

    def __call__(self, step, turn):
        return (self.weights(step.calls[-1][-1].output.reshape(-1, 1)) - 1).square().mean()


def run(term, watch=None, checkpoint=None, **settings):
    """Train for three epochs with a term; gives the strategy."""
    torch.manual_seed(5)
    evaluator = regression(watch or Watch(), max_epochs=3, noise=0.1, **settings)
    return train(SPOS(seed=1, terms=[term]), FlatSpace(), evaluator, checkpoint)


def test_weights_of_a_term_are_trained_as_those_of_the_supernet():
    term = Mapped()
    before = copy.deepcopy(term.weights)
    watch = Watch()
    strategy = run(term, watch)
    [optimizer] = strategy.oneshot_module.trainer.optimizers
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert {id(p) for p in term.weights.parameters()} < trained
    assert len(optimizer.param_groups) == 1
    assert not torch.equal(term.weights.weight, before.weight)
    assert [name for name in strategy.oneshot_module.state_dict() if name.startswith("term_")] == [
        "term_weights.mapped_loss.weight", "term_weights.mapped_loss.bias",
    ]  # fmt: skip


def test_first_step_of_the_weights_is_that_of_plain_torch():
    term, [(x, _), *_] = Mapped(), regression(Watch()).train_dataloaders
    expected = copy.deepcopy(term.weights)
    torch.manual_seed(5)
    strategy = train(SPOS(seed=1, terms=[term]), FlatSpace(), regression(Watch(), max_steps=1))
    torch.manual_seed(5)
    space = to_supernet(FlatSpace())
    Router.of(space).set(strategy.oneshot_module.child)
    loss = (expected(space(x).reshape(-1, 1)) - 1).square().mean()
    loss.backward()
    torch.optim.SGD(expected.parameters(), 0.1).step()
    torch.testing.assert_close(term.weights.weight, expected.weight)
    torch.testing.assert_close(term.weights.bias, expected.bias)


def test_killed_run_goes_on_to_the_same_weights_of_the_term(tmp_path):
    whole, watch = Mapped(), Watch()
    undisturbed = run(whole, watch)
    path, first, again = tmp_path / "killed.ckpt", Mapped(), Mapped()
    killed, resumed = Watch(stop_after=5, path=path), Watch()
    run(first, killed)
    strategy = run(again, resumed, path)
    assert killed.steps + resumed.steps == watch.steps
    assert again.weights.weight.equal(whole.weights.weight)
    assert again.weights.bias.equal(whole.weights.bias)
    for one, other in zip(strategy.supernet.parameters(), undisturbed.supernet.parameters(),
                          strict=True):  # fmt: skip
        assert one.equal(other)


def test_checkpoint_with_weights_of_a_term_is_a_supernet_s(tmp_path):
    path = tmp_path / "supernet.ckpt"
    strategy = run(Mapped(), Watch(stop_after=12, path=path))
    loaded = load_supernet(path, FlatSpace())
    for one, other in zip(loaded.parameters(), strategy.supernet.parameters(), strict=True):
        assert one.equal(other)


def test_schedule_and_clipping_of_the_evaluator_are_those_of_the_weights_too():
    class Scheduled(Regression):
        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), 0.1)
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0)
            return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    term = Mapped()
    before = copy.deepcopy(term.weights)
    evaluator = regression(Watch())
    evaluator.module.__class__ = Scheduled
    train(SPOS(seed=1, terms=[term]), FlatSpace(), evaluator)
    assert term.weights.weight.equal(before.weight)


def test_term_without_weights_leaves_no_trace_in_the_module():
    term = Mapped()
    term.weights = None
    module = TeachableModule(Regression(), [term])
    assert not hasattr(module, "term_weights") and module.terms == [term]


def test_weights_without_an_optimizer_are_refused():
    module = TeachableModule(Regression(), [Mapped()])
    module.training_module.configure_optimizers = lambda: None
    message = "configure_optimizers of Regression gives no optimizer; accepted is one, as mapped_lo"
    with pytest.raises(ValueError, match=message):
        module.configure_optimizers()


def test_mixtures_refuse_terms():
    with pytest.raises(ValueError, match=r"terms is \['mapped_loss'\]; accepted are none, as Dar"):
        Darts(seed=1, terms=[Mapped()])


SCRIPT = """
import sys
from pathlib import Path

import nni_bootstrap
import torch

torch.set_num_threads(1)

from pytorch_lightning.utilities import rank_zero_only
from ranks import launch
from regressions import regression
from spaces import FlatSpace
from training import Watch, train

from nni_magic.strategies import SPOS
from strategies.test_term_weights import Mapped

RANK = rank_zero_only.rank
torch.manual_seed(RANK)
term = Mapped()
torch.manual_seed(5)
evaluator = regression(
    Watch(), max_epochs=3, devices=2, strategy="ddp_find_unused_parameters_true"
)
train(SPOS(seed=1, terms=[term]), FlatSpace(), evaluator)
torch.save(term.weights.state_dict(), Path(sys.argv[1]) / f"rank_{RANK}.pt")
"""


@pytest.mark.slow
def test_ranks_have_the_same_weights_of_a_term(tmp_path):
    one, other = launch(SCRIPT, tmp_path)
    assert one["weight"].shape == (2, 1)
    assert not one["weight"].equal(Mapped().weights.weight)
    assert all(one[name].equal(other[name]) for name in one)
