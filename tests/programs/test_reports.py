"""Tables read from the files of trials."""

import json

from nni_magic.programs import reports

SUPERNET = {
    "settings": {"strategy": "magic_at"},
    "random_children_loss": 4.5678,
    "random_children_loss_stdev": 0.1234,
    "best_child": {"digest": "6f97c767ce5c134b", "val_loss": 4.4321, "params": 1234567},
    "train_seconds": 61.6,
    "search_seconds": 9.2,
}


def rows(table):
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_strategies_table_shows_a_trial_in_a_row(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(SUPERNET))
    header, first, second = rows(reports.strategies_table([tmp_path, tmp_path]))
    assert header[:3] == ["strategy", "children's loss", "best child"]
    assert first == second == [
        "magic_at", "4.568 ± 0.123", "6f97c767ce5c134b", "4.432", "1,234,567", "62 s", "9 s",
    ]  # fmt: skip


def test_strategies_table_shows_the_test_of_a_child_trained_from_scratch(tmp_path):
    best = {**SUPERNET["best_child"], "flops": 205856.0}
    tested = {**SUPERNET, "best_child": best, "retrained": {"loss": 0.1675, "accuracy": 0.9778}}
    for name, result in {"old": SUPERNET, "new": tested}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps(result))
    header, old, new = rows(reports.strategies_table([tmp_path / "old", tmp_path / "new"]))
    assert header[-3:] == ["FLOPs", "tested loss", "accuracy"]
    assert old[-3:] == ["", "", ""]
    assert new[-3:] == ["205,856", "0.168", "0.978"]


def write(folder, name, loss, **more):
    report = {"default": loss, "params": 1000.0, "flops": 12345.0, "accuracy": 0.25}
    (folder / f"{name}.json").write_text(json.dumps({"report": report, **more}))


def test_pipeline_table_shows_children_and_baselines_best_first(tmp_path):
    sample = {"layer_1": "ffn", "layer_2": "ffn", "layer_3": "mha4"}
    write(tmp_path, "rank_1", 4.2, sample=sample, inherited_score=4.5)
    write(tmp_path, "rank_2", 4.0, sample=sample, inherited_score=4.6)
    write(tmp_path, "baseline_bert", 4.1, baseline="bert")
    (tmp_path / "search.json").write_text("{}")
    exported = tmp_path / "baseline_bert" / "1_abc"
    exported.mkdir(parents=True)
    (exported / "child.json").write_text(json.dumps({"sample": {"a": "mha4", "b": "ffn"}}))
    found = rows(reports.pipeline_table(tmp_path))
    assert found[0][0] == "child"
    assert [row[0] for row in found[1:]] == ["found, rank 2", "baseline bert", "found, rank 1"]
    assert found[1][1:] == ["2 ffn, mha4", "1,000", "12,345", "4.600", "4.000", "0.250"]
    assert found[2][1:] == ["mha4, ffn", "1,000", "12,345", "", "4.100", "0.250"]


def test_pipeline_table_says_what_the_search_was_worth_beside_random_children(tmp_path):
    sample = {"layer_1": "ffn"}
    write(tmp_path, "rank_1", 4.2, sample=sample, inherited_score=4.5)
    write(tmp_path, "rank_2", 4.0, sample=sample, inherited_score=4.6)
    for name, loss in (("random_1", 4.4), ("random_2", 4.1), ("bert", 5.0)):
        write(tmp_path, f"baseline_{name}", loss, baseline=name)
        exported = tmp_path / f"baseline_{name}" / "1_abc"
        exported.mkdir(parents=True)
        (exported / "child.json").write_text(json.dumps({"sample": sample}))
    text = reports.pipeline_table(tmp_path)
    assert [row[0] for row in rows(text)[1:]] == [
        "found, rank 2", "random 2", "found, rank 1", "random 1", "baseline bert",
    ]  # fmt: skip
    assert "Found children have 4.100 on average" in text
    assert "4.250 (4.100 to 4.400): the search was worth +0.150." in text.replace("\n", " ")
