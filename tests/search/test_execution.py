"""Running steps of many children: memory, states of several shapes, states changed in place."""

import pytest
import torch
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from scores import images, lightning, losses_by_hand, population, trained
from spaces import ChainSpace, set_path
from torch import nn
from training import Watch, bert, dict_evaluator

from nni_magic.search import ChildEvaluator
from nni_magic.search.execution import ChainRunner
from nni_magic.supernet.chain import chain_of
from nni_magic.supernet.hidden_states import Call

IMAGES = images().tensors[0]
CALLS = [Call((IMAGES[:8],), {}), Call((IMAGES[8:13],), {})]


def runner_for(net, children, **settings):
    return ChainRunner(chain_of(net), CALLS, **{"memory": 2**28, "probe": children[0], **settings})


def distinct(net, n=20):
    return list({repr(child): child for child in population(net, n)}.values())


def assert_outputs_are_the_models(net, children, runner):
    with torch.no_grad():
        found = dict(runner.outputs(children))
    assert sorted(found) == list(range(len(children)))
    for index, child in enumerate(children):
        set_path(net, child)
        with torch.no_grad():
            for output, call in zip(found[index], CALLS, strict=True):
                torch.testing.assert_close(output, net(*call.args))


@pytest.mark.parametrize("memory", [1, 10_000, 300_000, 2**28])
def test_outputs_are_the_models_whatever_fits_in_memory(memory):
    net = trained(ChainSpace).eval()
    children = distinct(net)
    assert_outputs_are_the_models(net, children, runner_for(net, children, memory=memory))


@pytest.mark.parametrize("memory", [20_000, 80_000])
def test_states_held_at_once_fit_in_memory(memory, monkeypatch):
    """Of a step's results that are alive at a time; a state here is 13 x 4 x 8 x 8 floats."""
    net = trained(ChainSpace).eval()
    children = distinct(net)
    state = 13 * 4 * 8 * 8 * 4
    runner = runner_for(net, children, memory=memory)
    sizes = []
    advance = ChainRunner._advance

    def watched(self, depth, tree, samples, states):
        sizes.append(len(states) * state if depth else 0)
        return advance(self, depth, tree, samples, states)

    monkeypatch.setattr(ChainRunner, "_advance", watched)
    with torch.no_grad():
        list(runner.outputs(children))
    assert 0 < max(sizes) <= max(memory, state)


def test_arguments_are_not_multiplied_for_steps_that_do_not_take_them():
    """A batch of images, once for every child, would need far more than the states."""
    net = trained(ChainSpace).eval()
    children = distinct(net)
    seen = []
    for layer in net.layers:
        layer.register_forward_pre_hook(
            lambda module, args, kwargs: seen.append((len(args), kwargs)), with_kwargs=True
        )
    assert_outputs_are_the_models(net, children, runner_for(net, children))
    assert (1, {}) in seen and all(kwargs == {} for _, kwargs in seen)


class Limited:
    """Stands for a step on a GPU: too many children in a call are too much for its memory."""

    def __init__(self, run, most):
        self.run, self.most, self.calls = run, most, []

    def __call__(self, state, **given):
        children = len(state) / 8 if len(state) % 8 == 0 else len(state) / 5
        self.calls.append(children)
        if children > self.most:
            raise torch.OutOfMemoryError("too many")
        return self.run(state, **given)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_children_of_a_call_are_halved_until_memory_is_enough(most):
    net = trained(ChainSpace).eval()
    children = distinct(net)
    runner, enough = runner_for(net, children), runner_for(net, children)
    limited = [Limited(step.run, most) for step in runner.steps[1:]]
    for step, run in zip(runner.steps[1:], limited, strict=True):
        step.run = run
    assert_outputs_are_the_models(net, children, runner)
    with torch.no_grad():
        list(enough.outputs(children))
    assert runner.n_calls == enough.n_calls
    assert max(max(run.calls) for run in limited) > most
    failed = [sum(n > most for n in run.calls) for run in limited]
    assert max(failed) <= 5  # it is remembered what was too much


def test_a_single_child_that_does_not_fit_raises():
    net = trained(ChainSpace).eval()
    children = distinct(net)
    runner = runner_for(net, children)
    runner.steps[2].run = Limited(runner.steps[2].run, 0)
    with torch.no_grad(), pytest.raises(torch.OutOfMemoryError, match="too many"):
        list(runner.outputs(children))


class InPlace(ModelSpace):
    """A chain one of whose candidates overwrites the state that the others share."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.layers = nn.ModuleList(
            LayerChoice(
                {"skip": nn.Identity(), "conv": nn.Conv2d(4, 4, 1), "relu": nn.ReLU(inplace=True)},
                label=f"block_{n}",
            )
            for n in range(3)
        )
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


@pytest.mark.parametrize("memory", [1, 2**28])
def test_a_state_that_is_changed_in_place_is_not_the_others(memory, caplog):
    net, evaluator = trained(InPlace), lightning()
    children = population(net, 20)
    found = ChildEvaluator(net, evaluator, memory=memory)(children)
    assert found == pytest.approx(losses_by_hand(net, children, evaluator), rel=1e-6)
    assert "alone" not in caplog.text


class Structured(ModelSpace):
    """A chain whose hidden state is a dict with a tuple, and whose output is one, too."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(
            LayerChoice([nn.Linear(4, 4), nn.Linear(4, 4)], label=f"block_{n}") for n in range(3)
        )

    def stem(self, x):
        return {"pair": (x, x + 1), "further": [x]}

    def head(self, state):
        return {"logits": state["pair"][0] - state["pair"][1]}

    def forward(self, x):
        state = self.stem(x)
        for layer in self.layers:
            state = self.step(layer, state)
        return self.head(state)

    @staticmethod
    def step(layer, state):
        left, right = state["pair"]
        return {**state, "pair": (layer(left), right * 2)}


class StructuredLayer(nn.Module):
    def __init__(self, choice):
        super().__init__()
        self.choice = choice

    def forward(self, state):
        return Structured.step(self.choice, state)


class Wrapped(Structured):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(StructuredLayer(choice) for choice in self.layers)

    @staticmethod
    def step(layer, state):
        return layer(state)


def test_hidden_states_may_be_trees_of_tensors():
    net = trained(Wrapped).eval()
    children = distinct(net)
    calls = [Call((torch.randn(6, 4),), {})]
    runner = ChainRunner(chain_of(net), calls, memory=2**28, probe=children[0])
    with torch.no_grad():
        for index, [output] in runner.outputs(children):
            set_path(net, children[index])
            torch.testing.assert_close(output, net(*calls[0].args))
    assert runner.n_calls < len(children) * 5


def test_masks_are_repeated_for_the_layers_that_name_them():
    net, evaluator = trained(bert), dict_evaluator(Watch())
    evaluate = ChildEvaluator(net, evaluator)
    children = population(net)
    seen = []
    hook = net.layers[3].register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(
            (len(args[0]), len(kwargs["attention_mask"] if kwargs else args[1]))
        ),
        with_kwargs=True,
    )
    found = evaluate(children)
    hook.remove()
    assert found == pytest.approx(losses_by_hand(net, children, evaluator), rel=1e-6)
    assert all(states == masks for states, masks in seen)
    assert max(states for states, _ in seen) > 8
