"""Interference logged in training: the value by plain autograd, and that training is the same."""

import copy
import random

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from nni.nas.nn.pytorch import InputChoice
from pytorch_lightning import loggers
from pytorch_lightning.plugins.precision import MixedPrecision
from spaces import ConvSpace, set_path
from torch import nn
from training import (
    ALIGNING,
    QUIET,
    DictModule,
    Watch,
    bert,
    classification,
    dict_evaluator,
    images,
    make,
    train,
)

from nni_magic.analysis.during_training import LogInterference
from nni_magic.supernet.resume import seed_generators
from search_spaces import BertSpace

COSINE, SHARED = "interference/adjacent_cosine", "interference/shared_candidates"


class Logger(loggers.Logger):
    """Remembers what LogInterference logs."""

    name, version = "logger", 0

    def __init__(self):
        super().__init__()
        self.logged = {}

    def log_hyperparams(self, *args, **kwargs):
        pass

    def log_metrics(self, metrics, step):
        if SHARED in metrics:
            self.logged[step] = metrics


def run(name, space, evaluator, n=1, *, watch=None, callbacks=(), checkpoint=None, seed=3, **more):
    """Train with LogInterference every ``n`` steps, or without it."""
    watch, logger = watch or Watch(), Logger()
    seed_generators(11)
    net, made = space(), evaluator(watch, **{"epochs": 2, **more})
    made.trainer.loggers = [logger]
    made.trainer.callbacks += [*callbacks, *([LogInterference(n)] if n else [])]
    short = {"align_every": 1} if name in ALIGNING else {}  # some spaces have two blocks
    train(make(name, seed=seed, **short), net, made, checkpoint)
    return watch, net, logger.logged, made.trainer


# The value


class ByHand(pl.Callback):
    """Computes the metrics of every step on a copy of the supernet, with plain ``backward``."""

    def __init__(self):
        self.children, self.expected = [], {}

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.children.append(module.child)
        if len(self.children) > 1:
            net = module.training_module.model
            one, two = (gradients(net, child, *batch) for child in self.children[-2:])
            names = one.keys() & two.keys()
            self.expected[trainer.global_step - 1] = [cosine(one[n], two[n]) for n in names]


def gradients(net, child, x, labels):
    """Flattened gradient of every candidate of a child that has weights, by block and name."""
    net = copy.deepcopy(net).train()
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    net.zero_grad()
    set_path(net, child)
    nn.functional.cross_entropy(net(x), labels).backward()
    found = {}
    for label, name in child.items():
        candidate = net.blocks[int(label.removeprefix("block_")) - 1][name]
        if grads := [p.grad.flatten() for p in candidate.parameters()]:
            found[label, name] = torch.cat(grads).double().numpy()
    return found


def cosine(a, b):
    return np.sum(a * b) / np.sqrt(np.sum(a**2) * np.sum(b**2))


@pytest.mark.parametrize("name", [pytest.param("spos", marks=pytest.mark.slow), "magic_at"])
def test_the_mean_cosine_is_that_of_plain_autograd(name):
    by_hand = ByHand()
    settings = {"callbacks": [by_hand], "seed": 1}
    _, _, logged, trainer = run(name, lambda: ConvSpace(2), classification, **settings)
    assert list(logged) == list(by_hand.expected) == list(range(1, 12))
    for step, expected in by_hand.expected.items():
        assert logged[step][SHARED] == len(expected)
        if expected:
            assert logged[step][COSINE] == pytest.approx(np.mean(expected), abs=1e-5)
        else:
            assert COSINE not in logged[step]
    assert {len(expected) for expected in by_hand.expected.values()} >= {0, 1}
    assert trainer.callback_metrics[SHARED] == logged[11][SHARED]


class Masking(DictModule):
    """Draws from all global generators, and logs."""

    def training_step(self, batch, batch_idx):
        labels = torch.randint_like(batch["labels"], random.randint(10, 50))
        loss = self._loss({**batch, "labels": labels}) * np.random.rand()
        self.log_dict({"train_loss": loss}, prog_bar=True)
        return loss


def masking(watch, **trainer):
    made = dict_evaluator(watch, **trainer)
    made.module = Masking()
    return made


def one_child():
    return BertSpace(2, 16, 50, 12, dropout=0.5, candidates=("ffn",))


def test_a_child_and_itself_agree_however_random_the_step():
    _, _, logged, _ = run("magic_t", one_child, masking)
    assert len(logged) == 7
    for metrics in logged.values():
        assert metrics == {SHARED: 2, COSINE: pytest.approx(1)}


class Tiny(DictModule):
    """Gradients so small that half precision holds none of them."""

    def training_step(self, batch, batch_idx):
        return 1e-9 * self._loss(batch)


