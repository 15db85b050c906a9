"""A found child with a teacher: its loss in pre-training, and on a task."""

import hugging
import pytest
import teachers
import torch
from torch import nn
from transformers import TrainingArguments

from nni_magic.tasks.language.glue import GLUE, Example
from nni_magic.tasks.language.hugging_face import (
    DistillingTrainer,
    MagicBertForMaskedLM,
    TaskClassifier,
    TaughtChild,
    child_teaching,
    to_classify,
)
from nni_magic.tasks.language.hugging_face.source import read_source
from nni_magic.tasks.teaching import TaskTeacher, Teacher

NAMED = {"id2label": {0: "not", 1: "it"}, "label2id": {"not": 0, "it": 1}}
TEXTS = [Example(("the cat",), 1), Example(("a man sat on the mat",), 0)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("distilled")
    hugging.written(made / "child", length=hugging.LENGTH)
    teachers.written(made / "alike", alike=True)
    teachers.written(made / "other")
    return made


def child(folder):
    return MagicBertForMaskedLM.from_pretrained(folder / "child")


def masked():
    ids, mask = hugging.batch()
    predicted = (torch.arange(hugging.LENGTH) == 0).expand_as(ids)
    labels = ids.masked_fill(~predicted, -100)
    return {"input_ids": ids.masked_fill(predicted, 4), "attention_mask": mask, "labels": labels}


def test_loss_is_that_of_the_tokens_and_the_divergence_from_the_teacher(folder):
    own, batch = child(folder).eval(), masked()
    settings = Teacher(teacher=folder / "alike", teacher_temperature=2.0)
    teaching = child_teaching(settings, own, hugging.tokenizer(), seed=0)
    taught = TaughtChild(own, teaching, weight=0.5)
    plain = taught.eval()(**batch)
    assert plain.loss == own(**batch).loss  # held-out losses can be compared
    taught.training = True  # the child itself stays without dropout
    teacher = teachers.KINDS["masked"].from_pretrained(folder / "alike").eval()
    with torch.no_grad():
        theirs = teacher(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    where = batch["labels"] != -100
    log_q = (plain.logits[where] / 2).log_softmax(-1)
    expected = 4 * nn.KLDivLoss(reduction="batchmean")(log_q, (theirs[where] / 2).softmax(-1))
    torch.testing.assert_close(taught(**batch).loss, plain.loss + 0.5 * expected)


def test_weights_of_the_map_are_trained_and_the_teacher_is_no_part(folder):
    own = child(folder)
    teaching = child_teaching(Teacher(teacher=folder / "other"), own, hugging.tokenizer(), seed=0)
    taught = TaughtChild(own, teaching, weight=1.0).train()
    taught(**masked()).loss.backward()
    names = [name for name, _ in taught.named_parameters() if not name.startswith("child.")]
    assert names == ["imitations.hidden.project.weight", "imitations.hidden.project.bias"]
    assert all(parameter.grad is not None for parameter in taught.parameters())


def test_rows_carry_the_logits_of_a_teacher_of_another_tokenizer(folder, tmp_path):
    where = teachers.written(tmp_path / "task", "classifier")
    task, rows = GLUE["SST-2"], [{"input_ids": [0, 5]}, {"input_ids": [0, 6]}]
    found = TaskClassifier(where, task).taught(rows, TEXTS)
    model = teachers.KINDS["classifier"].from_pretrained(where).eval()
    for row, given, example in zip(found, rows, TEXTS, strict=True):
        ids = teachers.pieces()(example.texts[0], return_tensors="pt")
        with torch.no_grad():
            expected = model(ids["input_ids"]).logits[0]
        torch.testing.assert_close(torch.tensor(row["teacher_logits"]), expected)
        assert row["input_ids"] == given["input_ids"]


@pytest.mark.parametrize(
    ("task", "options", "classes"),
    [("SST-2", {"num_labels": 3}, r"\['LABEL_0', 'LABEL_1', 'LABEL_2'\]"),
     ("RTE", NAMED, r"\['not', 'it'\]"), ("STS-B", {}, r"\['LABEL_0', 'LABEL_1'\]")],
)  # fmt: skip
def test_teacher_of_other_classes_is_refused(task, options, classes, tmp_path):
    where = teachers.written(tmp_path / "task", "classifier", **options)
    message = rf"teacher is '{tmp_path}/task', whose classes are {classes}; accepted for {task} are"
    with pytest.raises(ValueError, match=message):
        TaskClassifier(where, GLUE[task])


@pytest.mark.parametrize("name", ["SST-2", "STS-B"])
def test_loss_of_a_task_is_that_of_labels_and_of_the_teacher_s_logits(name, folder, tmp_path):
    task = GLUE[name]
    model = to_classify(read_source(folder / "child"), task, seed=0).eval()
    settings = TaskTeacher(teacher=folder, teacher_weight=3.0, teacher_temperature=2.0)
    trainer = DistillingTrainer(
        teaching=settings, model=model,
        args=TrainingArguments(str(tmp_path), report_to=[], use_cpu=True),
    )  # fmt: skip
    ids, mask = hugging.batch()
    kind = torch.long if task.labels else torch.float
    labels = torch.tensor([1, 0, 1], dtype=kind)
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    taught = torch.randn(3, task.num_labels)
    plain = model(**batch)
    assert trainer.compute_loss(model, batch) == plain.loss
    found = trainer.compute_loss(model, {**batch, "teacher_logits": taught})
    if task.labels:
        log_q, p = (plain.logits / 2).log_softmax(-1), (taught / 2).softmax(-1)
        expected = 4 * nn.KLDivLoss(reduction="batchmean")(log_q, p)
    else:
        expected = nn.MSELoss()(plain.logits, taught)
    torch.testing.assert_close(found, plain.loss + 3 * expected)
