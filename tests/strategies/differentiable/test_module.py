"""Steps of weights and architecture: by hand, on which batch, when, and what is refused."""

import math

import pytest
import pytorch_lightning as pl
import torch
from mixtures import HELD_OUT, TRAINED, Losses, Odd, Regression, make, regression, run
from nni.nas.evaluator.pytorch import DataLoader
from spaces import ConvSpace, FlatSpace
from torch.utils.data import TensorDataset
from training import Stop, classification, train

from nni_magic.strategies.differentiable.module import MixtureModule

torch.set_num_threads(1)
def by_hand(space, bilevel, rate):
    """A step of GAEA with nothing of the strategy: theta by block, weights by name."""
    theta = [torch.full((3,), 1 / 3, requires_grad=True) for _ in space.blocks]
    weights = dict(space.named_parameters())

    def loss(x):
        y = x
        for block, mix in zip(space.blocks, theta, strict=True):
            outputs = [block[name](y) for name in block.names]
            y = torch.tanh(sum(m * each for m, each in zip(mix, outputs, strict=True)))
        return ((y - x) ** 2).mean()

    gradients = torch.autograd.grad(loss(HELD_OUT if bilevel else TRAINED), theta)
    raised = [t.detach() * torch.exp(-rate * g) for t, g in zip(theta, gradients, strict=True)]
    new = [each / each.sum() for each in raised]
    if bilevel:  # the weights see the new theta
        theta = new
    moved = torch.autograd.grad(loss(TRAINED), list(weights.values()), allow_unused=True)
    after = {n: w - 0.1 * g for (n, w), g in zip(weights.items(), moved, strict=True)}
    return new, after


@pytest.mark.parametrize("bilevel", [True, False])
def test_step_is_the_one_made_by_hand(bilevel):
    torch.manual_seed(2)
    space = FlatSpace()
    theta, weights = by_hand(space, bilevel, 5.0)
    strategy = make("gaea", bilevel=bilevel, arc_learning_rate=5.0)
    train(strategy, space, regression())
    for ours, expected in zip(strategy.architecture.parameters, theta, strict=True):
        torch.testing.assert_close(ours.detach(), expected)
        assert (ours - 1 / 3).abs().max() > 1e-3
    for name, value in strategy.supernet.named_parameters():
        torch.testing.assert_close(value, weights[name])


def test_accumulated_batches_of_a_single_level_step_are_averaged():
    def trained(batch_size, accumulate):
        torch.manual_seed(2)
        evaluator = regression(accumulate_grad_batches=accumulate)
        evaluator.train_dataloaders = DataLoader(TensorDataset(TRAINED), batch_size=batch_size)
        strategy = make("gaea", bilevel=False, arc_learning_rate=5.0)
        train(strategy, FlatSpace(), evaluator)
        return torch.stack([each.detach() for each in strategy.architecture.parameters])

    torch.testing.assert_close(trained(4, 2), trained(8, 1))


def test_architecture_waits_for_the_warm_up():
    _, watch = run("gaea", arc_warmup_epochs=2, arc_learning_rate=5.0)
    uniform = math.log(4)
    assert [s["entropy"] for s in watch.summaries[:12]] == pytest.approx([uniform] * 12)
    assert watch.summaries[-1]["entropy"] < uniform - 1e-4


class OtherBatches(Regression):
    """Takes batches of training alone, as where training augments what its loader gives."""

    def training_step(self, batch, batch_idx):
        if torch.equal(batch[0], HELD_OUT):
            raise KeyError("augmented")
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", ((self.model(batch[0]) - batch[0]) ** 2).mean())


@pytest.mark.parametrize("warmup", [0, 1])
def test_training_step_that_takes_no_validation_batches_is_named_at_the_first_step(warmup):
    strategy, evaluator = make("gaea", arc_warmup_epochs=warmup), regression(OtherBatches())
    message = (
        r"training_step of OtherBatches fails on a batch of the validation data, on which the "
        r"architecture is trained: KeyError\('augmented'\); accepted are batches as those of"
    )
    with pytest.raises(ValueError, match=message):
        train(strategy, FlatSpace(), evaluator)
    assert evaluator.trainer.global_step == 0
    train(make("gaea", bilevel=False), FlatSpace(), regression(OtherBatches()))


def test_error_that_is_not_of_the_validation_batch_is_the_evaluators_own():
    class Broken(Regression):
        def training_step(self, batch, batch_idx):
            raise KeyError("always")

    with pytest.raises(KeyError, match="always"):
        train(make("gaea"), FlatSpace(), regression(Broken()))


