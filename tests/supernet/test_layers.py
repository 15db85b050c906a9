"""The layers of a model, by name and number."""

import pytest
import torch
from nni.nas.hub.pytorch import ProxylessNAS
from spaces import MixedSpace, NestedSpace, set_path, supernet
from states import CONVS, IMAGES, Listed, Reversed, assert_same, conv_net, running

from nni_magic.supernet.hidden_states import Call
from nni_magic.supernet.layers import choice_blocks, named_layers, numbered_layers


def test_layers_are_the_choice_blocks():
    net = conv_net()
    layers = numbered_layers(net, Call((IMAGES,), {}))
    assert list(layers) == [f"blocks.{n}" for n in range(4)]
    assert all(layers[f"blocks.{n}"] is net.blocks[n] for n in range(4))


def test_layers_are_numbered_in_the_order_of_execution():
    net = supernet(Reversed(n_blocks=4, n_candidates=2))
    set_path(net, dict.fromkeys(["block_1", "block_2", "block_3", "block_4"], 0))
    call = Call((torch.zeros(2, 4),), {})
    assert list(numbered_layers(net, call)) == ["blocks.3", "blocks.2", "blocks.1", "blocks.0"]
    assert list(named_layers(net, call, [1])) == ["blocks.3"]


@pytest.mark.parametrize(
    "layers, expected",
    [
        ([2, 4], ["blocks.1", "blocks.3"]),
        (["stem", 3], ["stem", "blocks.2"]),
        (("blocks.0.conv1",), ["blocks.0.conv1"]),
        ([1, "blocks.0"], ["blocks.0"]),
    ],
)
def test_layers_are_found_by_number_and_name(layers, expected):
    net = conv_net()
    found = named_layers(net, Call((IMAGES,), {}), layers)
    assert list(found) == expected
    assert all(found[name] is net.get_submodule(name) for name in expected)


def test_model_is_asked_for_its_layers():
    net = supernet(Listed())
    set_path(net, CONVS)
    call = Call((IMAGES,), {})
    assert list(numbered_layers(net, call)) == ["stem", *(f"blocks.{n}" for n in range(4))]
    assert list(named_layers(net, call, [1])) == ["stem"]


def test_of_nested_blocks_the_outermost_is_a_layer():
    net = supernet(NestedSpace())
    set_path(net, {"outer": "nested", "inner": 0, "tail": 0})
    assert list(numbered_layers(net, Call((torch.zeros(2, 4),), {}))) == ["outer", "tail"]


def test_layers_of_mixed_space_are_its_supernet_modules():
    net = supernet(MixedSpace())
    set_path(
        net,
        {"depth": 2, "op_1": "skip", "op_2": "skip", "op_3": "skip", "kernel": 3, "inputs": [1]},
    )
    assert list(numbered_layers(net, Call((IMAGES,), {}))) == ["repeat", "conv", "inputs"]


def test_looking_for_layers_leaves_no_trace():
    net = conv_net()
    net.train()
    net.blocks[1].eval()
    before, modes = running(net), [module.training for module in net.modules()]
    numbered_layers(net, Call((IMAGES,), {}))
    assert_same(before, running(net))
    assert modes == [module.training for module in net.modules()]
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("layer", [0, 5, -1, "blocks.9", ""])
def test_unknown_layer_is_refused(layer):
    with pytest.raises(ValueError, match=f"aligned_layers holds {layer!r}; .*1 to 4.*blocks.3"):
        named_layers(conv_net(), Call((IMAGES,), {}), [2, layer])


def test_no_layer_is_refused():
    with pytest.raises(ValueError, match=r"aligned_layers is \[\]; accepted are one or more of"):
        named_layers(conv_net(), Call((IMAGES,), {}), [])


def test_choice_blocks_of_the_hub_are_those_with_choices():
    net = supernet(ProxylessNAS(10, width_mult=0.25))
    set_path(net, {label: mutable.values[0] for label, mutable in net.simplify().items()})
    blocks = choice_blocks(net, Call((torch.zeros(2, 3, 32, 32),), {}))
    assert blocks == list(net.blocks)[1:]
