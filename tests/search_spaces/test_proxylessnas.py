"""The ProxylessNAS space: counts by hand and as published, children, supernets, and its errors."""

import math

import pytest
import torch
from nni.nas.oneshot.pytorch.strategy import RandomOneShot
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from nni.nas.profiler.pytorch.flops import FlopsProfiler, NumParamsProfiler
from nni.nas.space import model_context
from torch import nn

from nni_magic.samplers import UniformSampler
from search_spaces import ProxylessNASSpace
from search_spaces.proxylessnas import PRESETS, Stage

SETTINGS = {
    "stages": (Stage(8, 2, 2), Stage(12, 2, 1)), "resolution": 8, "n_classes": 5,
    "in_channels": 1, "stem_channels": 4, "first_channels": 8, "head_channels": 16,
}  # fmt: skip
# [Sandler2018], Table 2, behind the first bottleneck of expansion 1.
MOBILENET_V2 = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
# ProxylessNAS's published mobile model [Cai2019, Fig. 4], with "zero" for the blocks it leaves out.
MOBILE = (
    "mb3_5x5", "mb3_3x3", "zero", "zero", "mb3_7x7", "mb3_3x3", "mb3_5x5", "mb3_5x5",
    "mb6_7x7", "mb3_5x5", "mb3_5x5", "mb3_5x5", "mb6_5x5", "mb3_5x5", "mb3_5x5", "mb3_5x5",
    "mb6_7x7", "mb6_7x7", "mb3_7x7", "mb3_7x7", "mb6_7x7",
)  # fmt: skip
IMAGES = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def named(operators):
    return {f"block_{n}": operator for n, operator in enumerate(operators, 1)}


def stand_alone(sample, **settings):
    with model_context(sample):
        return ProxylessNASSpace(**settings)


def n_params(module):
    return sum(p.numel() for p in module.parameters())


def profiler(**settings):
    """Counts convolutions and the classifier alone, as papers do."""
    space = ProxylessNASSpace(**settings)
    size = settings["resolution"]
    return FlopsProfiler(
        space, (torch.zeros(1, space.in_channels, size, size),),
        count_bias=False, count_normalization=False, count_activation=False,
    )  # fmt: skip


def multiply_adds(sample, **settings):
    return profiler(**settings).profile(sample)


@pytest.fixture(scope="module")
def imagenet():
    """Multiply-adds of children of the ImageNet preset, by their operators."""
    counts = profiler(**PRESETS["imagenet"])
    return lambda operators: counts.profile(named(operators))


@pytest.mark.parametrize("operator", ["mb3_5x5", "mb6_3x3", "zero"])
def test_multiply_adds_of_a_candidate_match_a_count_by_hand(operator):
    base = multiply_adds(named(["mb3_3x3"] * 4), **SETTINGS)
    other = multiply_adds(named(["mb3_3x3", operator, "mb3_3x3", "mb3_3x3"]), **SETTINGS)

    def by_hand(name):
        if name == "zero":
            return 0
        inner, kernel = 8 * int(name[2]), int(name[4])
        pixels = 2 * 2  # 8 x 8, halved by the stem and by the first block
        return pixels * inner * (8 + kernel**2 + 8)

    assert other - base == by_hand(operator) - by_hand("mb3_3x3")


def test_mobilenet_v2_has_its_published_size():
    settings = {"stages": MOBILENET_V2, "resolution": 224, "n_classes": 1000}
    settings["candidates"] = ("mb6_3x3",)
    sample = named(["mb6_3x3"] * 16)
    with torch.device("meta"):
        child = stand_alone(sample, **settings)
    assert n_params(child) == 3_504_872  # as torchvision's mobilenet_v2
    assert multiply_adds(sample, **settings) == pytest.approx(300e6, rel=0.005)


def test_proxylessnas_mobile_has_its_published_size(imagenet):
    with torch.device("meta"):
        child = stand_alone(named(MOBILE), **PRESETS["imagenet"])
    assert n_params(child) == pytest.approx(4.08e6, rel=0.005)
    assert imagenet(MOBILE) == pytest.approx(320e6, rel=0.005)


def test_wide_mobilenet_v2_has_its_published_size():
    settings = {"stages": MOBILENET_V2, "resolution": 224, "n_classes": 1000, "width": 1.4}
    settings["candidates"] = ("mb6_3x3",)
    sample = named(["mb6_3x3"] * 16)
    with torch.device("meta"):
        child = stand_alone(sample, **settings)
    assert n_params(child) == 6_108_776  # as torchvision's, with width_mult=1.4
    assert multiply_adds(sample, **settings) == pytest.approx(585e6, rel=0.01)  # [Sandler2018]


def test_child_found_in_the_paper_is_inside_the_space_at_width_1_3():
    settings = {**PRESETS["imagenet"], "width": 1.3}
    with torch.device("meta"):
        space = ProxylessNASSpace(**settings)
        sizes = NumParamsProfiler(space, (torch.zeros(2, 3, 224, 224),))
    budgets = [  # [Xu2022, Table 5]: 598M multiply-adds, 6.0M parameters
        {"profiler": profiler(**settings), "min": 0.995 * 598e6, "max": 1.005 * 598e6},
        {"profiler": sizes, "min": 5.95e6, "max": 6.05e6},
    ]
    sample = UniformSampler(space, seed=0, filter=budgets).next()
    with torch.device("meta"):
        assert n_params(stand_alone(sample, **settings)) == pytest.approx(6.0e6, rel=0.01)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_leaves_zero_out_where_the_shape_changes(name):
    with torch.device("meta"):
        choices = ProxylessNASSpace.preset(name).simplify()
    blocks = [n for stage in PRESETS[name]["stages"] for n in range(stage.n_blocks)]
    assert list(choices) == [f"block_{n}" for n in range(1, len(blocks) + 1)]
    for n, choice in zip(blocks, choices.values(), strict=True):
        assert ("zero" in choice.values) == (n > 0)
        assert len(choice.values) == (7 if n else 6)


