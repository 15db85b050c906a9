"""The table of fine-tuned children."""

import csv
import json

import pytest

from nni_magic.programs.fine_tune_table import table
from nni_magic.programs.main import main
from nni_magic.tasks.language.glue import GLUE


def result(dataset="RTE", learning_rate=1e-5, batch_size=16, seed=0, score=0.5):
    return {"dataset": dataset, "learning_rate": learning_rate, "batch_size": batch_size,
            "seed": seed, "score": score}  # fmt: skip


def test_setting_is_that_of_the_best_median_and_not_of_the_best_seed():
    spread = [result(seed=n, score=score) for n, score in enumerate([0.5, 0.5, 0.5, 0.5, 0.9])]
    steady = [result(learning_rate=3e-5, seed=n, score=0.6) for n in range(5)]
    [row] = table([*spread, *steady])
    assert row == ["RTE", 60, 60, 60, "5", 3e-5, 16, 77.5, 80.9, 80.9]


def test_fewer_than_five_seeds_are_marked_and_no_score_counts_as_0():
    [row] = table([result(score=None), result(seed=1, score=0.4)])
    assert row[:5] == ["RTE", 20, 0, 40, "2 (few)"]


def test_average_is_that_of_eight_tasks_and_no_fewer():
    eight = [result(name, score=n / 10) for n, name in enumerate(GLUE) if name != "WNLI"]
    rows = table(eight)
    assert [row[0] for row in rows] == [*(name for name in GLUE if name != "WNLI"), "average of 8"]
    assert rows[-1][1] == pytest.approx(35)
    assert rows[-1][7:] == pytest.approx([84.6, 84.5, 85.7], abs=0.05)
    assert table(eight[1:])[-1][0] != "average of 8"


def test_tables_are_written(tmp_path, capsys):
    folder = tmp_path / "RTE/one"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result(score=0.7512)))
    main(["fine-tune-table", "--output", str(tmp_path)])
    out = capsys.readouterr().out
    assert out == (tmp_path / "table.md").read_text()
    assert "| RTE | 75.1 | 75.1 | 75.1 | 1 (few) | 1e-05 | 16 | 77.5 | 80.9 | 80.9 |" in out
    [header, row] = csv.reader((tmp_path / "table.csv").open())
    assert header[:2] == ["dataset", "score"]
    assert header[-3:] == ["RoBERTa (paper)", "SPOS (paper)", "MAGIC-AT (paper)"]
    assert float(row[1]) == pytest.approx(75.12)


def test_scores_have_the_metric_of_the_paper_beside_them(tmp_path, capsys):
    mean = result("MRPC", score=0.5) | {"metrics": {"dev": {"f1": 0.25, "accuracy": 0.75}}}
    for name, found in (("MRPC", mean), ("SQuAD-2.0", result("SQuAD-2.0", score=0.6))):
        (tmp_path / name / "one").mkdir(parents=True)
        (tmp_path / name / "one/result.json").write_text(json.dumps(found))
    main(["fine-tune-table", "--output", str(tmp_path)])
    [_, mrpc, squad] = csv.reader((tmp_path / "table.csv").open())
    assert (mrpc[:2], mrpc[7:]) == (["MRPC", "75.0"], ["87.9", "86.3", "90.9"])
    assert (squad[:2], squad[7:]) == (["SQuAD-2.0", "60.0"], ["78.2", "", "80.4"])


def test_folder_without_results_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["fine-tune-table", "--output", str(tmp_path)])
    assert "without results; accepted are folders of nni-magic fine-tune" in capsys.readouterr().out
