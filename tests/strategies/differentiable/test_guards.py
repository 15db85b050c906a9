"""What a mixture's training must not be, and what its steps must not do."""

from types import SimpleNamespace

import pytest
import torch
from mixtures import HELD_OUT, TRAINED, Odd, Regression, make, regression
from spaces import FlatSpace
from training import train

from nni_magic.strategies.differentiable.guards import (
    check_trainer,
    validation_loader,
    validation_loss,
    without_a_trace,
)


@pytest.mark.parametrize("bilevel", [True, False])
def test_loss_of_the_weights_that_is_not_finite_stops_before_any_step(bilevel):
    strategy = make("gaea", bilevel=bilevel)
    message = "optimizer step 1, in epoch 0, is not finite: the loss of the mixture is nan"
    with pytest.raises(ValueError, match=message):
        train(strategy, FlatSpace(), regression(Odd(TRAINED)))
    assert all(torch.isfinite(each).all() for each in strategy.mixture.parameters())


def test_trainers_that_scale_gradients_or_have_several_devices_are_refused():
    plain = SimpleNamespace(
        world_size=1, precision_plugin=SimpleNamespace(), precision="16-mixed"
    )
    check_trainer(plain, bilevel=True)
    plain.precision_plugin.scaler = object()
    with pytest.raises(ValueError, match="precision is '16-mixed'; accepted are those without a"):
        check_trainer(plain, bilevel=True)
    plain.world_size = 2
    with pytest.raises(ValueError, match="devices of the trainer is 2 in all; accepted is 1"):
        check_trainer(plain, bilevel=True)


@pytest.mark.parametrize("loaders", [[], {}])
def test_no_held_out_loaders_are_named(loaders):
    message = rf"validation data are 0 loaders, in a {type(loaders).__name__}; accepted are one"
    with pytest.raises(ValueError, match=message):
        validation_loader(["one"], loaders)


class Teacher(Regression):
    """Keeps a moving average and a memory of batches, and has dropout."""

    def __init__(self):
        super().__init__()
        self.average = torch.nn.Linear(4, 4).requires_grad_(False)
        self.register_buffer("memory", torch.zeros(2**24 + 1))
        self.register_buffer("shared", torch.zeros(1).expand(4))
        self.later = torch.nn.LazyLinear(4)
        self.calls = 0

    def training_step(self, batch, batch_idx):
        self.calls += 1
        with torch.no_grad():
            self.average.weight.mul_(0.9)
        self.memory[self.calls] = 1.0
        [x] = batch
        return (torch.nn.functional.dropout(self.model(x)) - self.average(x)).square().mean()


@pytest.fixture
def teacher():
    evaluator = Teacher()
    evaluator.set_model(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4)))
    return evaluator


def state_of(evaluator):
    lazy = torch.nn.parameter.is_lazy
    return {n: value.clone() for n, value in evaluator.state_dict().items() if not lazy(value)}


def changed(before, evaluator):
    after = state_of(evaluator)
    return [name for name, value in before.items() if not torch.equal(value, after[name])]


def test_nothing_that_a_trial_changes_stays(teacher):
    before, random = state_of(teacher), torch.get_rng_state()
    x = TRAINED.clone().requires_grad_()
    loss = teacher.model[0](x).sum()  # a graph that needs the weights as they are
    with without_a_trace(teacher):
        teacher.training_step([TRAINED], 0)
        seen = changed(before, teacher)
        assert {"average.weight", "memory", "_model.1.running_mean"} <= set(seen)
        assert not torch.equal(random, torch.get_rng_state())
    assert changed(before, teacher) == [] and teacher.calls == 0
    assert torch.equal(random, torch.get_rng_state())
    loss.backward()


def test_nor_what_one_changes_that_is_refused(teacher):
    before, random = state_of(teacher), torch.get_rng_state()
    teacher.rows = torch.zeros(2**24 + 1)  # too large for a copy
    with pytest.raises(KeyError, match="refused"), without_a_trace(teacher):
        teacher.training_step([TRAINED], 0)
        teacher.rows[0] = 1
        raise KeyError("refused")
    assert changed(before, teacher) == []
    assert torch.equal(random, torch.get_rng_state())
    with pytest.raises(RuntimeError, match="too large to be copied"), without_a_trace(teacher):
        teacher.rows[0] = 2


class Given(Regression):
    """Gives what it is told on held-out data."""

    def __init__(self, loss):
        super().__init__()
        self.given = loss

    def training_step(self, batch, batch_idx):
        if torch.equal(batch[0], HELD_OUT):
            if isinstance(self.given, Exception):
                raise self.given
            return self.given
        return super().training_step(batch, batch_idx)


def loss_on_held_out(given):
    evaluator = Given(given)
    evaluator.set_model(torch.nn.Linear(4, 4))
    return validation_loss(evaluator, [HELD_OUT], [TRAINED], 0)


@pytest.mark.parametrize("given", [0.5, torch.tensor(0.5)])
def test_loss_without_gradient_is_named(given):
    message = r"training_step of Given gives the loss (tensor\()?0.5.* on a batch of the validation"
    with pytest.raises(ValueError, match=message):
        loss_on_held_out(given)


def test_skipped_batch_and_loss_are_given_as_they_are():
    loss = torch.ones((), requires_grad=True)
    assert loss_on_held_out(None) is None
    assert loss_on_held_out({"loss": None}) is None
    assert loss_on_held_out({"loss": loss}) is loss


def test_lack_of_memory_is_not_blamed_on_the_batch():
    with pytest.raises(torch.OutOfMemoryError, match="full"):
        loss_on_held_out(torch.OutOfMemoryError("full"))
