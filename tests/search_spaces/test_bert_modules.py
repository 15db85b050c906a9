"""Fixed parts of the BERT space: shapes with and without factorised embedding, decoder."""

import pytest
import torch
from torch import nn

from search_spaces.bert_modules import MaskedLanguageHead, Residual, Stem


@pytest.mark.parametrize("embedding_size", [4, 8])
def test_stem_shapes(embedding_size):
    stem = Stem(8, 30, 6, embedding_size, dropout=0.0)
    assert stem(torch.zeros(2, 5, dtype=torch.long)).shape == (2, 5, 8)
    assert stem.token.weight.shape == (30, embedding_size)
    assert stem.position.weight.shape == (6, embedding_size)
    assert isinstance(stem.project, nn.Linear if embedding_size == 4 else nn.Identity)


def test_stem_adds_token_and_position():
    stem = Stem(8, 30, 6, 8, dropout=0.0)
    ids = torch.tensor([[3, 3, 7]])
    rows = stem.token.weight[ids[0]] + stem.position.weight[:3]
    expected = (rows - rows.mean(-1, keepdim=True)) / rows.std(-1, correction=0, keepdim=True)
    torch.testing.assert_close(stem(ids)[0], expected, rtol=1e-3, atol=1e-4)


def test_stem_too_long_sequence_raises():
    stem = Stem(8, 30, 6, 8, dropout=0.0)
    with pytest.raises(ValueError, match=r"token_ids has 7 columns; accepted are at most .* 6"):
        stem(torch.zeros(1, 7, dtype=torch.long))


def test_residual_is_normalised_after_the_sum():
    hidden, update = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    actual = Residual(8, dropout=0.0)(hidden, update)
    torch.testing.assert_close(actual, nn.functional.layer_norm(hidden + update, (8,)))


@pytest.mark.parametrize("embedding_size", [4, 8])
def test_head_shapes_and_decoder(embedding_size):
    head = MaskedLanguageHead(8, 30, embedding_size)
    nn.init.normal_(head.bias)
    weight = torch.randn(30, embedding_size)
    hidden = torch.randn(2, 3, 8)
    transformed = head.project(head.norm(nn.GELU()(head.dense(hidden))))
    assert transformed.shape == (2, 3, embedding_size)
    expected = torch.einsum("bse,ve->bsv", transformed, weight) + head.bias
    torch.testing.assert_close(head(hidden, weight), expected)


def test_head_positions_select_the_same_logits():
    head = MaskedLanguageHead(8, 30, 4)
    hidden, weight = torch.randn(2, 3, 8), torch.randn(30, 4)
    positions = torch.tensor([[True, False, True], [False, False, True]])
    selected = head(hidden, weight, positions)
    assert selected.shape == (3, 30)
    torch.testing.assert_close(selected, head(hidden, weight)[positions])
