"""A child that does not compute what its path computes is found."""

import copy

import pytest
import torch
from scores import trained
from spaces import CellSpace, FlatSpace, set_path
from torch import nn

from nni_magic.supernet.hidden_states import Call
from nni_magic.supernet.inheritance import check_inherits
from nni_magic.support.compat import freeze

CHILD = {"block_1": 0, "block_2": 2, "block_3": 1}
X = torch.randn(3, 4)


class Drawing(FlatSpace):
    """Draws in evaluation mode, writes into its input, and gives a tuple with ``None``."""

    def forward(self, x):
        x.mul_(3).add_(torch.randn_like(x))
        return super().forward(x), None


def path(make, sample=CHILD):
    net = trained(make).eval()
    set_path(net, sample)
    return net


@pytest.mark.parametrize("make", [FlatSpace, Drawing])
def test_child_with_the_weights_of_its_path_is_accepted(make):
    net, before, state = path(make), X.clone(), torch.get_rng_state()
    check_inherits(freeze(net, CHILD).eval(), net, CHILD, Call((X,), {}))
    assert torch.equal(X, before) and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("make", [FlatSpace, Drawing])
def test_child_with_other_weights_is_refused(make, precision):
    net = path(make)
    child = copy.deepcopy(freeze(net, CHILD)).eval()
    nn.init.normal_(child.blocks[1].weight, std=0.1)
    with (
        torch.autocast("cpu", enabled=precision == "bf16"),
        pytest.raises(ValueError, match=f"freeze of {make.__name__} gives a child [0-9a-f]{{16}} "
                      "with other outputs than its path.*Let its freeze keep the modules"),
    ):  # fmt: skip
        check_inherits(child, net, CHILD, Call((X,), {}))


def test_child_that_differs_by_a_thousandth_is_refused():
    """As one of another ``eps`` in its BatchNorm does."""
    net = path(FlatSpace)
    child = copy.deepcopy(freeze(net, CHILD)).eval()
    with torch.no_grad():
        child.blocks[1].weight.mul_(1.001)
        own, other = net(X), child(X)
    assert 2e-4 < (own - other).abs().max() / own.abs().max() < 1e-3
    with pytest.raises(ValueError, match="freeze of FlatSpace gives a child"):
        check_inherits(child, net, CHILD, Call((X,), {}))


def test_other_path_is_refused():
    sample = {"cell/op_1_0": "conv", "cell/input_1_0": [0], "cell/op_2_0": "skip",
              "cell/input_2_0": [1]}  # fmt: skip
    net, other = path(CellSpace, sample), {**sample, "cell/input_2_0": [0]}
    call = Call((torch.randn(2, 1, 8, 8),), {})
    check_inherits(freeze(net, sample).eval(), net, sample, call)
    with pytest.raises(ValueError, match="freeze of CellSpace"):
        check_inherits(freeze(net, other).eval(), net, sample, call)
