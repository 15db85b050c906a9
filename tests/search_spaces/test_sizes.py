"""Sizes of the smallest and the largest child of every preset, as docs/spaces.md gives them."""

import math

import pytest
import torch
from nni.nas.profiler.pytorch.flops import FlopsProfiler, NumParamsProfiler

from nni_magic.children.costs import tabulated
from nni_magic.children.samples import candidates
from search_spaces import BertSpace, ProxylessNASSpace

AS_PAPERS_COUNT = {"count_bias": False, "count_normalization": False, "count_activation": False}


def check(space, inputs, flops, n_blocks, n_children, params, multiply_adds):
    choices = candidates(space)
    assert len(choices) == n_blocks
    assert math.prod(map(len, choices.values())) == pytest.approx(n_children, rel=0.02)
    for profiler, extremes in ((NumParamsProfiler, params), (flops, multiply_adds)):
        assert tabulated(profiler(space, inputs)).extremes() == pytest.approx(extremes, rel=0.005)


@pytest.mark.parametrize(("name", "tokens", "n_blocks", "n_children", "params", "multiply_adds"), [
    ("base", 128, 26, 4.5e15, (73.4e6, 150.1e6), (9.40e9, 19.21e9)),
    ("compression", 128, 26, 4.5e15, (46.7e6, 80.7e6), (5.97e9, 10.34e9)),
    ("analysis", 128, 12, 2.2e9, (41.4e6, 42.6e6), (5.30e9, 5.45e9)),
    ("tiny", 64, 8, 65_536, (177_984, 340_800), (11.2e6, 21.8e6)),
])  # fmt: skip
def test_sizes_of_the_bert_presets(name, tokens, n_blocks, n_children, params, multiply_adds):
    with torch.device("meta"):
        space = BertSpace.preset(name)
    inputs = torch.zeros(1, tokens, dtype=torch.long, device="meta")
    check(space, inputs, FlopsProfiler, n_blocks, n_children, params, multiply_adds)


@pytest.mark.parametrize(
    ("name", "width", "resolution", "n_blocks", "n_children", "params", "multiply_adds"), [
        ("imagenet", 1.0, 224, 21, 2.2e17, (2.16e6, 5.14e6), (109e6, 693e6)),
        pytest.param(
            "imagenet", 1.3, 224, 21, 2.2e17, (3.14e6, 7.98e6), (184e6, 1110e6),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "cifar", 1.0, 32, 21, 2.2e17, (0.89e6, 3.87e6), (27.7e6, 216e6), marks=pytest.mark.slow
        ),
        ("tiny", 1.0, 28, 8, 3.6e6, (11_866, 99_882), (1.15e6, 8.2e6)),
    ],
)  # fmt: skip
def test_sizes_of_the_proxylessnas_presets(
    name, width, resolution, n_blocks, n_children, params, multiply_adds
):
    with torch.device("meta"):
        space = ProxylessNASSpace.preset(name, width=width)
    inputs = torch.zeros(2, space.in_channels, resolution, resolution, device="meta")
    check(
        space,
        inputs,
        lambda *a: FlopsProfiler(*a, **AS_PAPERS_COUNT),
        n_blocks,
        n_children,
        params,
        multiply_adds,
    )
