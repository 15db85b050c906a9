"""What scoring children remembers, what it leaves as it was, and what it refuses."""

import random

import numpy as np
import pytest
import torch
from nni.nas.evaluator.functional import FunctionalEvaluator
from nni.nas.evaluator.pytorch import DataLoader, Lightning, Trainer
from nni.nas.nn.pytorch import ModelSpace
from scores import Images, images, lightning, losses_by_hand, population, trained
from spaces import ChainSpace, ConvSpace
from torch import nn
from torch.nn.functional import cross_entropy
from training import QUIET

from nni_magic.search import ChildEvaluator
from nni_magic.supernet.connection import as_supernet


class Counting(Images):
    """Counts its validation steps."""

    steps = 0

    def validation_step(self, batch, index):
        Counting.steps += 1
        super().validation_step(batch, index)


def setting(space=ChainSpace, module=None, **settings):
    net, evaluator = trained(space), lightning(module, train=DataLoader(images(40), batch_size=16))
    evaluate = ChildEvaluator(net, evaluator, **{"calibration_batches": 0, **settings})
    return net, evaluator, evaluate, population(net, 6)[:15]


# Memory


@pytest.mark.parametrize("space", [ChainSpace, ConvSpace])
def test_children_are_scored_once_while_the_weights_stay(space):
    module = Counting()
    _, _, evaluate, children = setting(space, module)
    first = evaluate(children)
    steps, calls = Counting.steps, evaluate.calls
    assert evaluate(children[::-1]) == first[::-1]
    assert (Counting.steps, evaluate.calls) == (steps, calls)
    new = {**children[0], "block_4": "conv1", "block_1": "conv3"}
    evaluate([new, *children])
    assert Counting.steps - steps == (0 if new in children else 3)


def step(optimizer):
    def change(net):
        net.train()
        cross_entropy(net(torch.randn(4, 1, 8, 8)), torch.arange(4)).backward()
        optimizer([p for p in net.parameters() if p.grad is not None]).step()

    return change


def loaded(net):
    net.load_state_dict({k: v * 1.01 for k, v in net.state_dict().items()})


def written(net):
    net.layers[0].norm.weight.data.mul_(1.01)


def replaced(net):
    net.layers[0].norm.weight = nn.Parameter(net.layers[0].norm.weight.detach() * 1.01)


def buffer(net):
    net.layers[0].norm.running_mean += 0.1


