"""Which layers of a model are aligned."""

import pytest
import torch
from nni.nas.hub.pytorch import ProxylessNAS
from spaces import MixedSpace, NestedSpace, set_path, supernet
from states import CONVS, IMAGES, Listed, Reversed, assert_same, conv_net, running

from nni_magic.supernet.hidden_states import (
    Call,
    choice_blocks,
    select_layers,
)


@pytest.mark.parametrize("every, expected", [(1, [0, 1, 2, 3]), (2, [1, 3]), (3, [2]), (4, [3])])
def test_select_layers_takes_every_nth(every, expected):
    net = conv_net()
    layers = select_layers(net, Call((IMAGES,), {}), align_every=every)
    assert list(layers) == [f"blocks.{n}" for n in expected]
    assert all(layers[f"blocks.{n}"] is net.blocks[n] for n in expected)


def test_select_layers_counts_in_the_order_of_execution():
    net = supernet(Reversed(n_blocks=4, n_candidates=2))
    set_path(net, dict.fromkeys(["block_1", "block_2", "block_3", "block_4"], 0))
    call = Call((torch.zeros(2, 4),), {})
    assert list(select_layers(net, call, align_every=1)) == [
        "blocks.3", "blocks.2", "blocks.1", "blocks.0",
    ]  # fmt: skip
    assert list(select_layers(net, call, align_every=3)) == ["blocks.1"]
    assert list(select_layers(net, call, align_every=4, layers=[1])) == ["blocks.3"]


@pytest.mark.parametrize(
    "layers, expected",
    [
        ([2, 4], ["blocks.1", "blocks.3"]),
        (["stem", 3], ["stem", "blocks.2"]),
        (("blocks.0.conv1",), ["blocks.0.conv1"]),
        ([1, "blocks.0"], ["blocks.0"]),
    ],
)
def test_select_layers_takes_numbers_and_names(layers, expected):
    net = conv_net()
    found = select_layers(net, Call((IMAGES,), {}), align_every=99, layers=layers)
    assert list(found) == expected
    assert all(found[name] is net.get_submodule(name) for name in expected)


def test_select_layers_asks_the_model_for_its_layers():
    net = supernet(Listed())
    set_path(net, CONVS)
    call = Call((IMAGES,), {})
    assert list(select_layers(net, call, align_every=2)) == ["blocks.0", "blocks.2"]
    assert list(select_layers(net, call, align_every=2, layers=[1])) == ["stem"]


def test_select_layers_takes_the_outermost_of_nested_blocks():
    net = supernet(NestedSpace())
    set_path(net, {"outer": "nested", "inner": 0, "tail": 0})
    layers = select_layers(net, Call((torch.zeros(2, 4),), {}), align_every=1)
    assert list(layers) == ["outer", "tail"]


def test_select_layers_of_mixed_space_are_its_supernet_modules():
    net = supernet(MixedSpace())
    set_path(
        net,
        {"depth": 2, "op_1": "skip", "op_2": "skip", "op_3": "skip", "kernel": 3, "inputs": [1]},
    )
    layers = select_layers(net, Call((IMAGES,), {}), align_every=1)
    assert list(layers) == ["repeat", "conv", "inputs"]


def test_select_layers_leaves_the_model_alone():
    net = conv_net().train()
    before = running(net)
    modes = [module.training for module in net.modules()]
    select_layers(net, Call((IMAGES,), {}), align_every=1)
    assert_same(before, running(net))
    assert modes == [module.training for module in net.modules()]
    assert all(parameter.grad is None for parameter in net.parameters())


def test_select_layers_too_few_raises():
    with pytest.raises(
        ValueError, match=r"align_every is 5; accepted are 1 to 4, .* layers \(blocks.0, blocks.1"
    ):
        select_layers(conv_net(), Call((IMAGES,), {}), align_every=5)


@pytest.mark.parametrize("layer", [0, 5, -1, "blocks.9", ""])
def test_select_layers_unknown_raises(layer):
    with pytest.raises(ValueError, match=f"aligned_layers holds {layer!r}; .*1 to 4.*blocks.3"):
        select_layers(conv_net(), Call((IMAGES,), {}), align_every=1, layers=[2, layer])


def test_select_layers_none_raises():
    with pytest.raises(ValueError, match=r"aligned_layers is \[\]; accepted are one or more"):
        select_layers(conv_net(), Call((IMAGES,), {}), align_every=1, layers=[])


def test_choice_blocks_of_the_hub_are_those_with_choices():
    net = supernet(ProxylessNAS(10, width_mult=0.25))
    set_path(net, {label: mutable.values[0] for label, mutable in net.simplify().items()})
    blocks = choice_blocks(net, Call((torch.zeros(2, 3, 32, 32),), {}))
    assert blocks == list(net.blocks)[1:]
