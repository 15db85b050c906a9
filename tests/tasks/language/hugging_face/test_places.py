"""Words of both tokenizers that belong together."""

import hugging
import pytest
import teachers
import torch
from tokenizers import Tokenizer, models

from nni_magic.tasks.language.hugging_face.places import TokenPlaces, WordPlaces
from nni_magic.tasks.language.tokenization import special_ids

TEXT = "the cat sat on the mat"


@pytest.fixture(scope="module")
def own():
    return hugging.tokenizer()


@pytest.fixture
def places(own):
    return WordPlaces(own, teachers.pieces().backend_tokenizer, "[MASK]", 64)


def rows(own, *texts, length=24):
    """Rows as a training has them: ``<s> text </s>`` and padding."""
    ids = special_ids(own)
    made = []
    for text in texts:
        tokens = [ids.start, *own.encode(text).ids, ids.end]
        made.append(tokens + [ids.pad] * (length - len(tokens)))
    made = torch.tensor(made)
    return made, (made != ids.pad).long()


def words_of(found, row, names):
    """The teacher's tokens of every place that is real."""
    return [[names[token] for token, share in zip(found.ids[row].tolist(), shares, strict=True)
             if share > 0]
            for shares, real in zip(found.teacher[row].tolist(), found.real[row], strict=True)
            if real]  # fmt: skip


def test_words_are_tokenized_anew_and_belong_to_the_tokens_of_the_child(own, places):
    texts = (TEXT, "a man ran")
    ids, mask = rows(own, *texts)
    found = places(ids, mask)
    assert words_of(found, 0, teachers.PIECES) == [
        ["the"], ["cat"], ["sat"], ["on"], ["the"], ["m", "##at"],
    ]  # fmt: skip
    assert words_of(found, 1, teachers.PIECES) == [["a"], ["m", "##an"], ["r", "##an"]]
    for row, text in enumerate(texts):
        parts = [own.decode(ids[row][shares > 0].tolist()).strip() for shares in found.child[row]]
        assert parts == [*text.split(), *[""] * (6 - len(text.split()))]
        assert found.real[row].tolist() == [part != "" for part in parts]


def test_states_of_a_word_are_the_mean_of_its_tokens(own, places):
    ids, mask = rows(own, TEXT)
    found = places(ids, mask)
    states = torch.randn(1, found.ids.shape[1], 5)
    pooled = found.of_teacher(states)
    torch.testing.assert_close(pooled[0, 0], states[0, 1])  # behind [CLS]
    torch.testing.assert_close(pooled[0, 5], states[0, 6:8].mean(0))


def test_masked_token_is_the_teacher_s_mask_and_ends_its_word(own, places):
    ids, mask = rows(own, TEXT)
    masked = ids.clone()
    masked[0, 2] = special_ids(own).mask
    found = places(masked, mask)
    words = words_of(found, 0, teachers.PIECES)
    assert [word for word in words if "[MASK]" in word] == [["[MASK]"]]
    assert words[0] == ["the"] and words[-1] == ["m", "##at"]
    n_before = places(ids, mask).real.sum()
    assert found.real.sum() >= n_before


def test_what_either_model_does_not_have_is_no_place(own):
    short = WordPlaces(own, teachers.pieces().backend_tokenizer, None, 5)
    ids, mask = rows(own, TEXT)
    ids[0, 1] = special_ids(own).mask
    found = short(ids, mask)
    assert found.ids.shape[1] == 5
    assert not found.real[0, 0]  # a mask, for which this teacher has no token
    assert found.real.sum() < 6  # the last words are cut off


def test_same_vocabulary_takes_the_tokens_as_they_are(own):
    ids, mask = rows(own, TEXT)
    found = TokenPlaces()(ids, mask)
    states = torch.randn(1, 24, 3)
    assert found.ids is ids and found.of_child(states) is states
    assert found.of_teacher(states) is states
    assert found.real.equal(mask != 0)


def test_teachers_of_byte_level_and_children_of_word_pieces_have_the_same_words(own):
    other = teachers.pieces().backend_tokenizer
    places = WordPlaces(other, own, "<mask>", 64)
    ids = torch.tensor([[2, *other.encode("the mat sat", add_special_tokens=False).ids, 3]])
    found = places(ids, torch.ones_like(ids))
    texts = [own.decode([token for token, share in zip(found.ids[0].tolist(), shares.tolist(),
                                                       strict=True) if share > 0])
             for shares in found.teacher[0]]  # fmt: skip
    assert texts == [" the", " mat", " sat"]


def test_vocabulary_without_words_is_refused():
    vocabulary = {name: n for n, name in enumerate(["<s>", "<pad>", "</s>", "<mask>", "a", "b"])}
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token="a"))
    with pytest.raises(ValueError, match="has no token that begins or continues a word; accepted"):
        WordPlaces(plain, teachers.pieces().backend_tokenizer, "[MASK]", 8)
