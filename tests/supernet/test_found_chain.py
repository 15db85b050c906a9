"""Chains in models that do not say that they are one: what is found, and that it is the model."""

import logging

import nni
import pytest
import torch
from nni.nas.evaluator.pytorch import DataLoader
from nni.nas.nn.pytorch import InputChoice, LayerChoice, ModelSpace, MutableConv2d, Repeat
from scores import (
    Images,
    images,
    lightning,
    losses_by_hand,
    population,
    recalibrated_losses,
    trained,
)
from spaces import WIDTH, CellSpace, ConvSpace, FlatSpace, TupleSpace, conv_bn, set_path
from torch import nn
from torch.nn.functional import cross_entropy, max_pool2d

from nni_magic.children.samples import candidates
from nni_magic.search import ChildEvaluator
from nni_magic.supernet.chain import NoChain
from nni_magic.supernet.found_chain import Gone, found_chain
from nni_magic.supernet.hidden_states import Call

CALL = Call((torch.randn(3, 1, 8, 8),), {})


def run(steps, sample):
    """All steps of a child, one after the other."""
    state = CALL
    for step in steps:
        if step.key(sample) is not None:
            step.route(sample)
            state = step.run(state, **step.given(CALL))
    return state


def block(n):
    return LayerChoice(
        {"conv1": conv_bn(1), "conv3": conv_bn(3), "skip": nn.Identity()}, label=f"b{n}"
    )


