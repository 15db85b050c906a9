"""Frozen cells of path-sampling supernets: the path's outputs, and NNI's names."""

import numpy as np
import pytest
import torch
from hub import HUB, VARIABLE_CELLS
from nni.nas.hub.pytorch import DARTS
from nni.nas.nn.pytorch import Cell
from nni.nas.space import model_context
from scores import trained
from spaces import CellSpace, set_path
from torch import nn

from nni_magic.children.samples import candidates, random_sample
from nni_magic.support.compat import freeze

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def drawn(net, **chosen):
    return {**random_sample(candidates(net), np.random.default_rng(0)), **chosen}


def on_path(net, sample, x=IMAGES):
    set_path(net, sample)
    return net(x)


@pytest.mark.parametrize("space", ["DARTS", "ENAS"])  # ENAS joins loose ends, its supernet all
def test_child_of_the_hubs_cells_computes_its_path(space):
    net = trained(HUB[space]).eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    sample = drawn(net)
    child = freeze(net, sample).eval()
    torch.testing.assert_close(child(IMAGES), on_path(net, sample))
    for model in (net, child):
        assert not any({"freeze", "freeze_weight"} & vars(m).keys() for m in model.modules())
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())


@pytest.mark.parametrize("depth", [3, pytest.param(6, marks=pytest.mark.slow)])
def test_child_of_variable_cells_computes_its_path(depth):
    net = trained(VARIABLE_CELLS["DARTS"]).eval()
    sample = drawn(net, depth=depth, width=4)
    child = freeze(net, sample).eval()
    cells = [sum(isinstance(module, Cell) for module in stage) for stage in child.stages]
    assert cells == [depth // 3] * 3
    torch.testing.assert_close(child(IMAGES), on_path(net, sample))


def test_child_has_the_names_of_the_one_that_nni_builds_anew():
    net = trained(HUB["DARTS"]).eval()
    sample = drawn(net)
    with model_context(sample):
        anew = DARTS(width=4, num_cells=3).eval()
    anew.load_state_dict(freeze(net, sample).state_dict())
    torch.testing.assert_close(anew(IMAGES), on_path(net, sample))


def test_operator_that_a_node_takes_twice_is_two_in_the_child():
    net = trained(HUB["DARTS"]).eval()
    twice = {f"normal/op_2_{k}": "sep_conv_3x3" for k in (0, 1)}
    sample = drawn(net, **twice, **{f"normal/input_2_{k}": [1] for k in (0, 1)})
    child = freeze(net, sample).eval()
    first, second = child.stages[0][0].ops[0]
    assert first is not second and first[1] is not second[1]
    assert torch.equal(first[1].weight, second[1].weight)
    torch.testing.assert_close(child(IMAGES), on_path(net, sample))


def test_cell_outside_of_the_hub_is_frozen():
    net = trained(CellSpace).eval()
    sample = drawn(net)
    with pytest.raises(NotImplementedError, match="PathSamplingCell does not support freeze"):
        net.freeze(sample)
    child, x = freeze(net, sample).eval(), torch.randn(2, 1, 8, 8)
    assert isinstance(child.cell, Cell)
    torch.testing.assert_close(child(x), on_path(net, sample, x))


def test_a_spaces_own_freeze_is_kept():
    class Own(DARTS):
        def freeze(self, sample):
            return nn.Identity()

    net = trained(lambda: Own(width=4, num_cells=3))
    assert isinstance(freeze(net, drawn(net)), nn.Identity)
