"""A path, the child frozen out of it, and the child that NNI builds anew are one."""

import copy

import nni
import numpy as np
import pytest
import torch
from hub import HUB, VARIABLE_CELLS
from nni.nas.nn.pytorch import (
    Cell,
    ModelSpace,
    MutableBatchNorm2d,
    MutableConv2d,
    MutableLayerNorm,
    MutableLinear,
    MutableMultiheadAttention,
)
from nni.nas.oneshot.pytorch.strategy import RandomOneShot
from nni.nas.space import model_context
from scores import trained
from spaces import ConvSpace, set_path
from torch import nn
from torch.nn.utils import parametrizations
from training import Watch, classification, make, train

from nni_magic.children.samples import candidates, random_sample
from nni_magic.strategies.spos import SPOS
from nni_magic.supernet.checkpoint import load_supernet
from nni_magic.supernet.connection import as_supernet
from nni_magic.supernet.conversion import to_supernet
from nni_magic.support.compat import freeze

CLOSE = {"rtol": 1e-6, "atol": 1e-6}
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
SLOW = {
    **{name: make for name, make in HUB.items() if name in VARIABLE_CELLS},
    **{f"{name}, many widths": make for name, make in VARIABLE_CELLS.items()},
}
BUILT_OTHERWISE = {"ENAS", "PNAS", "NASNet", "AmoebaNet"}
"""Of some children NNI joins loose ends alone, or forgets a module of a stage of depth one."""
FAST = {name: make for name, make in HUB.items() if name not in VARIABLE_CELLS}


def built_anew(make, sample, child):
    """The child that NNI builds, with a child's weights in their order."""
    with model_context(copy.deepcopy(sample)):
        anew = make()
    own, weights = anew.state_dict(), child.state_dict()
    assert [v.shape for v in own.values()] == [v.shape for v in weights.values()]
    anew.load_state_dict(dict(zip(own, weights.values(), strict=True)))
    return anew


def check_one(make, net, sample, *inputs):
    """Compare path, frozen child and the child built anew."""
    set_path(net, sample)
    child = freeze(net, sample).eval()
    models = [child]
    if type(net).__name__ not in BUILT_OTHERWISE:
        models.append(built_anew(make, sample, child).eval())
    for model in models:
        torch.testing.assert_close(model(*inputs), net(*inputs), **CLOSE)


@pytest.mark.parametrize(
    "make",
    [*(pytest.param(FAST[name], id=name) for name in FAST),
     *(pytest.param(SLOW[name], id=name, marks=pytest.mark.slow) for name in SLOW)],
)  # fmt: skip
@torch.no_grad()
def test_path_frozen_child_and_child_built_anew_are_one(make):
    net = trained(make, to_supernet).eval()
    rng, choices = np.random.default_rng(0), candidates(net)
    for _ in range(2):
        check_one(make, net, random_sample(choices, rng), IMAGES)


class Tuned(ModelSpace):
    """Layers of chosen shapes, each with settings that are changed after it was made."""

    def __init__(self):
        super().__init__()
        width = nni.choice("width", [4, 8])
        self.conv = MutableConv2d(3, width, 3, padding=1, padding_mode="circular")
        self.norm = MutableBatchNorm2d(width)
        self.layer = MutableLayerNorm(width)
        self.attention = MutableMultiheadAttention(width, 2, batch_first=True)
        self.head = MutableLinear(width, 5)
        self.conv.stride = self.conv.dilation = (2, 2)
        self.conv.padding_mode = "zeros"
        self.norm.eps, self.norm.momentum = 0.3, 0.7
        self.layer.eps = 0.2
        self.attention.dropout = 0.5

    def forward(self, x):
        x = self.norm(self.conv(x)).flatten(2).transpose(1, 2)
        x = self.layer(x)
        return self.head(self.attention(x, x, x)[0]).mean(1)


