"""What training steps on a frozen supernet leave as it was, and how micro-batches add up."""

import random

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.functional import FunctionalEvaluator
from nni.nas.oneshot.pytorch.sampling import RandomSamplingLightningModule
from pytorch_lightning.plugins.precision import MixedPrecision
from scores import Images, images, lightning, trained
from spaces import ChainSpace, ConvSpace, set_path, supernet
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import default_collate
from training import (
    DictModule,
    Tokens,
    Watch,
    bert,
    classification,
    dict_evaluator,
    make,
    train,
)

from nni_magic.analysis.frozen import FrozenTraining
from nni_magic.analysis.gradients import SharedGradients
from nni_magic.analysis.interference import gradient_similarity, interference_study
from nni_magic.supernet.connection import connect

LABELS = [f"block_{n}" for n in range(1, 5)]


def batch_of(data, rows):
    return default_collate([data[i] for i in rows])


def children():
    base = dict.fromkeys(LABELS, "conv3")
    return [{**base, "block_3": choice} for choice in ("conv1", "drop", "conv3")]


class Noisy(Images):
    """Draws from every generator, logs, and updates a metric."""

    def training_step(self, batch, index):
        images, labels = batch
        noise = torch.randn(len(images), 1, 8, 8) + np.random.randn() + random.random()
        logits = self.model(images + noise)
        self.accuracy.update(logits, labels)
        self.log("train_acc", self.accuracy)
        loss = cross_entropy(logits, labels)
        self.log_dict({"train_loss": loss})
        return {"loss": loss, "logits": logits}


def snapshot(net, evaluator):
    module, strategy = evaluator.module, evaluator.trainer.strategy
    parameters = [*net.parameters(), *module.parameters()]
    return {
        "tensors": {k: (id(t), t._version) for k, t in net.state_dict(keep_vars=True).items()},
        "content": repr({k: t.tolist() for k, t in net.state_dict().items()}),
        "gradients": [None if p.grad is None else (id(p.grad), p.grad.sum()) for p in parameters],
        "trained": [p.requires_grad for p in parameters],
        "modes": [m.training for m in (*net.modules(), *module.modules())],
        "tracking": [getattr(m, "track_running_stats", None) for m in net.modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()],
        "forward": [m.__dict__.get("forward") for m in net.modules()],
        "torch": torch.get_rng_state().tolist(),
        "numpy": repr(np.random.get_state()),
        "python": random.getstate(),
        "metric": (module.accuracy.compute().item(), module.accuracy._update_count),
        "log": module.log,
        "optimizer": repr(strategy.optimizers[0].state_dict()),
        "path": [getattr(m, "_sampled", None) for m in net.modules()],
        "attached": (id(module.model), id(module.trainer), id(strategy.lightning_module)),
        "enabled": torch.is_grad_enabled(),
    }


def prepared(space, module):
    """A supernet in a mixed state, with gradients and frozen weights, and its evaluator.

    The trainer has an optimizer of the supernet, and is attached to another supernet.
    """
    net, evaluator = trained(space), lightning(module)
    evaluator.module.accuracy.update(torch.eye(10), torch.arange(10))
    connect(RandomSamplingLightningModule(evaluator.module), supernet(space()), evaluator)
    set_path(net, dict.fromkeys(LABELS, "skip"))
    optimizer = torch.optim.Adam(net.parameters())
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    evaluator.trainer.strategy.optimizers = [optimizer]
    for module in list(net.modules())[::3]:
        module.training = False
    for i, parameter in enumerate(net.parameters()):
        parameter.requires_grad_(i % 5 != 0)
        parameter.grad = torch.ones_like(parameter) if i % 2 else None
    return net, evaluator


def execution_order(*made):
    return SharedGradients(*made).execution_order()


def similarity(*made):
    return gradient_similarity(*made, "block_2", children())


def study(*made):
    return interference_study(*made, shared_layers=[2], differences=[1], repetitions=2, seed=0)


@pytest.mark.parametrize("analysis", [execution_order, similarity, study])
@pytest.mark.parametrize("space", [ChainSpace, ConvSpace])
def test_all_stays_as_it_was(space, analysis):
    net, evaluator = prepared(space, Noisy())
    before = snapshot(net, evaluator)
    assert "exp_avg" in before["optimizer"]
    analysis(net, evaluator, [batch_of(images(), range(8))] * 2)
    assert snapshot(net, evaluator) == before


def test_gradients_are_taken_where_torch_is_told_to_take_none():
    gradients = SharedGradients(trained(ChainSpace), lightning(), [batch_of(images(), range(8))])
    with torch.no_grad():
        found = gradients("block_2", children())
    assert (found.norm(dim=1) > 0).all()


class Failing(Noisy):
    """Fails for a child."""

    def training_step(self, batch, index):
        output = super().training_step(batch, index)
        if self.model.get_submodule(self.place)._sampled == "drop":
            raise ArithmeticError("in training_step")
        return output


@pytest.mark.parametrize(("space", "place"), [
    (ChainSpace, "layers.2.operator"), (ConvSpace, "blocks.2"),
])  # fmt: skip
def test_all_stays_as_it_was_after_an_error(space, place):
    module = Failing()
    module.place = place
    net, evaluator = prepared(space, module)
    gradients = SharedGradients(net, evaluator, [batch_of(images(), range(8))])
    before = snapshot(net, evaluator)
    with pytest.raises(ArithmeticError, match="in training_step"):
        gradients("block_2", children())
    assert snapshot(net, evaluator) == before


