"""Inverted residuals: counts and outputs by hand, and names."""

import pytest
import torch
from torch import nn

from search_spaces.mbconv import InvertedResidual, build_candidate, conv_norm


def n_params(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("expansion", [1, 3, 6])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize(("channels", "stride"), [((8, 8), 1), ((8, 12), 2)])
def test_parameters_of_a_candidate_match_a_count_by_hand(expansion, kernel, channels, stride):
    before, after = channels
    operator = build_candidate(
        f"mb{expansion}_{kernel}x{kernel}", before, after, stride=stride, norm={}
    )
    inner = expansion * before
    expand = before * inner + 2 * inner if expansion > 1 else 0
    assert n_params(operator) == expand + inner * kernel**2 + 2 * inner + inner * after + 2 * after


def test_convolution_is_followed_by_norm_and_by_relu6_if_wanted():
    layers = conv_norm(3, 4, 5, stride=2, norm={"eps": 0.5})
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU6]
    assert (layers[0].bias, layers[1].eps) == (None, 0.5)
    assert layers(torch.zeros(2, 3, 8, 8)).shape == (2, 4, 4, 4)
    assert [type(layer) for layer in conv_norm(3, 4, activation=None, norm={})] == [
        nn.Conv2d, nn.BatchNorm2d,
    ]  # fmt: skip


def test_operator_is_expansion_depthwise_convolution_and_projection():
    """As functions, on the operator's weights; a new norm changes nothing in evaluation mode."""
    torch.manual_seed(0)
    operator = build_candidate("mb3_5x5", 4, 4, stride=1, norm={"eps": 0.0}).eval()
    images = torch.randn(2, 4, 6, 6)
    expand, depthwise, project = (block[0].weight for block in operator.convolutions)
    hidden = nn.functional.conv2d(images, expand).clamp(0, 6)
    hidden = nn.functional.conv2d(hidden, depthwise, padding=2, groups=12).clamp(0, 6)
    expected = images + nn.functional.conv2d(hidden, project)
    torch.testing.assert_close(operator(images), expected)


def test_zero_gives_the_images_themselves():
    images = torch.randn(2, 8, 4, 4)
    assert build_candidate("zero", 8, 8, stride=1, norm={})(images) is images


def test_zero_in_a_reducing_block_raises():
    with pytest.raises(ValueError, match=r"'zero' cannot stand in a reducing block.*has stride 2"):
        build_candidate("zero", 8, 8, stride=2, norm={})
    with pytest.raises(ValueError, match=r"'zero' cannot stand.*maps 8 channels to 12"):
        build_candidate("zero", 8, 12, stride=1, norm={})


def test_even_kernel_raises():
    with pytest.raises(ValueError, match="kernel is 4; accepted are odd widths"):
        InvertedResidual(8, 8, expansion=3, kernel=4, stride=1, norm={})


@pytest.mark.parametrize("name", ["mb3_4x4", "mb3_3x5", "mb0_3x3", "MB3_3x3", ""])
def test_unknown_name_raises(name):
    with pytest.raises(ValueError, match=f"candidate is '{name}'; accepted are 'zero' and mb<exp"):
        build_candidate(name, 8, 8, stride=1, norm={})