CHANGES = {
    "sgd": step(lambda ps: torch.optim.SGD(ps, lr=0.1)),
    "fused sgd": step(lambda ps: torch.optim.SGD(ps, lr=0.1, fused=True)),
    "fused adam": step(lambda ps: torch.optim.Adam(ps, lr=0.01, fused=True)),
    "each adam": step(lambda ps: torch.optim.Adam(ps, lr=0.01, foreach=True)),
    "load_state_dict": loaded, "data": written, "replaced": replaced, "buffer": buffer,
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_children_are_scored_again_when_weights_have_changed(change):
    net, evaluator, evaluate, children = setting()
    before = evaluate(children)
    CHANGES[change](net)
    after = evaluate(children)
    assert after == pytest.approx(losses_by_hand(net, children, evaluator), rel=1e-6)
    assert after != before


# What stays as it was


def snapshot(net, evaluator):
    module = evaluator.module
    return {
        "tensors": {k: (id(t), t._version) for k, t in net.state_dict(keep_vars=True).items()},
        "content": repr({k: t.tolist() for k, t in net.state_dict().items()}),
        "modes": [m.training for m in module.modules()] + [m.training for m in net.modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()],
        "torch": torch.get_rng_state().tolist(),
        "numpy": repr(np.random.get_state()),
        "python": random.getstate(),
        "metric": module.accuracy.compute().item(),
        "log": module.log,
        "forward": [m.__dict__.get("forward") for m in net.modules()],
        "gradients": [p.grad for p in net.parameters()],
        "enabled": torch.is_grad_enabled(),
    }


@pytest.mark.parametrize("calibration_batches", [0, 2])
@pytest.mark.parametrize("space", [ChainSpace, ConvSpace])
def test_all_stays_as_it_was(space, calibration_batches):
    net, evaluator, evaluate, children = setting(space, calibration_batches=calibration_batches)
    evaluator.module.accuracy.update(torch.eye(10), torch.arange(10))
    net.train()
    for module in list(net.modules())[::3]:
        module.training = False
    before = snapshot(net, evaluator)
    evaluate(children)
    assert snapshot(net, evaluator) == before


class Failing(Images):
    """Fails for the third child of those that are scored."""

    left = 10**9  # of the class: attributes of the module are put back

    def validation_step(self, batch, index):
        super().validation_step(batch, index)
        Failing.left -= 1
        if Failing.left == 0:
            raise ArithmeticError("in validation_step")


@pytest.mark.parametrize("space", [ChainSpace, ConvSpace])
def test_all_stays_as_it_was_after_an_error(space):
    module = Failing()
    net, evaluator, evaluate, children = setting(space, module, calibration_batches=2)
    evaluate(children[:1])
    net.train()
    module.accuracy.reset()
    module.accuracy.update(torch.eye(10), torch.arange(10))
    before = snapshot(net, evaluator)
    Failing.left = 5
    with pytest.raises(ArithmeticError, match="in validation_step"):
        evaluate(children)
    assert snapshot(net, evaluator) == before
    anew = ChildEvaluator(net, evaluator, calibration_batches=2)
    assert evaluate(children) == anew(children)


def test_a_plain_space_is_copied():
    space = ConvSpace()
    net = as_supernet(space)
    children = population(net)[:5]
    found = ChildEvaluator(space, lightning(), calibration_batches=0)(children)
    assert found == pytest.approx(losses_by_hand(net, children, lightning()))


# Refusals


def child(net):
    return {f"block_{n}": "conv1" for n in range(1, 5)}


@pytest.mark.parametrize(("change", "message"), [
    (lambda c: c.pop("block_2"), r"of another space: it lacks \['block_2'\]"),
    (lambda c: c.update(more=1), r"of another space: it has unknown labels \['more'\]"),
    (lambda c: c.update(block_3="mha"), r"'block_3' is 'mha'; accepted are \['conv1', 'conv3'"),
])  # fmt: skip
def test_samples_of_another_space_are_refused(change, message):
    net, _, evaluate, _ = setting()
    sample = child(net)
    change(sample)
    with pytest.raises(ValueError, match=message):
        evaluate([child(net), sample])


@pytest.mark.parametrize(("settings", "message"), [
    ({"n_batches": 0}, "n_batches is 0; accepted are whole numbers of at least 1"),
    ({"n_batches": 1.5}, "n_batches is 1.5; accepted are whole numbers of at least 1"),
    ({"n_batches": True}, "n_batches is True; accepted are whole numbers of at least 1"),
    ({"memory": 0}, "memory is 0; accepted are whole numbers of at least 1"),
    ({"calibration_batches": -1}, "calibration_batches is -1; .* of at least 0"),
    ({"mode": "best"}, "mode is 'best'; accepted are 'min', 'max'"),
])  # fmt: skip
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        setting(**settings)


@pytest.mark.parametrize("loaders", [None, []])
def test_no_validation_data(loaders):
    evaluator = Lightning(Images(), Trainer(**QUIET), val_dataloaders=loaders)
    evaluate = ChildEvaluator(trained(ChainSpace), evaluator, calibration_batches=0)
    with pytest.raises(ValueError, match="there are no validation batches to score children on"):
        evaluate([child(None)])


def test_an_evaluator_that_is_not_lightnings():
    with pytest.raises(TypeError, match="evaluator is a FunctionalEvaluator; accepted are NNI's L"):
        ChildEvaluator(ConvSpace(), FunctionalEvaluator(print))


def test_several_devices():
    with pytest.raises(ValueError, match=r"devices of the .* trainer is 2; accepted is 1"):
        ChildEvaluator(ConvSpace(), lightning(devices=2))


def test_a_space_without_choices():
    class Fixed(ModelSpace):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

    with pytest.raises(ValueError, match="Fixed has no choices"):
        ChildEvaluator(Fixed(), lightning())


def test_evaluator_may_evaluate_something_else_in_between():
    net, evaluator, evaluate, children = setting()
    expected = evaluate(children)
    other = ConvSpace().freeze({f"block_{n}": "conv1" for n in range(1, 5)})
    evaluator.trainer.validate(evaluator.module, evaluator.val_dataloaders, verbose=False)
    evaluator.module.set_model(other)
    evaluator.trainer.validate(evaluator.module, evaluator.val_dataloaders, verbose=False)
    with torch.no_grad():
        next(net.parameters()).add_(0)  # the weights count as changed
    steps = evaluate.calls
    assert evaluate(children) == expected
    assert evaluate.calls > steps
