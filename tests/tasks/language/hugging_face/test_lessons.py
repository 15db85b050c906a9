"""What is imitated of a teacher, by what it has in common with the child."""

import hugging
import pytest
import teachers
import torch

from nni_magic.losses.imitation import Reading
from nni_magic.tasks.language.hugging_face.lessons import ChildSizes, Teaching
from nni_magic.tasks.teaching import Teacher

SIZES = ChildSizes(n_layers=4, width=16, attention=[16], max_length=hugging.LENGTH)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teachers")
    return {
        "alike": teachers.written(folder / "alike", alike=True),
        "alike_body": teachers.written(folder / "alike_body", "body", alike=True),
        "other": teachers.written(folder / "other"),
    }


def teaching(folder, sizes=SIZES, **settings):
    return Teaching(Teacher(teacher=folder, **settings), hugging.tokenizer(), sizes, seed=0)


def test_logits_are_imitated_where_vocabularies_agree_and_else_states(folders):
    found = {name: list(teaching(folder).imitations) for name, folder in folders.items()}
    assert found == {
        "alike": ["logits"], "alike_body": ["hidden", "relations"],
        "other": ["hidden", "relations"],
    }  # fmt: skip
    assert teaching(folders["other"]).made_with["imitate"] == ["hidden", "relations"]


def test_logits_of_another_vocabulary_are_refused(folders):
    message = rf"imitate has 'logits', and teacher is '{folders['other']}', whose vocabulary is not"
    with pytest.raises(ValueError, match=message):
        teaching(folders["other"], imitate=("logits",))


def test_logits_without_a_head_are_refused(folders):
    with pytest.raises(ValueError, match="has no head for masked tokens; accepted are 'hidden'"):
        teaching(folders["alike_body"], imitate=("logits",))


def test_layers_that_cannot_be_mapped_are_refused(folders):
    message = "teacher_layers holds '4:3'; accepted are pairs as 1:1, of the child's 4 layers and"
    with pytest.raises(ValueError, match=message):
        teaching(folders["other"], teacher_layers=("2:1", "4:3"))


def test_relation_heads_that_do_not_divide_a_width_are_refused(folders):
    with pytest.raises(ValueError, match=r"relation_heads is 5; accepted are divisors of .* \[16"):
        teaching(folders["other"], relation_heads=5)
    assert teaching(folders["other"]).imitations["relations"].heads == 2


def test_teacher_of_the_same_vocabulary_takes_texts_as_long_as_the_child_s(folders):
    longer = ChildSizes(4, 16, [16], 65)
    message = "which takes 64 tokens; accepted are 65 or more, as the child takes"
    with pytest.raises(ValueError, match=message):
        teaching(folders["alike"], sizes=longer)
    assert teaching(folders["other"], sizes=longer)  # longer words are no places


def test_readings_of_a_teacher_of_another_tokenizer_are_of_the_same_words(folders):
    own = teaching(folders["other"], teacher_layers=("2:1", "4:2"))
    ids, mask = hugging.batch()
    hidden = {n: torch.randn(3, hugging.LENGTH, 16) for n in own.layers}
    assert own.layers == [2, 4]
    child, teacher, real = own.readings(ids, mask, ids == 4, Reading(hidden))
    assert child.hidden[2].shape[:2] == teacher.hidden[1].shape[:2] == real.shape
    assert (child.hidden[4].shape[-1], teacher.hidden[2].shape[-1]) == (16, 24)
    assert [each.shape[-1] for each in teacher.attention] == [24] * 3
    for imitation in own.imitations.values():
        assert imitation(child, teacher, real).isfinite()


def test_logits_are_those_of_the_tokens_predicted_without_the_fill_of_a_vocabulary(tmp_path):
    size = hugging.tokenizer().get_vocab_size()
    filled = teachers.written(tmp_path / "filled", alike=True, vocab_size=size + 7)
    own = teaching(filled)
    ids, mask = hugging.batch()
    predicted = torch.rand(ids.shape) < 0.3
    logits = torch.randn(int(predicted.sum()), size)
    _, teacher, _ = own.readings(ids, mask, predicted, Reading({4: torch.randn(3, 12, 16)}, (),
                                                               logits))  # fmt: skip
    assert teacher.logits.shape == logits.shape
    whole = own._teacher(ids, mask).logits
    assert teacher.logits.equal(whole[predicted][:, :size])


def test_same_batch_is_read_once(folders):
    own = teaching(folders["other"])
    ids, mask = hugging.batch()
    first = own._taught(ids, mask)
    assert own._taught(ids.clone(), mask.clone())[1] is first[1]
    assert own._taught(ids.flip(0), mask.flip(0))[1] is not first[1]
    own.forget()
    assert own._taught(ids, mask)[1] is not first[1]
