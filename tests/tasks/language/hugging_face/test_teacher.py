"""Folders of teachers: what is refused at the start, and what a teacher gives."""

import json
import shutil

import pytest
import teachers
import torch
from transformers import BertForMaskedLM, RobertaConfig, RobertaModel

from nni_magic.tasks.language.hugging_face.teacher import TeacherFolder, TeacherModel


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return teachers.written(tmp_path_factory.mktemp("teacher") / "masked")


def copied(folder, to, **changes):
    shutil.copytree(folder, to)
    config = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps({**config, **changes}))
    return to


def test_folder_without_a_model_or_a_tokenizer_is_refused(folder, tmp_path):
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        lacking = copied(folder, tmp_path / name)
        (lacking / name).unlink()
        message = f"teacher is '{lacking}', without {name}; accepted are folders that save_pretr"
        with pytest.raises(FileNotFoundError, match=message):
            TeacherFolder(lacking)
    with pytest.raises(FileNotFoundError, match=r"no_such', without config.json"):
        TeacherFolder(tmp_path / "no_such")


def test_folder_that_cannot_be_read_is_refused(folder, tmp_path):
    (copied(folder, tmp_path / "cut") / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"cut', which cannot be read \(.*\); accepted are"):
        TeacherFolder(tmp_path / "cut")


def test_tokenizer_of_another_model_is_refused(folder, tmp_path):
    smaller = teachers.written(tmp_path / "smaller", vocab_size=len(teachers.PIECES) - 1)
    n = len(teachers.PIECES)
    message = (f"whose tokenizer has {n} tokens and pads with 0; accepted is that of its model, "
               f"which has {n - 1} and pads with 0")  # fmt: skip
    with pytest.raises(ValueError, match=message):
        TeacherFolder(smaller)
    with pytest.raises(ValueError, match="and pads with 0; accepted is that of its model, which"):
        TeacherFolder(copied(folder, tmp_path / "other", pad_token_id=5))
    far = teachers.written(tmp_path / "far", vocab_size=n + 128)
    with pytest.raises(ValueError, match=f"which has {n + 128}"):
        TeacherFolder(far)
    assert TeacherFolder(teachers.written(tmp_path / "filled", vocab_size=n + 127)).config


def test_folder_without_a_head_has_no_logits(folder, tmp_path):
    assert TeacherFolder(folder).masked_model() is not None
    body = TeacherFolder(teachers.written(tmp_path / "body", "body"))
    assert body.masked_model() is None
    with pytest.raises(ValueError, match="lacks weights of a BertForSequenceClassification, such"):
        body.classifier()


def test_digest_changes_with_the_weights(folder, tmp_path):
    same = copied(folder, tmp_path / "same", **json.loads((folder / "config.json").read_text()))
    other = TeacherFolder(teachers.written(tmp_path / "other", seed=1))
    assert TeacherFolder(folder).digest != other.digest
    (same / "config.json").write_bytes((folder / "config.json").read_bytes())
    assert TeacherFolder(same).digest == TeacherFolder(folder).digest


def test_teacher_gives_what_transformers_gives_frozen_and_without_dropout(folder):
    state = torch.get_rng_state()
    teacher = TeacherModel(TeacherFolder(folder).masked_model())
    ids = torch.tensor([[2, 5, 6, 7, 3, 0], [2, 9, 10, 3, 0, 0]])
    found = teacher(ids, (ids != 0).long())
    assert torch.equal(state, torch.get_rng_state())
    model = BertForMaskedLM.from_pretrained(folder).eval()
    query = model.bert.encoder.layer[1].attention.self.query
    with torch.no_grad():
        expected = model(ids, attention_mask=(ids != 0).long(), output_hidden_states=True)
        torch.testing.assert_close(found.attention[0], query(expected.hidden_states[1]))
    torch.testing.assert_close(found.logits, expected.logits)
    assert len(found.hidden) == teacher.n_layers + 1 == 3
    torch.testing.assert_close(found.hidden[2], expected.hidden_states[2])
    assert not found.logits.requires_grad
    assert not any(p.requires_grad for p in teacher._model.parameters())
    assert (teacher.width, teacher.max_length) == (24, 64)


def test_longest_text_of_roberta_leaves_out_the_positions_of_padding():
    config = RobertaConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                           intermediate_size=8, max_position_embeddings=18)  # fmt: skip
    teacher = TeacherModel(RobertaModel(config).eval())
    assert teacher.max_length == 16
    ids = torch.full((1, 16), 5)
    assert teacher(ids, torch.ones_like(ids)).hidden[-1].shape == (1, 16, 8)