@pytest.mark.parametrize("space", [ChainSpace, ConvSpace])
def test_random_numbers_are_the_same_for_every_child(space):
    net = trained(space)
    gradients = SharedGradients(net, lightning(Noisy()), [batch_of(images(), range(8))] * 2)
    child = children()[0]
    torch.manual_seed(1)
    a, b = gradients("block_2", [child, dict(child)])
    torch.manual_seed(2)
    c = gradients("block_2", [child])[0]
    assert torch.equal(a, b) and torch.equal(a, c)
    other = SharedGradients(net, lightning(), [batch_of(images(), range(8))] * 2)
    assert not torch.allclose(a, other("block_2", [child])[0])  # there is noise


class Analysis(pl.Callback):
    """Analyses the supernet that is being trained, with the evaluator that trains it."""

    evaluator = None

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        net = module.training_module.model
        gradient_similarity(net, self.evaluator, [batch], "block_2", children())


def test_training_goes_on_as_it_would_have():
    weights = []
    for callback in (Analysis(), pl.Callback()):
        torch.manual_seed(0)
        net, evaluator = ConvSpace(), classification(callback, epochs=2)
        callback.evaluator = evaluator
        train(make("magic_a"), net, evaluator)
        weights.append(net.state_dict())
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


# Micro-batches


class Logging(DictModule):
    """Logs its loss, a mean over tokens, with their number."""

    def training_step(self, batch, batch_idx):
        loss = self._loss(batch)
        self.log("norm", 0.5, batch_size=7)
        self.log("train_loss", loss.detach(), batch_size=int(batch["attention_mask"].sum()))
        return loss


@pytest.mark.parametrize("parts", [
    [range(12)], [range(6), range(6, 12)], [range(1), range(1, 10), range(10, 12)],
])  # fmt: skip
def test_micro_batches_give_the_gradient_of_the_whole_by_what_is_logged(parts):
    evaluator = dict_evaluator(Watch())
    evaluator.module = Logging()
    net, base = trained(bert), dict.fromkeys([f"layer_{n}" for n in range(1, 5)], "ffn")
    samples = [base, {**base, "layer_4": "mha2"}, {**base, "layer_1": "conv3"}]
    whole = SharedGradients(net, evaluator, [batch_of(Tokens(), range(12))])("layer_2", samples)
    batches = [batch_of(Tokens(), rows) for rows in parts]
    found = SharedGradients(net, evaluator, batches)("layer_2", samples)
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-6 * whole.abs().max().item())


class Linears(ChainSpace):
    """Without BatchNorm, whose statistics would be of the micro-batches."""

    def __init__(self):
        super().__init__()
        for module in self.modules():
            for name, child in module.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(module, name, nn.Identity())


def test_micro_batches_weigh_by_their_size_where_nothing_is_logged():
    net = trained(Linears)
    whole, *parts = (
        batch_of(images(), rows) for rows in (range(12), range(2), range(2, 11), range(11, 12))
    )
    wanted = SharedGradients(net, lightning(), [whole])("block_2", children())
    found = SharedGradients(net, lightning(), parts)("block_2", children())
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6 * wanted.abs().max().item())
    equal = sum(SharedGradients(net, lightning(), [p])("block_2", children()) for p in parts) / 3
    assert (equal - wanted).norm() > 0.1 * wanted.norm()


# Refusals


class Lossless(Images):
    loss = None

    def training_step(self, batch, index):
        return self.loss


@pytest.mark.parametrize(("loss", "message"), [
    (None, "training_step of Lossless gives a loss of None; accepted are tensors"),
    ({"logits": 1}, "gives a loss of None"),
    (0.5, "gives a loss of 0.5"),
    (torch.ones(3), r"gives a loss of shape \(3,\); .* with one element"),
])  # fmt: skip
@pytest.mark.parametrize("space", [ChainSpace, ConvSpace])
def test_step_without_a_scalar_loss(space, loss, message):
    module = Lossless()
    module.loss = loss
    gradients = SharedGradients(trained(space), lightning(module), [batch_of(images(), range(4))])
    with pytest.raises(ValueError, match=message):
        gradients("block_2", children())


class Manual(Images):
    automatic_optimization = False


def half():
    return lightning(plugins=[MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))])


@pytest.mark.parametrize(("evaluator", "batches", "error", "message"), [
    (lambda: FunctionalEvaluator(print), [0], TypeError, "evaluator is a FunctionalEvaluator"),
    (lambda: lightning(devices=2), [0], ValueError, "devices of the .*trainer is 2; accepted is 1"),
    (lambda: lightning(Manual()), [0], ValueError, "automatic_optimization of Manual is Fal"),
    (half, [0], ValueError, r"precision '16-mixed', .* accepted are others, such as '32-true'"),
    (lambda: lightning(precision="16-true"), [0], ValueError, "precision '16-true', in which"),
    (lightning, torch.ones(2), TypeError, r"batches is a Tensor; .* such as \[batch\]"),
    (lightning, [], ValueError, "batches is empty"),
])  # fmt: skip
def test_refusals(evaluator, batches, error, message):
    with pytest.raises(error, match=message):
        FrozenTraining(ConvSpace(), evaluator(), batches)