@pytest.mark.parametrize("width", [4, 8])
def test_what_is_set_after_a_layer_was_made_stays(width):
    net, sample = trained(Tuned, to_supernet).eval(), {"width": width}
    with torch.no_grad():
        check_one(Tuned, net, sample, IMAGES)
    anew = built_anew(Tuned, sample, freeze(net, sample))
    assert (anew.norm.eps, anew.conv.stride, anew.attention.dropout) == (0.3, (2, 2), 0.5)
    outputs = []
    for model in (net.train(), anew.train()):
        torch.manual_seed(0)  # dropout
        outputs.append(model(IMAGES))
    torch.testing.assert_close(*outputs, **CLOSE)
    for name in ("running_mean", "running_var"):  # moved by the momentum
        of_path = getattr(net.norm, name)[:width]
        torch.testing.assert_close(of_path, getattr(anew.norm, name), **CLOSE)


def test_stock_supernet_forgets_it():
    """What is mended is still so; otherwise this part of the conversion may go."""
    assert RandomOneShot().mutate_model(Tuned()).norm.init_arguments["eps"] == 1e-5


class Padded(ModelSpace):
    """A convolution of chosen kernel whose padding is not zeros."""

    def __init__(self, mode, padding):
        super().__init__()
        kernel = nni.choice("kernel", [1, 3, 5])
        padding = kernel // 2 if padding == "half" else padding
        self.conv = MutableConv2d(3, 4, kernel, padding=padding, padding_mode=mode)

    def forward(self, x):
        return self.conv(x)


@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
@pytest.mark.parametrize("padding", ["half", "same", "valid", 1, (2, 1)])
@torch.no_grad()
def test_padding_of_any_mode_is_the_chosen_one(mode, padding):
    def make():
        return Padded(mode, padding)

    net = to_supernet(make())
    for kernel in (1, 3, 5):
        check_one(make, net, {"kernel": kernel}, IMAGES)


def test_frozen_weights_and_evaluation_mode_stay():
    space = Tuned()
    space.head.weight.requires_grad_(False)
    space.norm.eval()
    net = to_supernet(space)
    assert not net.head.weight.requires_grad and net.head.bias.requires_grad
    assert not net.norm.training and net.conv.training


def test_weight_norm_on_a_layer_of_chosen_shape_is_refused():
    space = Tuned()
    parametrizations.weight_norm(space.head)
    message = (
        r"head is a ParametrizedMutableLinear with parametrizations\.weight\.original0, "
        r"parametrizations\.weight\.original1, which NNI's supernet leaves out; accepted are"
    )
    with pytest.raises(ValueError, match=message):
        to_supernet(space)


def operator(node, op, chosen):
    return nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))


class Celled(ModelSpace):
    """A cell, whose operators NNI's supernet makes anew."""

    def __init__(self):
        super().__init__()
        self.cell = Cell([operator, operator], 2, 1, 1, "all", label="cell")
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps, module.momentum = 0.3, 0.7

    def forward(self, x):
        return self.cell([x])


@torch.no_grad()
def test_norms_in_cells_keep_what_was_set():
    net = trained(Celled, to_supernet).eval()
    sample = random_sample(candidates(net), np.random.default_rng(0))
    check_one(Celled, net, sample, IMAGES)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(0.3, 0.7)}


@pytest.mark.parametrize(
    "convert", [lambda space: SPOS(seed=0).mutate_model(space), as_supernet, to_supernet]
)
def test_all_ways_to_a_supernet_keep_settings(convert):
    net = convert(Tuned())
    assert (net.norm.eps, net.norm.init_arguments["eps"]) == (0.3, 0.3)


class Normed(ConvSpace):
    """Images are normalised, with an eps that is set late."""

    def __init__(self):
        super().__init__()
        self.norm = MutableBatchNorm2d(1)
        self.norm.eps = 0.3

    def forward(self, x):
        return super().forward(self.norm(x))


def test_supernet_of_a_checkpoint_keeps_settings(tmp_path):
    path = tmp_path / "supernet.ckpt"
    trained_one = train(make("spos"), Normed(), classification(Watch(2, path))).supernet
    nets = trained_one.eval(), load_supernet(path, Normed()).eval()
    sample = random_sample(candidates(nets[0]), np.random.default_rng(0))
    for net in nets:
        set_path(net, sample)
    x = torch.randn(2, 1, 8, 8)
    assert nets[1].norm.eps == 0.3 and torch.equal(nets[0](x), nets[1](x))


def test_a_supernet_stays_as_it_is():
    net = to_supernet(Tuned())
    before = dict(net.named_modules())
    assert to_supernet(net) is net and dict(net.named_modules()) == before
