"""Names of candidates: which operator each stands for, and which are none."""

import pytest

from search_spaces.bert_candidates import build_candidate
from search_spaces.bert_operators import (
    Convolution,
    FeedForward,
    SelfAttention,
    SeparableConvolution,
)

HIDDEN = 16


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("mha4", SelfAttention, {"heads": 4, "width": HIDDEN}),
        ("mha2x8", SelfAttention, {"heads": 2, "width": 8}),
        ("ffn", FeedForward, {"inner": 4 * HIDDEN}),
        ("ffn24", FeedForward, {"inner": 24}),
        ("conv3", Convolution, {"hidden": HIDDEN}),
        ("sepconv5", SeparableConvolution, {"hidden": HIDDEN}),
    ],
)
def test_name_stands_for_its_operator(name, kind, settings):
    operator = build_candidate(name, HIDDEN)
    assert type(operator) is kind
    assert {setting: getattr(operator, setting) for setting in settings} == settings


@pytest.mark.parametrize(("name", "kernel"), [("conv5", 5), ("sepconv3", 3)])
def test_number_of_a_convolution_is_its_kernel(name, kernel):
    shapes = {parameter.shape[-1] for parameter in build_candidate(name, HIDDEN).parameters()
              if parameter.dim() == 3}  # fmt: skip
    assert shapes == {kernel}


def test_dropout_is_that_of_attention_probabilities():
    assert build_candidate("mha4", HIDDEN, dropout=0.3).dropout.p == 0.3


@pytest.mark.parametrize(
    "name", ["lstm", "", "mha", "mha0", "mha4x", "mhax8", "ffn-1", "ffn0", "conv", "Conv3"]
)
def test_unknown_name_raises(name):
    message = rf"candidate is '{name}'; accepted are mha<heads> .*conv<k>"
    with pytest.raises(ValueError, match=message):
        build_candidate(name, HIDDEN)


@pytest.mark.parametrize("name", ["conv4", "sepconv2"])
def test_even_kernel_raises(name):
    message = rf"candidate '{name}': kernel is \d; accepted are odd widths"
    with pytest.raises(ValueError, match=message):
        build_candidate(name, HIDDEN)


@pytest.mark.parametrize(("name", "width"), [("mha3", 16), ("mha4x10", 10), ("mha32", 16)])
def test_heads_that_do_not_divide_the_width_raise(name, width):
    message = rf"candidate '{name}': heads is \d+; accepted are divisors of the width, {width}"
    with pytest.raises(ValueError, match=message):
        build_candidate(name, HIDDEN)
