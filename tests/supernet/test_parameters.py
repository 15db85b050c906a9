"""Parameters of children by the choices of a space, against the modules that NNI builds."""

import numpy as np
import pytest
import torch
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import model_context
from spaces import (
    CellSpace,
    ConvSpace,
    FlatSpace,
    MixedSpace,
    NestedSpace,
    SizedSpace,
    TupleSpace,
    WidthSpace,
    small_mobilenet,
)
from torch import nn
from training import bert

from nni_magic.children.samples import candidates, random_sample
from nni_magic.supernet.parameters import check_parameters, parameter_cost
from search_spaces import ProxylessNASSpace

SPACES = [
    CellSpace, ConvSpace, FlatSpace, MixedSpace, NestedSpace, SizedSpace, TupleSpace, WidthSpace,
    small_mobilenet, bert, lambda: ProxylessNASSpace.preset("tiny"),
]  # fmt: skip


@pytest.mark.parametrize("make", SPACES)
def test_cost_is_the_number_of_parameters_of_the_child_built_alone(make):
    space = make()
    cost, rng = parameter_cost(space), np.random.default_rng(0)
    drawn = [random_sample(candidates(space), rng) for _ in range(6)]
    for sample in drawn:
        with model_context(sample):
            child = make()
        assert cost(sample) == sum(p.numel() for p in child.parameters())
    check_parameters(space, cost, drawn[:2])


def test_counting_moves_no_generator():
    space = MixedSpace()
    sample = {label: choices[-1] for label, choices in candidates(space).items()}
    before = torch.get_rng_state()
    check_parameters(space, parameter_cost(space), [sample])
    assert torch.equal(torch.get_rng_state(), before)


def test_extremes_are_told_without_looking_at_all_children():
    layers = 4 * [20]
    assert parameter_cost(SizedSpace(n_blocks=4)).extremes() == (0, sum(layers))


def test_space_that_makes_children_in_a_way_of_its_own_is_refused():
    class Own(ModelSpace):
        def __init__(self):
            super().__init__()
            self.block = LayerChoice([nn.Linear(4, 4), nn.Identity()], label="block")

        def freeze(self, sample):
            return nn.Linear(3, 3)

    space = Own()
    with pytest.raises(ValueError, match=r"parameters of child {'block': 0} are 12, and 20 by"):
        check_parameters(space, parameter_cost(space), [{"block": 0}])
