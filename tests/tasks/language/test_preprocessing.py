"""Texts as a child's batch: special tokens, padding, what is cut, and files."""

import logging

import hugging
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from nni_magic.tasks.language.preprocessing import TextPreprocessing, framed
from nni_magic.tasks.language.tokenization import tokenizer_digest

BERT = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "cat": 5, "dog": 6}


def berts():
    tokenizer = Tokenizer(models.WordLevel(BERT, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([name for name in BERT if name.startswith("[")])
    return tokenizer


def test_texts_become_a_batch_that_the_child_takes():
    preprocess = TextPreprocessing(hugging.tokenizer(), hugging.LENGTH)
    batch = preprocess(["the cat", "a dog ran"])
    assert batch["token_ids"].tolist() == [[0, 263, 271, 2, 1], [0, 69, 276, 279, 2]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    alone = preprocess("the cat")
    assert alone["token_ids"].tolist() == [[0, 263, 271, 2]]
    child = hugging.child()
    torch.testing.assert_close(child(**batch)[:1, :4], child(**alone))


def test_what_is_too_long_is_cut_and_counted(caplog):
    preprocess = TextPreprocessing(hugging.tokenizer(), hugging.LENGTH)
    with caplog.at_level(logging.WARNING):
        batch = preprocess(["cat " * 30, "dog", "the mat " * 20])
    assert batch["token_ids"].shape == (3, hugging.LENGTH)
    assert batch["token_ids"][0, -1] == 2
    assert "2 of 3 texts are longer than 12 tokens, and were cut" in caplog.text


def test_the_mask_takes_the_space_before_it_and_the_tokenizer_stays_as_it_is():
    tokenizer = hugging.tokenizer()
    before = tokenizer_digest(tokenizer)
    ids = framed(tokenizer).encode("the <mask> sat", "a dog").ids
    tokens = ["<s>", "the", "<mask>", "Ġsat", "</s>", "</s>", "a", "Ġdog", "</s>"]
    assert [tokenizer.id_to_token(id) for id in ids] == tokens
    assert tokenizer_digest(tokenizer) == before


def test_berts_tokens_frame_as_bert_does():
    assert framed(berts()).encode("cat", "dog").tokens == ["[CLS]", "cat", "[SEP]", "dog", "[SEP]"]


def test_a_tokenizer_keeps_a_form_of_its_own():
    tokenizer = berts()
    tokenizer.post_processor = TemplateProcessing(
        single="$A [SEP]", special_tokens=[("[SEP]", BERT["[SEP]"])]
    )
    assert framed(tokenizer).encode("cat dog").tokens == ["cat", "dog", "[SEP]"]


def test_files_give_the_same_batches(tmp_path):
    TextPreprocessing(hugging.tokenizer(), 7).write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"preprocessing.json", "tokenizer.json"}
    read = TextPreprocessing.read(tmp_path, max_length=7)
    assert tokenizer_digest(read.tokenizer) == tokenizer_digest(hugging.tokenizer())
    assert read("the cat sat on the mat")["token_ids"].shape == (1, 7)


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tokenizer is '.*tokenizer.json'; accepted is"):
        TextPreprocessing.read(tmp_path, max_length=7)
