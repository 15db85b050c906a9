"""Operators on a part of the channels: against a naive module, and what is refused."""

import nni
import pytest
import torch
from nni.nas.nn.pytorch import LayerChoice, ModelSpace, MutableConv2d
from spaces import CellSpace, ConvSpace, FlatSpace
from torch import nn

from nni_magic.supernet.conversion import to_supernet
from nni_magic.supernet.partial_channels import PartialChannels, is_partial, partial_channels

torch.set_num_threads(1)


class Strided(ModelSpace):
    """One choice of operators that halve the image, of eight channels."""

    def __init__(self, operator=None):
        super().__init__()
        self.op = LayerChoice(
            {
                "conv": operator() if operator else nn.Conv2d(8, 8, 3, 2, 1, groups=8),
                "pool": nn.MaxPool2d(3, 2, 1),
            },
            label="op",
        )

    def forward(self, x):
        return self.op(x)


def _of_chosen_size():
    return MutableConv2d(8, 8, nni.choice("size", [1, 3]))


def naive(operator, x, k):
    """Channel by channel: which output is which input's."""
    n = x.shape[1] // k
    passed, by = operator(x[:, :n]), x[:, n:]
    if passed.shape[-1] < x.shape[-1]:
        by = torch.stack([by[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]).amax(0)
    every = [*passed.unbind(1), *by.unbind(1)]
    # K groups of C/K channels: first of every group, then second of every group, and so on.
    return torch.stack([every[g * n + i] for i in range(n) for g in range(k)], 1)


@pytest.mark.parametrize(("operator", "k"), [
    (nn.Conv2d(4, 4, 3, padding=1), 2), (nn.Conv2d(2, 2, 1), 4), (nn.MaxPool2d(3, 2, 1), 2),
])  # fmt: skip
def test_output_and_gradient_are_the_naive_ones(operator, k):
    x = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    found, expected = PartialChannels(operator, k, "op")(x), naive(operator, x, k)
    assert torch.equal(found, expected)
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    [ours] = torch.autograd.grad((found * weight).sum(), x)
    [theirs] = torch.autograd.grad((expected * weight).sum(), x)
    torch.testing.assert_close(ours, theirs)


def test_operators_are_made_for_a_part_of_the_channels():
    space = partial_channels(ConvSpace(), 2)
    [conv, norm, _] = space.blocks[0].operator["conv3"]
    assert (conv.in_channels, conv.out_channels, conv.kernel_size) == (2, 2, (3, 3))
    assert norm.num_features == 2
    assert is_partial(space) and not is_partial(ConvSpace())
    assert is_partial(partial_channels(CellSpace(), 2))
    depthwise = partial_channels(Strided(), 4).op.operator["conv"]
    assert (depthwise.in_channels, depthwise.groups, depthwise.stride) == (2, 2, (2, 2))
    assert space(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


def test_labels_and_children_stay():
    space = partial_channels(CellSpace(), 2)
    assert space.simplify().keys() == CellSpace().simplify().keys()
    supernet = to_supernet(space)
    assert supernet.cell.ops[0][0]["conv"].operator.in_channels == 2


@pytest.mark.parametrize(
    ("make", "k", "message"),
    [
        (ConvSpace, 3, "channels of 'blocks.0.conv1.0' is 4; accepted are multiples of .*, 3"),
        (CellSpace, 3, "channels of 'cell.conv' is 4; accepted are multiples of .*, 3"),
        (lambda: Strided(lambda: nn.Conv2d(8, 8, 3, groups=2)), 4, "groups of 'op.conv' is 2"),
        (FlatSpace, 2, "'blocks.0.0' is a Linear; accepted with partial channels are conv"),
        (type("Fixed", (ModelSpace,), {}), 2, "Fixed has no choice of operators, of whose channel"),
        (lambda: Strided(_of_chosen_size), 2,
         "'op.conv' has choices of its own; accepted are operators without"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused(make, k, message):
    with pytest.raises(ValueError, match=message):
        to_supernet(partial_channels(make(), k))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_what_goes_by_is_halved_in_every_dimension(dimensions):
    conv = getattr(nn, f"Conv{dimensions}d")(2, 2, 3, 2, 1)
    x = torch.randn(2, 4, *[6] * dimensions, generator=torch.Generator().manual_seed(0))
    found, by = PartialChannels(conv, 2, "op")(x), x[:, 2:]
    for dimension in range(2, 2 + dimensions):
        by = torch.stack(by.unfold(dimension, 2, 2).unbind(-1)).amax(0)
    assert torch.equal(found[:, 1::2], by)
    assert torch.equal(found[:, ::2], conv(x[:, :2]))


def test_size_that_is_not_halved_as_the_operator_does_is_refused_by_name():
    message = r"'op' gives sizes \(4, 4\) of \(7, 7\); accepted with partial channels are operators"
    with pytest.raises(ValueError, match=message):
        PartialChannels(nn.Conv2d(2, 2, 3, 2, 1), 4, "op")(torch.zeros(1, 8, 7, 7))


@pytest.mark.parametrize("affine", [True, False])
def test_new_layers_have_the_type_and_the_mode_of_the_old_ones(affine):
    def operator():
        return nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8, affine=affine))

    space = partial_channels(Strided(operator).double().eval(), 2)
    [conv, norm] = space.op.operator["conv"]
    assert conv.weight.dtype == norm.running_mean.dtype == torch.float64
    assert not conv.training and not norm.training


def test_operator_that_changes_the_number_of_channels_is_refused_by_name():
    with pytest.raises(ValueError, match="'op' gives 16 channels of 8; accepted with partial chan"):
        PartialChannels(nn.Conv2d(2, 4, 1), 4, "op")(torch.zeros(1, 8, 2, 2))


def test_input_that_cannot_be_divided_is_refused_by_name():
    with pytest.raises(ValueError, match=r"the input of 'op' is 6; accepted are multiples of .* 4"):
        PartialChannels(nn.Identity(), 4, "op")(torch.zeros(1, 6, 2, 2))
