"""Steps of chains: what they run, what tells their children apart, what they take from a call."""

import pytest
import torch
from nni.nas.hub.pytorch import ProxylessNAS
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from spaces import (
    CellSpace,
    ChainSpace,
    ConvSpace,
    FlatSpace,
    MixedSpace,
    set_path,
    small_mobilenet,
    supernet,
)
from torch import nn
from training import bert

from nni_magic.children.samples import candidates
from nni_magic.supernet.chain import answering, chain_of, single_step
from nni_magic.supernet.hidden_states import Call


def run(steps, sample, call):
    """All steps of a child, one after the other."""
    state = call
    for step in steps:
        if step.key(sample) is not None:
            step.route(sample)
            state = step.run(state, **step.given(call))
    return state


def first_child(net):
    return {label: choices[0] for label, choices in candidates(net).items()}


@pytest.mark.parametrize("make", [ConvSpace, FlatSpace, MixedSpace, CellSpace])
def test_a_model_without_the_three_parts_is_one_step(make):
    net = supernet(make())
    [step] = chain_of(net)
    assert set(step.labels) == set(candidates(net))


@pytest.mark.parametrize("call", [
    Call((torch.randn(3, 1, 8, 8),), {}),
    Call((torch.randn(3, 1, 8, 8), torch.rand(3)), {}),
    Call((torch.randn(3, 1, 8, 8),), {"scale": torch.rand(3)}),
    Call((), {"scale": torch.rand(3), "x": torch.randn(3, 1, 8, 8)}),
])  # fmt: skip
def test_the_steps_give_what_the_model_gives(call):
    net = supernet(ChainSpace()).eval()
    for choice in ("conv1", "conv3", "skip", "drop"):
        sample = dict.fromkeys(candidates(net), choice)
        found = run(chain_of(net), sample, call)
        set_path(net, sample)
        torch.testing.assert_close(found, net(*call.args, **call.kwargs))
        torch.testing.assert_close(found, run(single_step(net), sample, call))


def test_parts_take_the_arguments_that_they_name():
    steps = chain_of(supernet(bert()))
    ids, mask = torch.ones(2, 12, dtype=torch.long), torch.ones(2, 12)
    call = Call((ids,), {"attention_mask": mask, "positions": mask.bool()})
    assert [list(step.given(call)) for step in steps] == [
        [], *[["attention_mask"]] * 4, ["positions"],
    ]  # fmt: skip
    assert [list(step.given(Call((ids, mask), {}))) for step in steps[1:3]] == [
        ["attention_mask"]
    ] * 2
    assert [step.labels for step in steps] == [[], *[[f"layer_{n}"] for n in range(1, 5)], []]


class Named(ModelSpace):
    """Stem and layers that call their state by the name of an argument of ``forward``."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(4, 4)  # calls it input
        self.layers = nn.ModuleList([self.Layer(n) for n in range(2)])

    class Layer(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.choice = LayerChoice([nn.Linear(4, 4), nn.Identity()], label=f"block_{n}")

        def forward(self, tokens, input=None):
            return self.choice(tokens)

    def forward(self, tokens):
        hidden = self.stem(tokens)
        for layer in self.layers:
            hidden = layer(hidden)
        return self.head(hidden)

    def head(self, tokens):
        return tokens.sum(1)


@pytest.mark.parametrize("call", [Call((torch.randn(3, 4),), {}),
                                  Call((), {"tokens": torch.randn(3, 4)})])  # fmt: skip
def test_the_state_is_never_taken_for_an_argument(call):
    net = supernet(Named())
    sample = first_child(net)
    found = run(chain_of(net), sample, call)
    set_path(net, sample)
    torch.testing.assert_close(found, net(*call.args, **call.kwargs))


@pytest.mark.parametrize("make", [
    lambda: ProxylessNAS(10, width_mult=0.25),
    small_mobilenet,
    lambda: small_mobilenet(width_multipliers=1.0),
    lambda: small_mobilenet(squeeze_excite=("none",) * 3),
    lambda: small_mobilenet(squeeze_excite=("optional",) * 3),
])  # fmt: skip
def test_steps_of_nnis_hub_follow_the_depth_of_their_repeats(make):
    net = supernet(make()).eval()
    steps, choices = chain_of(net), candidates(net)
    depths = [label for label in choices if label.endswith("_depth")]
    call = Call((torch.randn(2, 3, 64, 64),), {})
    fixed = len(steps) - sum(max(choices[label]) for label in depths)
    assert fixed == (4 if isinstance(net, ProxylessNAS) else 6)
    for i in range(4):
        sample = {label: values[i % len(values)] for label, values in choices.items()}
        keys = [step.key(sample) for step in steps]
        assert sum(key is not None for key in keys) == fixed + sum(sample[d] for d in depths)
        set_path(net, sample)
        with torch.no_grad():
            torch.testing.assert_close(run(steps, sample, call), net(*call.args))


def test_keys_tell_exactly_the_choices_of_a_step():
    net = supernet(ChainSpace())
    steps, child = chain_of(net), first_child(net)
    other = {**child, "block_3": "skip"}
    differ = [step.key(child) != step.key(other) for step in steps]
    assert differ == [False, False, False, True, False, False]


@pytest.mark.parametrize("own", [False, True])
def test_calls_are_answered_only_inside_the_block(own):
    module = nn.Linear(2, 2)
    if own:
        module.forward = lambda x: x + 1
    before, forward = dict(module.__dict__), module.forward
    with pytest.raises(KeyError, match="inside"), answering(module, lambda x: x * 3):
        assert module(torch.ones(1)).item() == 3
        raise KeyError("inside")
    assert module.__dict__ == before and module.forward == forward
