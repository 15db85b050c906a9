"""Rows of GLUE, their metrics, and models with new heads."""

import logging

import hugging
import numpy as np
import pytest
import torch
from transformers import EvalPrediction

from nni_magic.tasks.language.glue import GLUE, Example
from nni_magic.tasks.language.hugging_face import (
    MagicBertConfig,
    MagicBertForSequenceClassification,
    glue_metrics,
    glue_rows,
    read_mnli,
    read_source,
    to_answer,
    to_classify,
    wrapped_tokenizer,
)


@pytest.fixture
def source(tmp_path):
    return read_source(hugging.written(tmp_path / "model"))


def test_pairs_are_framed_and_what_is_too_long_is_cut_and_counted(caplog):
    tokenizer = wrapped_tokenizer(hugging.tokenizer(), 12)
    examples = [Example(("the cat", "a dog"), 1.0), Example(("the cat " * 20, "a dog"), 0.0)]
    with caplog.at_level(logging.WARNING):
        short, long = glue_rows(GLUE["RTE"], examples, tokenizer, 12)
    assert tokenizer.decode(short["input_ids"]) == "<s>the cat</s></s>a dog</s>"
    assert len(long["input_ids"]) == 12
    assert [type(row["labels"]) for row in (short, long)] == [int, int]
    assert "RTE: cut 1 of 2 texts, which are longer than 12 tokens" in caplog.text


def test_ratings_stay_numbers():
    tokenizer = wrapped_tokenizer(hugging.tokenizer(), 12)
    [row] = glue_rows(GLUE["STS-B"], [Example(("the cat", "a dog"), 2.5)], tokenizer, 12)
    assert row["labels"] == 2.5


def test_classes_and_ratings_are_measured():
    logits = np.array([[0.1, 0.9], [0.9, 0.1], [0.2, 0.8]])
    found = glue_metrics(GLUE["RTE"])(EvalPrediction(logits, np.array([1, 0, 0])))
    assert found["accuracy"] == found["selection"] == pytest.approx(2 / 3)
    rated = EvalPrediction(np.array([[1.0], [2.0], [4.0]]), np.array([1.0, 2.0, 4.0]))
    assert glue_metrics(GLUE["STS-B"])(rated)["selection"] == pytest.approx(1)


@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_equal_ratings_have_no_score_and_are_chosen_last():
    found = glue_metrics(GLUE["STS-B"])(EvalPrediction(np.ones((3, 1)), np.array([1.0, 2.0, 4.0])))
    assert np.isnan(found["score"])
    assert found["selection"] == -1


def test_body_is_inherited_and_the_head_seeded(source):
    model = to_classify(source, GLUE["MNLI"], seed=0)
    again, other = (to_classify(source, GLUE["MNLI"], seed=seed) for seed in (0, 1))
    assert model.config.id2label == {0: "entailment", 1: "neutral", 2: "contradiction"}
    head = [each.classifier.dense.weight for each in (model, again, other)]
    assert torch.equal(head[0], head[1])
    assert not torch.equal(head[0], head[2])
    body = to_answer(source, seed=5).bert.stem.token.weight
    assert torch.equal(model.bert.stem.token.weight, body)


@pytest.mark.parametrize(("changes", "message"), [
    ({"num_labels": 2}, r"whose classes are \['LABEL_0', 'LABEL_1'\]; accepted for MNLI are"),
    ({"num_labels": 3, "operators": ["ffn24"]},
     r"whose operators is \['ffn24'\]; accepted is that of '.*', \['mha2', 'ffn24'"),
    ({"num_labels": 3, "hidden_size": 8}, "whose hidden_size is 8; accepted is that of '.*', 16"),
])  # fmt: skip
def test_start_that_is_no_classifier_of_mnli_or_of_another_child_is_refused(
    changes, message, source, tmp_path
):
    config = MagicBertConfig(**{**source.config.to_dict(), "architectures": None, **changes})
    MagicBertForSequenceClassification(config).save_pretrained(tmp_path / "mnli")
    source.tokenizer.save_pretrained(tmp_path / "mnli")
    with pytest.raises(ValueError, match=f"mnli is '{tmp_path}/mnli', {message}"):
        read_mnli(tmp_path / "mnli", source)


def test_classifier_of_another_task_is_where_one_begins(source, tmp_path):
    first = to_classify(source, GLUE["MNLI"], seed=0)
    with torch.no_grad():
        first.bert.stem.token.weight.add_(1)
    first.save_pretrained(tmp_path / "mnli")
    model = to_classify(source, GLUE["STS-B"], seed=0, start=tmp_path / "mnli")
    assert torch.equal(model.bert.stem.token.weight, first.bert.stem.token.weight)
    assert torch.equal(model.classifier.dense.weight, first.classifier.dense.weight)
    assert model.classifier.out_proj.weight.shape == (1, 16)
