"""Operators: parameter counts, references written apart, and padding."""

import pytest
import torch
from torch import nn

from search_spaces.bert_candidates import build_candidate
from search_spaces.bert_operators import TokenStates

EVERY_TYPE = ["mha4", "mha2x8", "ffn", "ffn24", "conv3", "conv5", "sepconv3", "sepconv5"]
HIDDEN = 16


def count_parameters(name, hidden=768):
    with torch.device("meta"):
        return sum(p.numel() for p in build_candidate(name, hidden).parameters())


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("mha6x384", 1.18),
        ("mha8x384", 1.18),
        ("ffn768", 1.18),
        ("ffn832", 1.28),
        ("sepconv3", 1.18),
        ("sepconv5", 1.19),
    ],
)
def test_parameters_match_table_6(name, millions):
    assert round(count_parameters(name) / 1e6, 2) == millions


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mha12", 4 * (768 * 768 + 768)),
        ("ffn", 768 * 3072 + 3072 + 3072 * 768 + 768),
        ("conv3", (768 * 1536 + 1536) + (768 * 3 + 768) + (768 * 768 + 768)),
        ("conv5", (768 * 1536 + 1536) + (768 * 5 + 768) + (768 * 768 + 768)),
        ("sepconv3", 2 * (768 * 3 + 768 * 768)),
    ],
)
def test_parameters_match_hand_count(name, expected):
    assert count_parameters(name) == expected


def test_convolution_has_the_parameters_its_docstring_says():
    assert count_parameters("conv3") == 1_774_848
    assert count_parameters("conv5") == 1_776_384


@pytest.mark.parametrize("name", EVERY_TYPE)
def test_padding_does_not_change_real_tokens(name):
    torch.manual_seed(0)
    operator = build_candidate(name, HIDDEN)
    for parameter in operator.parameters():  # also the biases, which make padding non-zero
        nn.init.normal_(parameter, std=0.5)
    short = torch.randn(2, 5, HIDDEN)
    padded = torch.cat([short, 100 * torch.randn(2, 4, HIDDEN)], dim=1)
    mask = torch.tensor([[1] * 5 + [0] * 4] * 2)
    expected = operator(TokenStates(short))
    actual = operator(TokenStates(padded, mask))
    assert actual.shape == padded.shape
    torch.testing.assert_close(actual[:, :5], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", EVERY_TYPE)
def test_sentence_of_padding_only_stays_finite(name):
    operator = build_candidate(name, HIDDEN)
    mask = torch.tensor([[1, 1, 1], [0, 0, 0]])
    output = operator(TokenStates(torch.randn(2, 3, HIDDEN), mask))
    output.sum().backward()
    assert output.isfinite().all()
    assert all(p.grad.isfinite().all() for p in operator.parameters())


def test_attention_equals_torch_multihead_attention():
    torch.manual_seed(0)
    operator = build_candidate("mha4", HIDDEN)
    reference = nn.MultiheadAttention(HIDDEN, 4, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(operator.qkv.weight)
        reference.in_proj_bias.copy_(operator.qkv.bias)
        reference.out_proj.load_state_dict(operator.output.state_dict())
    hidden = torch.randn(3, 7, HIDDEN)
    mask = torch.arange(7) < torch.tensor([[7], [4], [1]])
    expected, _ = reference(hidden, hidden, hidden, key_padding_mask=~mask)
    torch.testing.assert_close(operator(TokenStates(hidden, mask)), expected)


def test_attention_dropout_is_active_in_training_only():
    operator = build_candidate("mha4", HIDDEN, dropout=0.5)
    states = TokenStates(torch.randn(1, 6, HIDDEN))
    assert not torch.equal(operator(states), operator(states))
    operator.eval()
    assert torch.equal(operator(states), operator(states))


def slide(hidden, conv):
    """Convolve each channel by hand; ``(seq, hidden)`` in and out."""
    kernel = conv.weight.shape[-1]
    output = torch.zeros_like(hidden)
    for t in range(len(hidden)):
        for j in range(kernel):
            source = t + j - kernel // 2
            if 0 <= source < len(hidden):
                output[t] += conv.weight[:, 0, j] * hidden[source]
    return output if conv.bias is None else output + conv.bias


@pytest.mark.parametrize("name", ["conv3", "conv5"])
def test_convolution_equals_a_loop(name):
    operator = build_candidate(name, HIDDEN)
    hidden = torch.randn(6, HIDDEN)
    wide = operator.gate(hidden)
    gated = wide[:, :HIDDEN] * torch.sigmoid(wide[:, HIDDEN:])
    expected = operator.pointwise(slide(gated, operator.depthwise))
    actual = operator(TokenStates(hidden.unsqueeze(0)))[0]
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("name", ["sepconv3", "sepconv5"])
def test_separable_convolution_equals_a_loop(name):
    operator = build_candidate(name, HIDDEN)
    hidden = torch.randn(6, HIDDEN)
    middle = nn.GELU()(slide(hidden, operator.depthwise_1) @ operator.pointwise_1.weight.T)
    expected = slide(middle, operator.depthwise_2) @ operator.pointwise_2.weight.T
    actual = operator(TokenStates(hidden.unsqueeze(0)))[0]
    torch.testing.assert_close(actual, expected)