def test_preset_imagenet_has_21_blocks():
    with torch.device("meta"):
        choices = ProxylessNASSpace.preset("imagenet").simplify()
    n_children = math.prod(len(choice.values) for choice in choices.values())
    assert n_children == 6**6 * 7**15
    assert f"{n_children:.1e}" == "2.2e+17"


@pytest.mark.parametrize(("name", "resolution", "last"), [
    ("imagenet", 64, 2), ("cifar", 32, 4), ("tiny", 28, 7), ("tiny", 8, 2),
])  # fmt: skip
def test_preset_classifies_images(name, resolution, last):
    space = ProxylessNASSpace.preset(name, resolution=resolution).eval()
    sizes = []
    space.layers[-1].register_forward_hook(lambda module, args, output: sizes.append(output.shape))
    logits = space(torch.randn(2, space.in_channels, resolution, resolution))
    assert logits.shape == (2, PRESETS[name]["n_classes"])
    assert sizes[0][2:] == (last, last)


def test_zero_leaves_the_block_out():
    with_zero = stand_alone(named(["mb3_3x3", "zero", "mb3_3x3", "zero"]), **SETTINGS).eval()
    hidden = with_zero.stem(IMAGES)
    for n in (0, 2):
        hidden = with_zero.layers[n](hidden)
    torch.testing.assert_close(with_zero(IMAGES), with_zero.head(hidden))


def test_shortcut_stands_where_the_shape_stays():
    child = stand_alone(named(["mb3_3x3"] * 4), **SETTINGS).eval()
    for layer, kept in zip(child.layers, [False, True, False, True], strict=True):
        for parameter in layer.convolutions[-1][1].parameters():
            nn.init.zeros_(parameter)  # the last norm gives zeros: what is left is the shortcut
        hidden = torch.randn(2, layer.convolutions[0][0].in_channels, 4, 4)
        expected = hidden if kept else torch.zeros_like(layer(hidden))
        torch.testing.assert_close(layer(hidden), expected)


def test_supernet_gives_what_the_child_gives():
    sample = named(["mb3_3x3", "zero", "mb6_5x5", "mb3_7x7"])
    net = RandomOneShot().mutate_model(ProxylessNASSpace(**SETTINGS)).eval()
    for module in net.modules():
        if isinstance(module, BaseSuperNetModule):
            module.resample(memo=sample)
    torch.testing.assert_close(net(IMAGES), net.freeze(sample)(IMAGES))
    hidden = net.stem(IMAGES)
    for layer in net.hidden_layers():
        hidden = layer(hidden)
    torch.testing.assert_close(net(IMAGES), net.head(hidden))


def test_width_multiplies_channels():
    wide = stand_alone(named(["mb3_3x3"] * 8), **PRESETS["tiny"], width=2.0)
    inputs = [layer.convolutions[0][0].in_channels for layer in wide.layers]
    assert inputs == [16, 32, 32, 32, 48, 48, 48, 64]
    assert wide.head[-1].in_features == 128
    assert ProxylessNASSpace.preset("tiny", width=0.5).head[-1].in_features == 64


def test_batch_norm_settings_reach_every_norm():
    space = ProxylessNASSpace(**SETTINGS, bn_momentum=0.3, bn_eps=0.01)
    norms = [m for m in space.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.momentum, norm.eps) for norm in norms} == {(0.3, 0.01)}


@pytest.mark.parametrize(("change", "message"), [
    ({"resolution": 1}, r"resolution is 1; accepted are at least 4 pixels"),
    ({"n_classes": 0}, r"n_classes is 0; accepted are whole numbers of at least 1"),
    ({"stages": ()}, r"stages is empty; accepted are lists of at least one stage"),
    ({"stages": ((8, 0, 1),)}, r"n_blocks of stage 1 is 0; accepted are whole numbers"),
    ({"stages": ((8, 1, 3),)}, r"stride of stage 1 is 3; accepted are 1, 2"),
    ({"stem_stride": 4}, r"stem_stride is 4; accepted are 1, 2"),
    ({"width": 0}, r"width is 0; accepted are numbers above 0"),
    ({"dropout": 1.0}, r"dropout is 1.0; accepted are numbers from 0 to below 1"),
    ({"candidates": ("zero",)}, r"candidates is .*; accepted are lists that hold another than .z"),
    ({"candidates": ("mb3_3x3", "mb3_3x3")}, r"accepted are one or more names that differ"),
    ({"candidates": ("mb3_4x4",)}, r"candidate is 'mb3_4x4'; accepted are.*odd k"),
    ({"candidates": ("mb3_3x5",)}, r"candidate is 'mb3_3x5'; accepted are 'zero' and mb"),
])  # fmt: skip
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        ProxylessNASSpace(**{**SETTINGS, **change})


def test_one_string_of_candidates_raises():
    with pytest.raises(TypeError, match="candidates is 'mb3_3x3'; accepted are sequences of names"):
        ProxylessNASSpace(**SETTINGS, candidates="mb3_3x3")


def test_unknown_preset_raises():
    with pytest.raises(
        ValueError, match="preset is 'mnist'; accepted are 'imagenet', 'cifar', 'tiny'"
    ):
        ProxylessNASSpace.preset("mnist")
