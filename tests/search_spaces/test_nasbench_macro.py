"""NAS-Bench-Macro: children are those of the benchmark."""

import pytest
import torch
from nni.nas.space import model_context
from torch import nn

from search_spaces import NASBenchMacroSpace
from search_spaces.nasbench_macro import CANDIDATES

# From the benchmark's own table: parameters and multiply-adds.
PUBLISHED = {
    "02012100": (890666, 47327744),
    "11111221": (2181386, 65012224),
    "00011110": (1118378, 31390208),
}


def child_of(name, **sizes):
    sample = {f"block_{n}": CANDIDATES[int(digit)] for n, digit in enumerate(name, 1)}
    with model_context(sample):
        return NASBenchMacroSpace(**sizes)


def multiply_adds(child, resolution):
    """Counted layer by layer, by what comes out of convolutions and the classifier."""
    counted = []

    def watch(module, args, output):
        counted.append(output.numel() * module.weight[0].numel())

    for module in child.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(watch)
    child.eval()(torch.zeros(1, 3, resolution, resolution))
    return sum(counted)


@pytest.mark.parametrize("name", PUBLISHED)
def test_size_of_a_child_is_the_published_one(name):
    child = child_of(name)
    counted = sum(parameter.numel() for parameter in child.parameters()), multiply_adds(child, 32)
    assert counted == PUBLISHED[name]


def test_identity_changes_nothing_but_the_shape():
    child = child_of("00000000", channels=2, head_channels=4)
    kinds = [type(layer) for layer in child.layers]
    assert [kind is nn.Identity for kind in kinds] == [False, True] + 2 * [False, True, True]
    assert [type(layer) for layer in child.layers[0]] == [nn.Conv2d, nn.BatchNorm2d]
    states = []
    for layer in child.hidden_layers():
        layer.register_forward_hook(lambda module, args, output: states.append(output.shape))
    child(torch.zeros(2, 3, 16, 16))
    assert states == [(2, 4, 8, 8)] * 2 + [(2, 8, 4, 4)] * 3 + [(2, 16, 2, 2)] * 3


def test_activation_is_relu():
    kinds = {type(module) for module in NASBenchMacroSpace(channels=2).modules()}
    assert nn.ReLU in kinds
    assert nn.ReLU6 not in kinds


def test_labels_are_the_blocks_in_order():
    space = NASBenchMacroSpace(channels=2, head_channels=4)
    assert list(space.simplify()) == [f"block_{n}" for n in range(1, 9)]
    assert all(tuple(one.values) == CANDIDATES for one in space.simplify().values())


def test_wrong_size_is_named():
    with pytest.raises(ValueError, match=r"channels is 0; accepted are whole numbers of at least"):
        NASBenchMacroSpace(channels=0)
