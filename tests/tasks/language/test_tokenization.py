"""Tokenizers: round trips, special ids, files and refusals."""

import pytest
from tokenizers import Tokenizer, models

from nni_magic.tasks.language.tokenization import (
    SPECIAL_TOKENS,
    load_tokenizer,
    save_tokenizer,
    special_ids,
    tokenizer_digest,
    train_tokenizer,
)

TEXTS = ["the cat sat on the mat", "the dog sat on the log"] * 20


def test_train_gives_the_size_asked_for_and_special_tokens_first():
    tokenizer = train_tokenizer(TEXTS, 270)
    assert tokenizer.get_vocab_size() == 270
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]


def test_train_on_little_text_gives_fewer_tokens():
    assert 261 < train_tokenizer(TEXTS, 5000).get_vocab_size() < 400


@pytest.mark.parametrize("text", ["the cat", "Größe 😀\n\ttabs", "\x00\x7f"])
def test_every_text_survives_a_round_trip(text):
    tokenizer = train_tokenizer(TEXTS, 280)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids) == text
    assert min(ids) >= len(SPECIAL_TOKENS)


def test_frequent_words_become_one_token():
    encoding = train_tokenizer(TEXTS, 400).encode("on the mat")
    assert encoding.tokens[1] == "Ġthe"


def test_training_twice_gives_one_digest():
    digests = {tokenizer_digest(train_tokenizer(TEXTS, 280)) for _ in range(2)}
    assert len(digests) == 1
    assert tokenizer_digest(train_tokenizer(TEXTS, 270)) not in digests


def test_vocab_size_too_small():
    with pytest.raises(
        ValueError, match="vocab_size is 260; accepted are whole numbers of at least 261"
    ):
        train_tokenizer(TEXTS, 260)


@pytest.mark.parametrize("value", ["8192", 8192.0, True])
def test_vocab_size_of_another_type(value):
    with pytest.raises(ValueError, match=f"vocab_size is {value!r}; accepted are whole numbers"):
        train_tokenizer(TEXTS, value)


def test_saved_tokenizer_is_the_same(tmp_path):
    tokenizer = train_tokenizer(TEXTS, 280)
    save_tokenizer(tokenizer, tmp_path / "new" / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "new" / "tokenizer.json")
    assert tokenizer_digest(loaded) == tokenizer_digest(tokenizer)


def test_loaded_tokenizer_neither_cuts_nor_pads(tmp_path):
    tokenizer = train_tokenizer(TEXTS, 280)
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=50)
    tokenizer.save(str(tmp_path / "t.json"))
    assert 3 < len(load_tokenizer(tmp_path / "t.json").encode(TEXTS[0]).ids) < 50


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tokenizer is '.*none\.json'; accepted is a"):
        load_tokenizer(tmp_path / "none.json")


def test_file_of_something_else_is_named(tmp_path):
    (tmp_path / "t.json").write_text('{"a": 1}')
    with pytest.raises(ValueError, match=r"t\.json' is not a tokenizer"):
        load_tokenizer(tmp_path / "t.json")


def test_bert_names_are_known():
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(["[PAD]", "[CLS]", "[SEP]", "[MASK]"])
    special = special_ids(tokenizer)
    assert (special.pad, special.start, special.end, special.mask) == (2, 3, 4, 5)
    assert special.every == (2, 3, 4, 5)


def test_tokenizer_without_mask_token_is_refused(tmp_path):
    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    tokenizer.add_special_tokens(["<s>", "</s>", "<pad>"])
    tokenizer.save(str(tmp_path / "t.json"))
    with pytest.raises(ValueError, match=r"no mask token.*<mask>.*\[MASK\]"):
        load_tokenizer(tmp_path / "t.json")
