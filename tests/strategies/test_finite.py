"""Steps that are not finite: stopped by name, or left out as if they had not been."""

import logging
import math

import pytest
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.precision import MixedPrecision
from spaces import ConvSpace, set_path, supernet
from torch import nn
from torch.utils.data import TensorDataset
from training import QUIET, Watch, make, train
from twins import Agreement

from nni_magic.children.samples import digest
from nni_magic.losses.alignment import Alignment
from nni_magic.strategies.spos import SPOS

N, BATCH = 24, 4
X = torch.randn(N, 1, 8, 8, generator=torch.Generator().manual_seed(1))
Y = torch.arange(N) % 10
BAD = 2  # a batch of the first epoch
NAN = float("nan")


class Poisoned(LightningModule):
    """Cross-entropy by SGD with momentum; the loss or a gradient of one step is spoilt."""

    def __init__(self, spoil=None, optimizer=None):
        super().__init__()
        self.spoil = spoil or (lambda module, loss: loss)
        self.make_optimizer = optimizer or sgd

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.functional.cross_entropy(self.model(x), y)
        bad = batch_idx == BAD and self.current_epoch == 0
        return self.spoil(self, loss) if bad else loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.cross_entropy(self.model(batch[0]), batch[1]))

    def configure_optimizers(self):
        return self.make_optimizer(self.parameters())


def sgd(parameters):
    return torch.optim.SGD(parameters, 0.05, momentum=0.9, weight_decay=0.01)


def adamw(parameters):
    return torch.optim.AdamW(parameters, 0.01)


def nan_loss(module, loss):
    return loss * NAN


def nan_gradient(module, loss):
    """A finite loss whose gradient is not: the root of zero, times zero."""
    return loss + torch.sqrt(0 * module.model.head.bias.square().sum())


SPOILT = {"loss": nan_loss, "gradient": nan_gradient}


def evaluator(module, watch=None, epochs=2, x=X, **trainer):
    callbacks = [watch or Watch(), *trainer.pop("callbacks", [])]
    return Lightning(
        module, Trainer(max_epochs=epochs, callbacks=callbacks, **{**QUIET, **trainer}),
        train_dataloaders=DataLoader(TensorDataset(x, Y), batch_size=BATCH),
        val_dataloaders=DataLoader(TensorDataset(X, Y), batch_size=8),
    )  # fmt: skip


def run(module, watch=None, name="spos", not_finite="stop", checkpoint=None, **more):
    torch.manual_seed(5)
    space = ConvSpace(dropout=0.0)
    strategy = make(name, not_finite=not_finite)
    train(strategy, space, evaluator(module, watch, **more), checkpoint)
    return strategy, space


def finite(state):
    return all(value.isfinite().all() for value in state.values())


def by_hand(children, batches, optimizer=sgd, accumulate=1):
    """Plain torch: the children on the batches, one after another; ``None`` is left out."""
    torch.manual_seed(5)
    net = supernet(ConvSpace(dropout=0.0)).train()
    opt = optimizer(net.parameters())
    for child, rows in zip(children, batches, strict=True):
        if rows is None:
            continue
        set_path(net, child)
        opt.zero_grad()
        for each in rows:
            (nn.functional.cross_entropy(net(X[each]), Y[each]) / accumulate).backward()
        opt.step()
    return net


def places(epochs=2):
    return [[slice(n, n + BATCH)] for _ in range(epochs) for n in range(0, N, BATCH)]


def assert_same(space, net):
    ours, theirs = space.state_dict(), net.state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("spoilt", SPOILT)
def test_stop_names_step_and_child_before_the_weights_change(spoilt):
    watch = Watch()
    torch.manual_seed(5)
    space = ConvSpace(dropout=0.0)
    with pytest.raises(ValueError, match=r"^optimizer step 3, in epoch 0, is not finite") as found:
        train(make("spos"), space, evaluator(Poisoned(SPOILT[spoilt]), watch))
    message = str(found.value)
    assert "accepted is 'skip', too, which leaves such steps out" in message
    other = Watch()
    run(Poisoned(), other)
    child = other.steps[BAD][0]
    assert f"child {digest(child)} {child}" in message
    what = {"loss": "prediction_loss of child", "gradient": "the gradient of training_module."}
    assert what[spoilt] in message
    net = by_hand([child for child, _ in watch.steps], places()[:BAD])
    weights = dict(net.named_parameters())
    assert all(torch.equal(weights[n], w) or torch.allclose(weights[n], w, atol=1e-6)
               for n, w in space.named_parameters())  # fmt: skip