def test_trial_before_the_warm_up_leaves_no_trace(monkeypatch):
    def trained():
        strategy, watch = run("gaea", "mixed", arc_warmup_epochs=1)
        return strategy.mixture.state_dict(), watch.losses

    left_out = []
    gradients_of = MixtureModule._gradients_of

    def none_in_the_warm_up(self, *batch):
        return gradients_of(self, *batch) if self.trains_architecture else left_out.append(batch)

    with_trial = trained()
    monkeypatch.setattr(MixtureModule, "_gradients_of", none_in_the_warm_up)
    state, losses = trained()
    assert len(left_out) == 1
    assert losses == with_trial[1]
    assert state.keys() == with_trial[0].keys()
    assert any("running_mean" in name for name in state)
    for name, value in state.items():
        assert torch.equal(value, with_trial[0][name]), name


def test_architecture_is_no_weight_of_the_evaluators_optimizer():
    strategy, _ = run("darts", bilevel=False, trainer={"epochs": 1})
    [optimizer] = strategy.oneshot_module.trainer.optimizers
    own = {id(each) for each in strategy.architecture.parameters}
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert own and not own & held


def test_entropy_and_largest_weight_are_logged():
    logged = {}

    class Logged(Losses):
        def on_train_end(self, trainer, module):
            logged.update(trainer.callback_metrics)

    strategy = make("gaea")
    train(strategy, ConvSpace(), classification(Logged(), epochs=1))
    last = strategy.architecture.summary()
    assert float(logged["architecture/entropy"]) <= math.log(4)
    assert float(logged["architecture/largest"]) == pytest.approx(float(last["largest"]), rel=0.05)
    assert {"val_loss", "val_acc"} <= logged.keys()  # of the mixture


def test_gradient_of_the_architecture_that_is_not_finite_stops_the_training():
    message = r"architecture step 1, in epoch 0, is not finite: the gradient of 'block_1' is \[nan"
    with pytest.raises(ValueError, match=message):
        train(make("gaea"), FlatSpace(), regression(Odd(HELD_OUT)))


def test_gradient_of_the_architecture_that_is_not_finite_may_be_left_out(caplog):
    strategy = make("gaea", not_finite="skip")
    train(strategy, FlatSpace(), regression(Odd(HELD_OUT)))
    assert "Left out architecture step 1, which is not finite" in caplog.text
    for each in strategy.architecture.parameters:
        assert each.tolist() == pytest.approx([1 / 3] * 3)


def test_single_level_step_that_is_left_out_leaves_the_architecture():
    strategy = make("gaea", bilevel=False, not_finite="skip")
    train(strategy, FlatSpace(), regression(Odd(TRAINED)))
    for each in strategy.architecture.parameters:
        assert each.tolist() == pytest.approx([1 / 3] * 3)


def test_both_parts_of_a_batch_pass_the_evaluators_hooks():
    seen = []

    class Hooked(Regression):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            seen.append(len(batch))
            return batch

        def on_train_batch_start(self, batch, batch_idx):
            seen.append(("start", torch.equal(batch[0], TRAINED)))

    train(make("gaea"), FlatSpace(), regression(Hooked(), limit_val_batches=0))
    assert seen == [1, 1, ("start", True)]


def test_validation_does_not_move_what_training_draws():
    often = run("gaea_gdas", trainer={"val_check_interval": 2, "epochs": 1})[1]
    seldom = run("gaea_gdas", trainer={"epochs": 1})[1]
    assert often.losses == seldom.losses


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_architecture_is_trained_in_every_precision(precision):
    strategy = make("gaea", arc_learning_rate=5.0)
    train(strategy, FlatSpace(), regression(precision=precision))
    [*thetas] = strategy.architecture.weights().values()
    assert all(theta != [theta[0]] * 3 for theta in thetas)


def drawn(strategy):
    """What a strategy has drawn for the present step."""
    if gates := getattr(strategy, "_gates", None):
        return [gate.path for gate in gates]
    held = getattr(strategy._mixing, "_kept", None) or strategy._mixing._noise
    return [held[id(parameter)].tolist() for parameter in strategy.architecture.parameters]


class Draws(pl.Callback):
    """Remembers what is drawn for every batch; may stop after one, like a kill."""

    def __init__(self, path=None):
        self.path, self.seen = path, []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.seen.append(drawn(self.strategy))
        if self.path is not None and batch_idx == 2:
            trainer.save_checkpoint(self.path)
            raise Stop


@pytest.mark.parametrize(
    ("variant", "settings"),
    [("proxyless_nas", {}), ("drop_nas", {"drop_rate": 0.9}), ("gaea_gdas", {})],
)
def test_run_that_is_resumed_within_a_step_has_its_draws(variant, settings, tmp_path):
    def go(path=None, checkpoint=None):
        watch = Draws(path)
        watch.strategy = make(variant, **settings)
        evaluator = classification(watch, accumulate_grad_batches=2, epochs=1)
        train(watch.strategy, ConvSpace(2), evaluator, checkpoint)
        return watch.seen

    path = tmp_path / "within.ckpt"
    whole = go()
    assert len(whole) == 6 and whole[0] == whole[1] != whole[2]
    assert go(path) + go(checkpoint=path) == whole  # one batch of the second step was done
