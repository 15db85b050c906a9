"""Masks of tokens and of words, rows, and the perplexity."""

import math

import hugging
import pytest
import torch
from torch.nn import functional as F
from transformers import EvalPrediction

from nni_magic.tasks.language.hugging_face import (
    HeldOutRows,
    Masking,
    TrainingRows,
    wrapped_tokenizer,
)
from nni_magic.tasks.language.hugging_face.pretraining import perplexity, row_sums
from nni_magic.tasks.language.mlm_data import prepare


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    for number in range(4):
        (folder / f"{number}.txt").write_text("the unbelievable cat sat on the mat. " * 20)
    (folder / "other.txt").write_text("a dog ran. " * 20)
    path = folder / "tokenizer.json"
    hugging.tokenizer().save(str(path))
    return prepare(str(folder), folder / "cache", max_length=32, tokenizer=path)


@pytest.fixture(scope="module")
def tokenizer():
    return wrapped_tokenizer(hugging.tokenizer(), 32)


def test_tokens_are_masked_and_never_special_ones(data, tokenizer):
    torch.manual_seed(0)
    rows = torch.stack([TrainingRows(data)[n]["input_ids"] for n in range(4)]).repeat(50, 1)
    found = Masking(tokenizer, data, 0.3)(rows)
    chosen = found["labels"] != -100
    assert torch.equal(found["labels"][chosen], rows[chosen])
    assert torch.equal(found["input_ids"][~chosen], rows[~chosen])
    special = torch.isin(rows, torch.tensor(data.special.every))
    assert not chosen[special].any()
    assert chosen[~special].float().mean() == pytest.approx(0.3, abs=0.03)
    assert torch.equal(found["attention_mask"].bool(), rows != data.special.pad)


def test_words_are_masked_whole(data, tokenizer):
    torch.manual_seed(0)
    text = "the unbelievable cat sat on the unbelievable mat"
    row = torch.tensor([tokenizer(text)["input_ids"]])
    words = [i for i in tokenizer(text).word_ids()]
    assert len(words) > len(text.split()) + 2  # some words are of several tokens
    masking, parts = Masking(tokenizer, data, 0.3, whole_words=True), 0
    for _ in range(50):
        found = masking(row)
        chosen = (found["labels"] != -100)[0].tolist()
        of_word = {}
        for word, one in zip(words, chosen, strict=True):
            of_word.setdefault(word, set()).add(one)
        assert all(len(each) == 1 for each in of_word.values())
        assert of_word[None] == {False}
        ids = found["input_ids"][0][torch.tensor(chosen)]
        assert (ids == data.special.mask).all()
        parts += sum(chosen)
    assert parts


def test_held_out_rows_keep_their_masks(data):
    rows = HeldOutRows(data, at_most=1)
    assert len(rows) == 1
    one, again = rows[0], rows[0]
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert (one["labels"] != -100).any()


def test_perplexity_is_over_tokens_and_not_over_rows():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 5)
    labels = torch.tensor([[1, -100, -100], [0, 2, 4]])
    sums = row_sums(logits, labels).numpy()
    expected = math.exp(F.cross_entropy(logits.flatten(0, 1), labels.flatten()))
    found = perplexity(EvalPrediction(sums, labels.numpy()))
    assert found["perplexity"] == pytest.approx(expected, rel=1e-5)
