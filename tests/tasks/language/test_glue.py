"""GLUE's files and metrics."""

import logging

import numpy as np
import pytest
from torch import tensor
from torchmetrics.functional.classification import (
    binary_accuracy,
    binary_f1_score,
    binary_matthews_corrcoef,
)
from torchmetrics.functional.regression import pearson_corrcoef, spearman_corrcoef

from nni_magic.tasks.language.glue import GLUE, Example, glue_task, metrics, read_part

# The official header (none for CoLA), a row of it, and what that row says.
ROWS = {
    "CoLA": ("", "gj04\t0\t*\tThe \"car honked.", ("The \"car honked.",), 0),
    "SST-2": ("sentence\tlabel", "so nice \t1", ("so nice ",), 1),
    "MRPC": ("\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String", "1\t7\t8\t\"He said\tHe spoke",
             ("\"He said", "He spoke"), 1),
    "STS-B": ("index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
              "\tscore", "0\tg\tf\ty\t1\tn\tn\tA plane.\tAn air plane.\t4.750",
              ("A plane.", "An air plane."), 4.75),
    "QQP": ("id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "1\t2\t3\tWhy?\tHow?\t0",
            ("Why?", "How?"), 0),
    "MNLI": ("index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse"
             "\tsentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label",
             "0\t1\t1n\tg\tb\tb\tp\tp\tOne.\tOther.\tneutral\tcontradiction",
             ("One.", "Other."), 2),
    "QNLI": ("index\tquestion\tsentence\tlabel", "0\tWho?\tShe did.\tentailment",
             ("Who?", "She did."), 0),
    "RTE": ("index\tsentence1\tsentence2\tlabel", "0\tOne.\tOther.\tnot_entailment",
            ("One.", "Other."), 1),
    "WNLI": ("index\tsentence1\tsentence2\tlabel", "0\tOne.\tOther.\t1", ("One.", "Other."), 1),
}  # fmt: skip


def write(folder, name, *rows, part="dev"):
    header = [ROWS[name][0]] if ROWS[name][0] else []
    (folder / f"{part}.tsv").write_text("\n".join([*header, *rows]) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", GLUE)
def test_every_task_is_read_in_its_official_layout(name, tmp_path):
    _, row, texts, label = ROWS[name]
    task = glue_task(name)
    for part in ("train", *task.dev):
        write(tmp_path, name, row, row, part=part)
        assert read_part(task, tmp_path, part) == [Example(texts, label)] * 2
    assert task.num_labels == {"STS-B": 1, "MNLI": 3}.get(name, 2)


def test_a_text_may_hold_separators_of_other_scripts(tmp_path):
    write(tmp_path, "SST-2", "one\u2028two\x85three\x0bfour\t1")
    [example] = read_part(GLUE["SST-2"], tmp_path, "dev")
    assert example.texts == ("one\u2028two\x85three\x0bfour",)


def test_rows_that_lack_columns_are_left_out_and_counted(tmp_path, caplog):
    row = ROWS["QQP"][1]
    write(tmp_path, "QQP", row, "2\t3\t4\tWhy?", row, "5")
    with caplog.at_level(logging.WARNING):
        assert len(read_part(GLUE["QQP"], tmp_path, "dev")) == 2
    assert "dev.tsv: left out 2 rows that lack columns" in caplog.text


@pytest.mark.parametrize(("name", "row", "message"), [
    ("RTE", "0\tOne.\tOther.\tperhaps", "dev.tsv:3: label is 'perhaps'; accepted are 'entailment', "
                                        "'not_entailment'"),
    ("SST-2", "so nice\t2", "dev.tsv:3: label is '2'; accepted are '0', '1'"),
    ("STS-B", "0\tg\tf\ty\t1\tn\tn\tA\tB\t5.5", "dev.tsv:3: label is '5.5'; accepted are numbers"),
    ("STS-B", "0\tg\tf\ty\t1\tn\tn\tA\tB\tgood", "label is 'good'; accepted are numbers"),
    ("STS-B", "0\tg\tf\ty\t1\tn\tn\tA\tB\tnan", "dev.tsv:3: label is 'nan'; accepted are numbers"),
])  # fmt: skip
def test_a_label_that_is_none_is_named_with_its_line(name, row, message, tmp_path):
    write(tmp_path, name, ROWS[name][1], row)
    with pytest.raises(ValueError, match=message):
        read_part(GLUE[name], tmp_path, "dev")


def test_a_folder_without_its_files_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"RTE is '.*', without train.tsv; accepted are"):
        read_part(GLUE["RTE"], tmp_path, "train")
    write(tmp_path, "SST-2", ROWS["SST-2"][1])
    with pytest.raises(ValueError, match="has no column 'sentence1'; accepted are files of RTE"):
        read_part(GLUE["RTE"], tmp_path, "dev")
    write(tmp_path, "RTE")
    with pytest.raises(ValueError, match=r"dev.tsv' has no rows"):
        read_part(GLUE["RTE"], tmp_path, "dev")
    (tmp_path / "dev.tsv").write_bytes(b"sentence\tlabel\ncaf\xe9\t1\n")
    message = r"dev.tsv' cannot be read \(.*0xe9.*\); accepted are files of text in UTF-8"
    with pytest.raises(ValueError, match=message):
        read_part(GLUE["SST-2"], tmp_path, "dev")
    with pytest.raises(ValueError, match="glue task is 'SST'; accepted are 'CoLA', 'SST-2', "):
        glue_task("SST")


def by_torchmetrics(name, predictions, labels):
    predictions, labels = tensor(predictions), tensor(labels)
    if name == "CoLA":
        return {"matthews": binary_matthews_corrcoef(predictions, labels)}
    if name == "STS-B":
        return {"pearson": pearson_corrcoef(predictions, labels),
                "spearman": spearman_corrcoef(predictions, labels)}  # fmt: skip
    found = {"accuracy": binary_accuracy(predictions, labels)}
    return found | ({"f1": binary_f1_score(predictions, labels)} if name in ("MRPC", "QQP") else {})


@pytest.mark.parametrize("name", GLUE)
def test_metrics_are_those_of_another_library(name):
    rng = np.random.default_rng(0)
    if name == "STS-B":
        predictions, labels = rng.uniform(0, 5, (2, 40))
    else:
        predictions, labels = rng.integers(0, 2, (2, 40))
    found = metrics(GLUE[name], predictions.tolist(), labels.tolist())
    expected = by_torchmetrics(name, predictions.tolist(), labels.tolist())
    score = found.pop("score")
    assert found == pytest.approx({key: value.item() for key, value in expected.items()}, abs=1e-6)
    assert score == pytest.approx(sum(found.values()) / len(found))


def test_f1_counts_the_class_of_duplicates():
    found = metrics(GLUE["QQP"], predictions=[1, 1, 1, 0], labels=[1, 0, 0, 0])
    assert found["f1"] == pytest.approx(0.5)  # precision of 1/3, recall of 1


def test_predictions_and_labels_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="predictions has 1 rows; accepted are those of labels, 2"):
        metrics(GLUE["RTE"], [1], [1, 0])
