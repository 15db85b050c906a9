"""The comparison of children on GLUE's tasks."""

import pytest
import scipy.stats

from experiments.studies.glue.report import MEAN, compared, markdown


def record(kind, score, seed=0, task="RTE"):
    return {"kind": kind, "task": task, "seed": seed, "score": score}


def rows_of(records, tasks=("RTE",)):
    return {(row["task"], row["kind"]): row for row in compared(records, tasks)}


def test_advantage_is_taken_seed_by_seed_with_students_interval():
    found = [record("found", score, seed) for seed, score in enumerate([0.6, 0.7, 0.9])]
    other = [record("bert", score, seed) for seed, score in enumerate([0.5, 0.5, 0.5])]
    row = rows_of([*found, *other, record("found", 0.1, seed=7)])["RTE", "bert"]
    assert row["better"] == pytest.approx((10 + 20 + 40) / 3)
    expected = scipy.stats.ttest_1samp([10, 20, 40], 0).confidence_interval()
    assert row["interval"] == pytest.approx(tuple(expected))


def test_one_seed_has_no_interval_and_no_score_counts_as_0():
    rows = rows_of([record("found", None), record("random", 0.5)])
    assert rows["RTE", "random"]["better"] == -50
    assert rows["RTE", "random"]["interval"] is None
    assert rows["RTE", "found"]["better"] is None


def test_seed_enters_the_mean_once_all_its_tasks_are_there():
    records = [record("found", 0.2, 0), record("found", 0.6, 0, "CoLA"), record("found", 0.8, 1)]
    rows = rows_of(records, ("RTE", "CoLA"))
    assert rows[MEAN, "found"]["scores"] == {0: pytest.approx(40)}
    assert rows["RTE", "found"]["mean"] == pytest.approx(50)


def test_table_has_a_line_for_each_row():
    records = [record(kind, score, seed) for kind, score in (("found", 0.5), ("distilled", 0.25))
               for seed in range(2)]  # fmt: skip
    text = markdown(compared(records, ["RTE"]))
    assert "| RTE | found by the search | 50.0 50.0 | 50.0 |  |  |" in text
    line = "| RTE | found, taught by a larger model | 25.0 25.0 | 25.0 | +25.0 | +25.0 to +25.0 |"
    assert line in text
