"""A supernet and an evaluator outside of training."""

import pytest
import torch
from nni.nas.evaluator.functional import FunctionalEvaluator
from nni.nas.evaluator.pytorch import DataLoader, LightningModule
from nni.nas.oneshot.pytorch.sampling import RandomSamplingLightningModule
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from scores import Images, images, lightning
from spaces import ConvSpace, set_path, supernet
from torch.utils.data import default_collate

from nni_magic.supernet.connection import (
    as_supernet,
    check_evaluator,
    connect,
    connected,
    on_device,
)


def test_a_plain_space_is_copied_and_a_supernet_is_not():
    space = ConvSpace()
    before = {name: tensor.clone() for name, tensor in space.state_dict().items()}
    net = as_supernet(space)
    assert any(isinstance(module, BaseSuperNetModule) for module in net.modules())
    assert not any(isinstance(module, BaseSuperNetModule) for module in space.modules())
    assert all(torch.equal(before[name], t) for name, t in net.state_dict().items())
    assert as_supernet(net) is net
    with torch.no_grad():
        net.stem.weight.add_(1)
    assert all(torch.equal(before[name], t) for name, t in space.state_dict().items())


def test_a_connected_evaluator_runs_the_supernet():
    net, evaluator = supernet(ConvSpace()), lightning(precision="64-true")
    module = RandomSamplingLightningModule(evaluator.module)
    connect(module, net, evaluator)
    assert evaluator.module.model is net
    assert evaluator.module.trainer is module.trainer is evaluator.trainer
    batch = on_device(module, default_collate([images()[i] for i in range(4)]))
    assert batch[0].dtype == torch.float64  # as the trainer would give it
    set_path(net, {f"block_{n}": "conv1" for n in range(1, 5)})
    assert evaluator.module.training_step([batch[0].float(), batch[1]], 0).isfinite()


class Stepping(Images):
    """Keeps something of each step, and holds another Lightning module."""

    def __init__(self):
        super().__init__()
        self.teacher = LightningModule()
        self.seen = 1

    def set_model(self, model):
        super().set_model(model)
        self.width = self.model.stem.out_channels

    def step(self):
        self.seen += 1
        self.last = self.seen


def attached(evaluator):
    """All that evaluator, trainer and loops hold, whatever its name, in order."""
    trainer, fit = evaluator.trainer, evaluator.trainer.fit_loop
    loops = [fit, fit.epoch_loop, fit.epoch_loop.val_loop, trainer.validate_loop,
             trainer.test_loop, trainer.predict_loop]  # fmt: skip
    owners = [evaluator, trainer, trainer.strategy, trainer.precision_plugin, *loops,
              trainer._data_connector]  # fmt: skip
    owners += [loop._data_source for loop in loops if hasattr(loop, "_data_source")]
    held = [vars(owner) for owner in owners]
    for module in (evaluator.module, *evaluator.module.children()):
        if isinstance(module, LightningModule):
            held += [vars(module), module._modules]
    return [(name, value) for names in held for name, value in names.items()]


def same(one, other):
    return [name for name, _ in one] == [name for name, _ in other] and all(
        a is b for (_, a), (_, b) in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("before", ["new", "connected", "fitted"])
def test_a_connection_ends_with_its_block(before):
    evaluator = lightning(Stepping(), train=DataLoader(images(), 8))
    net = ConvSpace()
    if before == "connected":
        connect(RandomSamplingLightningModule(evaluator.module), supernet(net), evaluator)
    elif before == "fitted":
        evaluator.evaluate(net.freeze({f"block_{n}": "conv1" for n in range(1, 5)}))
    found = attached(evaluator)
    other, module = supernet(ConvSpace()), RandomSamplingLightningModule(evaluator.module)
    for _ in range(2):
        with connected(module, other, evaluator):
            assert evaluator.module.model is other
            assert evaluator.trainer.lightning_module is module
            assert evaluator.module.teacher.trainer is evaluator.trainer
            assert not same(attached(evaluator), found)
            evaluator.module.step()
        assert same(attached(evaluator), found)
    with pytest.raises(ArithmeticError), connected(module, other, evaluator):
        raise ArithmeticError
    assert same(attached(evaluator), found)


@pytest.mark.parametrize(("evaluator", "error", "message"), [
    (FunctionalEvaluator(print), TypeError, "is a FunctionalEvaluator; .* NNI's Lightning"),
    (lightning(devices=2), ValueError, "devices of the .* trainer is 2; accepted is 1"),
])  # fmt: skip
def test_refusals(evaluator, error, message):
    with pytest.raises(error, match=message):
        check_evaluator(evaluator)