@pytest.mark.parametrize("optimizer", [sgd, adamw])
@pytest.mark.parametrize("spoilt", SPOILT)
def test_skip_is_plain_training_without_the_step(spoilt, optimizer, caplog):
    watch = Watch()
    module = Poisoned(SPOILT[spoilt], optimizer)
    with caplog.at_level(logging.WARNING, "nni_magic"):
        strategy, space = run(module, watch, not_finite="skip")
    children, batches = [child for child, _ in watch.steps], places()
    batches[BAD] = None
    assert_same(space, by_hand(children, batches, optimizer))
    assert strategy.oneshot_module.finite.skipped == 1
    [warning] = [r.message for r in caplog.records if r.message.startswith("Left out")]
    assert "Left out optimizer step 3, in epoch 0, which is not finite: " in warning


def test_skip_leaves_no_trace_of_an_image_in_batchnorm():
    x = X.clone()
    x[BAD * BATCH + 1] = NAN
    watch = Watch()
    strategy, space = run(Poisoned(), watch, not_finite="skip", x=x)
    batches = places()
    batches[BAD] = batches[BAD + N // BATCH] = None  # the image comes in both epochs
    assert_same(space, by_hand([child for child, _ in watch.steps], batches))
    assert strategy.oneshot_module.finite.skipped == 2 and finite(space.state_dict())


def test_skip_leaves_out_all_that_was_accumulated():
    watch = Watch()
    _, space = run(Poisoned(nan_loss), watch, not_finite="skip", accumulate_grad_batches=2)
    children = [child for child, _ in watch.steps][::2]
    pairs = places()
    pairs = [[*a, *b] for a, b in zip(pairs[::2], pairs[1::2], strict=True)]
    pairs[BAD // 2] = None
    assert_same(space, by_hand(children, pairs, accumulate=2))


@pytest.mark.parametrize("name", ["spos", "magic_t", "twins", "twins_by_turn"])
def test_skipped_steps_are_logged_counted_and_resumed(name, tmp_path):
    path = tmp_path / "a.ckpt"
    whole, space = run(Poisoned(nan_loss), name=name, not_finite="skip")
    run(Poisoned(nan_loss), Watch(4, path), name=name, not_finite="skip")
    watch = Watch()
    strategy, resumed = run(
        Poisoned(nan_loss), watch, name=name, not_finite="skip", checkpoint=path,
        log_every_n_steps=1,
    )  # fmt: skip
    assert strategy.oneshot_module.finite.skipped == whole.oneshot_module.finite.skipped == 1
    assert watch.validations[-1]["supernet/skipped_steps"] == 1
    ours, theirs = space.state_dict(), resumed.state_dict()
    assert finite(ours) and all(torch.equal(ours[n], theirs[n]) for n in ours)


def test_every_part_of_the_loss_is_named(monkeypatch):
    kept = Agreement.__call__

    def spoilt(self, step, turn):
        value = kept(self, step, turn)
        return value * NAN if value is not None and len(step.losses) == 2 else value

    monkeypatch.setattr(Agreement, "__call__", spoilt)
    with pytest.raises(ValueError, match=r"step 1, .*: agreement of child .* is nan. The weights"):
        run(Poisoned(), name="twins")
    parts = "prediction_loss of child .* is inf; prediction_loss .* is inf; agreement .* is nan"
    monkeypatch.setattr(f"{__name__}.BAD", 0)
    with pytest.raises(ValueError, match=parts):
        run(Poisoned(lambda module, loss: loss + math.inf), name="twins")


@pytest.mark.parametrize("spoilt", SPOILT)
def test_last_finite_checkpoint_stays_and_is_resumed(spoilt, tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.BAD", 3)

    def saving(module, **more):
        save = ModelCheckpoint(
            tmp_path, "a", every_n_train_steps=1, save_top_k=1, enable_version_counter=False
        )
        return run(module, callbacks=[save], enable_checkpointing=True, **more)

    for _ in range(2):  # a restart comes to the same step
        with pytest.raises(ValueError, match="optimizer step 4, in epoch 0, is not finite"):
            path = tmp_path / "a.ckpt"
            saving(Poisoned(SPOILT[spoilt]), checkpoint=path if path.exists() else None)
        saved = torch.load(path, weights_only=False)
        assert saved["global_step"] == 3 and finite(saved["state_dict"])
    # Where it comes from is mended: the run goes on as if nothing had been.
    _, space = saving(Poisoned(), checkpoint=path)
    _, whole = run(Poisoned())
    ours, theirs = space.state_dict(), whole.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


class Overflow(pl.Callback):
    """Weights that no step has made infinite."""

    def on_train_batch_end(self, trainer, module, *args):
        if trainer.global_step == 2:
            with torch.no_grad():
                module.model.head.weight[0, 0] = math.inf


@pytest.mark.parametrize("not_finite", ["stop", "skip"])
def test_weights_that_are_not_finite_are_neither_saved_nor_trained(not_finite, tmp_path):
    path = tmp_path / "a.ckpt"
    message = r"^weights are not finite, such as training_module\._model\.head\.weight"
    save = ModelCheckpoint(tmp_path, "a", every_n_train_steps=1, enable_version_counter=False)
    with pytest.raises(ValueError, match=message):
        run(Poisoned(), not_finite=not_finite, callbacks=[Overflow(), save],
            enable_checkpointing=True)  # fmt: skip
    assert finite(torch.load(path, weights_only=False)["state_dict"])
    with pytest.raises(ValueError, match=message):
        run(Poisoned(), not_finite=not_finite, callbacks=[Overflow()])


class Cleaned(Poisoned):
    """An evaluator that mends its gradients is trained as it wants."""

    def on_before_optimizer_step(self, optimizer):
        for weight in self.parameters():
            if weight.grad is not None:
                weight.grad.nan_to_num_(0.0)


class Clipped(Poisoned):
    def configure_gradient_clipping(self, optimizer, *args, **kwargs):
        Cleaned.on_before_optimizer_step(self, optimizer)


@pytest.mark.parametrize("kind", [Cleaned, Clipped])
def test_gradients_that_the_evaluator_mends_are_finite(kind):
    strategy, space = run(kind(nan_gradient))
    assert strategy.oneshot_module.finite.skipped == 0 and finite(space.state_dict())


class Children(Watch):
    def __init__(self):
        super().__init__()
        self.children = []

    def on_train_batch_end(self, trainer, module, *args):
        self.children.append(dict(module.child))


class Skipping(Poisoned):
    """Leaves out batches itself, as Lightning lets it."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        return loss if loss.isfinite() else None


def test_batch_that_the_evaluator_skips_is_no_step_to_stop():
    watch = Children()
    _, space = run(Skipping(nan_loss), watch)
    batches = places()
    batches[BAD] = None
    net, buffers = by_hand(watch.children, batches), dict(space.named_buffers())
    ours = dict(space.named_parameters())
    for name, weight in net.named_parameters():
        torch.testing.assert_close(ours[name], weight, rtol=1e-5, atol=1e-6)
    assert finite(buffers)  # with the statistics of the batch that it has skipped


class ByHand(Poisoned):
    """Optimizes by hand, and gives Lightning no loss."""

    def __init__(self, spoil=None):
        super().__init__(spoil)
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()


def test_evaluator_that_optimizes_by_hand_has_its_gradients_checked():
    with pytest.raises(ValueError, match="step 3, in epoch 0, is not finite: the gradient of"):
        run(ByHand(nan_loss), Children())
    watch = Children()
    _, space = run(ByHand(nan_loss), watch, not_finite="skip")
    batches = places()
    batches[BAD] = None
    assert_same(space, by_hand(watch.children, batches))


def lbfgs(parameters):
    return torch.optim.LBFGS(parameters, 0.1, max_iter=3)


@pytest.mark.parametrize("spoilt", SPOILT)
def test_lbfgs_leaves_the_step_out(spoilt):
    with pytest.raises(ValueError, match="optimizer step 3, in epoch 0, is not finite"):
        run(Poisoned(SPOILT[spoilt], lbfgs))
    strategy, space = run(Poisoned(SPOILT[spoilt], lbfgs), not_finite="skip")
    assert strategy.oneshot_module.finite.skipped == 1 and finite(space.state_dict())


def test_scaler_keeps_its_infinite_gradients_and_losses_are_named():
    # The first scale of 65,536 may be too large; that is the scaler's to find out.
    def overflow(module, loss):
        return loss + 1e36 * (loss - loss.detach())  # infinite when scaled

    def scaled():
        scaler = torch.amp.GradScaler("cpu")
        scaled.last = scaler
        return {"plugins": [MixedPrecision("16-mixed", "cpu", scaler)]}

    strategy, space = run(Poisoned(overflow), **scaled())
    assert finite(space.state_dict()) and scaled.last.get_scale() < 2**16
    with pytest.raises(ValueError, match="is not finite: prediction_loss of child"):
        run(Poisoned(nan_loss), **scaled())
    strategy, space = run(Poisoned(nan_loss), not_finite="skip", **scaled())
    assert strategy.oneshot_module.finite.skipped == 1 and finite(space.state_dict())


@pytest.mark.parametrize("name", ["magic_a", "magic_at"])
def test_alignment_is_named_and_left_out(name, monkeypatch):
    def spoilt(self, step, turn):
        return kept(self, step, turn) * (NAN if self.module.trainer.global_step == 9 else 1)

    kept = Alignment.__call__
    monkeypatch.setattr(Alignment, "__call__", spoilt)
    with pytest.raises(ValueError, match=r"step 10, in epoch 1, .*: alignment_loss of child .* na"):
        run(Poisoned(), name=name)
    strategy, space = run(Poisoned(), name=name, not_finite="skip")
    assert strategy.oneshot_module.finite.skipped == 1 and finite(space.state_dict())


def test_setting_is_one_of_two():
    with pytest.raises(ValueError, match="not_finite is 'warn'; accepted are 'stop', 'skip'"):
        SPOS(seed=0, not_finite="warn")
