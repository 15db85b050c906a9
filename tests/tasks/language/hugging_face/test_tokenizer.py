"""The wrapped tokenizer: its special tokens, its lengths, its files."""

import hugging
from transformers import AutoTokenizer

from nni_magic.tasks.language.hugging_face import wrapped_tokenizer
from nni_magic.tasks.language.preprocessing import TextPreprocessing


def wrapped():
    return wrapped_tokenizer(hugging.tokenizer(), hugging.LENGTH)


def test_texts_are_rows_as_those_of_the_preprocessing():
    ours = TextPreprocessing(hugging.tokenizer(), hugging.LENGTH)(hugging.TEXTS)
    theirs = wrapped()(hugging.TEXTS, padding=True, truncation=True, return_tensors="pt")
    assert list(theirs) == ["input_ids", "attention_mask"]
    assert theirs["input_ids"].tolist() == ours["token_ids"].tolist()
    assert theirs["attention_mask"].tolist() == ours["attention_mask"].tolist()


def test_special_tokens_have_their_roles():
    tokenizer = wrapped()
    assert (tokenizer.cls_token_id, tokenizer.pad_token_id, tokenizer.sep_token_id,
            tokenizer.unk_token_id, tokenizer.mask_token_id) == (0, 1, 2, 3, 4)  # fmt: skip
    assert len(tokenizer("cat " * 30, truncation=True)["input_ids"]) == hugging.LENGTH
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("the <mask> sat")["input_ids"])
    assert tokens == ["<s>", "the", "<mask>", "Ġsat", "</s>"]


def test_files_give_the_same_tokenizer(tmp_path):
    wrapped().save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "a dog on <mask>", "the mat"
    assert loaded(*text) == wrapped()(*text)
    assert (loaded.model_max_length, loaded.padding_side) == (hugging.LENGTH, "right")
    words = loaded("the cat sat", return_offsets_mapping=True)
    assert words["offset_mapping"] == [(0, 0), (0, 3), (4, 7), (8, 11), (0, 0)]