class Blocks(ModelSpace):
    """A stem, blocks with a pooling between two of them, and a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, WIDTH, 3, padding=1)
        self.stages = self.make_stages()
        self.head = nn.Linear(WIDTH, 10)

    def make_stages(self):
        return nn.Sequential(block(1), nn.Sequential(block(2), nn.MaxPool2d(2)), block(3))

    def forward(self, x):
        return self.head(self.stages(self.stem(x)).mean((2, 3)))


class Stage(nn.Module):
    """Blocks one behind the other, in code of its own."""

    def __init__(self, *blocks):
        super().__init__()
        self.parts = nn.ModuleList(blocks)

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return x


class Stages(Blocks):
    def make_stages(self):
        return Stage(Stage(block(1), block(2)), block(3))


class Residual(Stage):
    """Adds its input: it hands on, but not alone."""

    def forward(self, x):
        return x + super().forward(x)


class Residuals(Blocks):
    """Two steps that have two choices each, and one with another."""

    def make_stages(self):
        return nn.Sequential(Residual(block(1), block(2)), Residual(block(3), block(4)), block(5))


class Deep(Blocks):
    def make_stages(self):
        return nn.Sequential(
            Repeat(lambda i: block(i), (1, 3), label="depth"), nn.ReLU(), block(7), nn.ReLU()
        )


class Normed(Blocks):
    """Norm and choice before and behind the blocks, and a second input that the head scales by."""

    def __init__(self):
        super().__init__()
        self.before = LayerChoice(
            [nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1)], label="before"
        )
        self.behind = nn.BatchNorm2d(WIDTH)
        self.last = LayerChoice([nn.Linear(WIDTH, WIDTH), nn.Identity()], label="last")

    def forward(self, x, scale=None):
        x = self.stages(self.stem(self.before(x).relu()))
        x = self.last(self.behind(x).relu().mean((2, 3)))
        return self.head(x if scale is None else x * scale[:, None])


class Widths(ModelSpace):
    """Widths chosen by one label in neighbouring modules."""

    def __init__(self):
        super().__init__()
        widths = [nni.choice(f"width_{n}", [2, 4]) for n in range(2)]
        self.features = nn.Sequential(
            MutableConv2d(1, widths[0], 3), nn.ReLU(), MutableConv2d(widths[0], widths[1], 3),
            nn.ReLU(), MutableConv2d(widths[1], WIDTH, 3),
        )  # fmt: skip
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


class Between(Blocks):
    """Code between the second and the third block: the chain ends there."""

    def make_stages(self):
        return nn.ModuleList([block(1), block(2), block(3)])

    def forward(self, x):
        x = self.stages[1](self.stages[0](self.stem(x)))
        return self.head(self.stages[2](max_pool2d(x, 2)).mean((2, 3)))


FOUND = {
    ConvSpace: 7, Blocks: 7, Stages: 6, Residuals: 6, Deep: 8, Normed: 7, Widths: 7, Between: 5,
}  # fmt: skip
"""Steps, with the first and the last."""


@pytest.mark.parametrize("make", FOUND)
def test_the_steps_give_what_the_model_gives(make):
    net = trained(make).eval()
    children = population(net)
    set_path(net, children[0])
    steps = found_chain(net, CALL)
    assert len(steps) == FOUND[make]
    for child in children:
        with torch.no_grad():
            found = run(steps, child)
            set_path(net, child)
            torch.testing.assert_close(found, net(*CALL.args))


@pytest.mark.parametrize("make", FOUND)
@pytest.mark.parametrize("calibration", [0, 2])
def test_scores_are_those_of_children_alone(make, calibration, caplog):
    net, train = trained(make), images(16)
    evaluator = lightning(train=DataLoader(train, batch_size=8))
    children = population(net)
    evaluate = ChildEvaluator(net, evaluator, calibration_batches=calibration)
    with caplog.at_level(logging.INFO):
        found = evaluate(children)
    if calibration:
        batches = list(DataLoader(train, batch_size=8))
        expected = recalibrated_losses(net, children, evaluator, batches)
    else:
        expected = losses_by_hand(net, children, evaluator)
    assert found == pytest.approx(expected, rel=1e-5)
    assert len(set(found)) >= 3 and "alone" not in caplog.text
    different = {tuple(sorted(child.items())) for child in children}
    assert evaluate.calls == evaluate.needed_calls(children) < len(different) * FOUND[make]


def test_further_inputs_reach_what_is_behind_the_chain():
    class Scaled(Images):
        def validation_step(self, batch, index):
            logits = self.model(batch[0], scale=batch[1].float() / 10)
            self.log("val_loss", cross_entropy(logits, batch[1]))

    net, evaluator = trained(Normed), lightning(Scaled())
    children = population(net)
    evaluate = ChildEvaluator(net, evaluator, calibration_batches=0)
    found, expected = evaluate(children), []
    for child in children:
        set_path(net, child)
        with torch.no_grad():
            x, y = images().tensors
            expected.append(cross_entropy(net.eval()(x, y / 10), y).item())
    assert found == pytest.approx(expected, rel=1e-5)
    assert len(evaluate._runs._prepared.runner.steps) == FOUND[Normed]


@pytest.mark.parametrize("make", [FlatSpace, CellSpace, TupleSpace])
def test_models_in_which_fewer_than_two_blocks_are_linked_are_one_step(make):
    net = trained(make).eval()
    set_path(net, population(net)[0])
    call = Call((torch.randn(3, WIDTH),), {}) if make is FlatSpace else CALL
    assert len(found_chain(net, call)) == 1


class Again(Between):
    """The second block is run twice."""

    def forward(self, x):
        x = self.stages[1](self.stages[1](self.stages[0](self.stem(x))))
        return self.head(self.stages[2](x).mean((2, 3)))


class Skipping(Between):
    """What the first block gives is added behind the last."""

    def forward(self, x):
        first = self.stages[0](self.stem(x))
        return self.head((first + self.stages[2](self.stages[1](first))).mean((2, 3)))


class Chosen(Between):
    """Children whose ``inputs`` are 0 or 1 read the last state alone, those at 2 the first."""

    def __init__(self):
        super().__init__()
        self.inputs = InputChoice(3, n_chosen=1, label="inputs")

    def forward(self, x):
        first = self.stages[0](self.stem(x))
        last = self.stages[2](self.stages[1](first))
        return self.head(self.inputs([last, last * 2, first]).mean((2, 3)))


class Shaped(Between):
    """Looks at the shape of a state."""

    def forward(self, x):
        first = self.stages[0](self.stem(x))
        assert first.shape[1] == WIDTH
        return self.head(self.stages[2](self.stages[1](first)).mean((2, 3)))


@pytest.mark.parametrize("make", [Again, Skipping, Shaped])
def test_states_that_are_read_twice_make_no_chain(make):
    net, evaluator = trained(make), lightning()
    children = population(net)
    evaluate = ChildEvaluator(net, evaluator, calibration_batches=0)
    assert evaluate(children) == pytest.approx(losses_by_hand(net, children, evaluator), rel=1e-6)
    different = {tuple(sorted(child.items())) for child in children}
    assert evaluate.calls == len(different)


def test_a_child_that_is_no_chain_is_noticed_late(caplog):
    net, evaluator = trained(Chosen), lightning()
    children = population(net)
    early = [{**child, "inputs": [i % 2]} for i, child in enumerate(children)]
    late = [{**child, "inputs": [2]} for child in children]
    evaluate = ChildEvaluator(net, evaluator, calibration_batches=0)
    for some in (early, late):
        assert evaluate(some) == pytest.approx(losses_by_hand(net, some, evaluator), rel=1e-6)
    assert "the steps of Chosen do not give what its forward gives" in caplog.text


@pytest.mark.parametrize("use", [
    lambda gone: gone + torch.ones(1), lambda gone: torch.ones(1) * gone, lambda gone: gone.mean(),
    lambda gone: torch.cat([torch.ones(1), gone]), lambda gone: torch.stack([gone]),
    lambda gone: nn.Linear(2, 2)(gone),
])  # fmt: skip
def test_nothing_can_be_computed_with_a_state_that_is_gone(use):
    with pytest.raises(NoChain, match="read a second time"):
        use(Gone())


def test_hooks_and_modes_are_as_before():
    net = trained(Normed).eval()
    set_path(net, {label: choices[0] for label, choices in candidates(net).items()})
    before = [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()]
    found_chain(net, CALL)
    assert before == [
        (m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()
    ]