def test_half_precision_loses_no_gradient():
    def evaluator(watch, **trainer):
        made = dict_evaluator(watch, **trainer)
        made.module = Tiny()
        return made

    counts = []
    for scale in (2.0**30, 1.0):
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        half = MixedPrecision("16-mixed", "cpu", scaler)
        logged = run("magic_t", bert, evaluator, epochs=1, plugins=[half])[2]
        counts.append([metrics[SHARED] for metrics in logged.values()])
    assert counts[0] == [3, 3, 3]
    assert sum(counts[1]) < 9  # what would be lost


def test_gradients_that_overflow_are_left_out():
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=1000)
    half = MixedPrecision("16-mixed", "cpu", scaler)
    logged = run("magic_t", bert, dict_evaluator, epochs=1, plugins=[half])[2]
    assert list(logged.values()) == [{SHARED: 0}] * 3


# Training is the same


@pytest.mark.parametrize(
    ("name", "space", "evaluator", "settings"),
    [
        ("magic_t", bert, masking, {"precision": "bf16-mixed", "epochs": 1}),
        ("magic_a", ConvSpace, classification, {"accumulate_grad_batches": 2}),
        pytest.param("spos", bert, masking, {}, marks=pytest.mark.slow),
        pytest.param(
            "magic_at",
            ConvSpace,
            classification,
            {"gradient_clip_val": 0.5},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_training_is_the_same_bit_for_bit(name, space, evaluator, settings):
    plain, plain_net, none, _ = run(name, space, evaluator, 0, **settings)
    watch, net, logged, _ = run(name, space, evaluator, **settings)
    assert watch.steps == plain.steps
    for key, value in plain_net.state_dict().items():
        assert torch.equal(value, net.state_dict()[key])
    for own, others in zip(net.parameters(), plain_net.parameters(), strict=True):
        assert (own.grad is None) == (others.grad is None)
        assert own.grad is None or torch.equal(own.grad, others.grad)
    strip = [{k: v for k, v in v.items() if "interference" not in k} for v in watch.validations]
    assert strip == plain.validations
    assert none == {} and len(logged) >= 3


def test_resumed_run_logs_the_same(tmp_path):
    path, settings = tmp_path / "stopped.ckpt", ("magic_t", bert, masking, 2)
    whole = run(*settings)[2]
    before = run(*settings, watch=Watch(3, path))[2]
    after = run(*settings, checkpoint=path)[2]
    assert {**before, **after} == whole
    assert list(before) == [1] and list(after) == [3, 5, 7]


# When


@pytest.mark.parametrize(("n", "steps"), [(1, [1, 2, 3]), (2, [1, 3]), (3, [2]), (5, [])])
def test_it_logs_every_n_optimizer_steps_whatever_the_logger_keeps(n, steps):
    _, _, logged, _ = run(
        "spos", ConvSpace, classification, n, accumulate_grad_batches=3, log_every_n_steps=50
    )
    assert list(logged) == steps


def test_skipped_batches_share_nothing():
    class Skipping(DictModule):
        def training_step(self, batch, batch_idx):
            return None if batch_idx == 1 else super().training_step(batch, batch_idx)

    def evaluator(watch, **trainer):
        made = dict_evaluator(pl.Callback(), **trainer)
        made.module = Skipping()
        return made

    logged = run("magic_t", bert, evaluator, epochs=1)[2]
    assert [metrics[SHARED] for metrics in logged.values()] == [0, 3, 3]


def test_state_keeps_the_child_before_among_accumulated_batches(tmp_path):
    callback, other = LogInterference(), LogInterference()
    callback.load_state_dict({"step": 4, "previous": {"block_1": "skip"}})
    torch.save(callback.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert other.state_dict() == {"step": 4, "previous": {"block_1": "skip"}}


# Bad input


@pytest.mark.parametrize("n", [0, -1, 2.5, None, True])
def test_interval_out_of_range(n):
    with pytest.raises(ValueError, match=f"every_n_steps is {n}; accepted are whole numbers of at"):
        LogInterference(n)


def test_training_of_anything_but_a_supernet_is_refused():
    trainer = pl.Trainer(max_epochs=1, callbacks=[LogInterference()], **QUIET)
    data = torch.utils.data.DataLoader(images())
    with pytest.raises(TypeError, match=r"DictModule has no child and no router and no training_m"):
        trainer.fit(DictModule(), data)


def test_space_without_choice_blocks_is_refused():
    class Inputs(ConvSpace):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([InputChoice(2, n_chosen=1, label="input")])

        def forward(self, x):
            x = self.stem(x)
            return self.head(self.blocks[0]([x, -x]).mean((2, 3)))

    with pytest.raises(ValueError, match="Inputs has no LayerChoice, and so no candidate"):
        run("spos", Inputs, classification)
