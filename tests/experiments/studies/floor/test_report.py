"""The table of the floor, from scores written by hand."""

import json

import numpy as np
import pytest
import scipy.stats

from experiments.studies.floor.report import compared, markdown
from experiments.studies.floor.spaces import SMALL_SPACES

SEEDS = range(3)
SPOS = [[0.5, 0.7], [0.6, 0.8], [0.7, 0.9]]  # means 0.6, 0.7, 0.8: a deviation of 0.1


def write(folder, name, shift):
    """Scores shifted from those of SPOS; of the second seed a little more."""
    for space in SMALL_SPACES:
        for seed in SEEDS:
            scores = [score + shift + 0.03 * (seed == 1) * (shift != 0) for score in SPOS[seed]]
            path = folder / f"{space}_{name}_seed{seed}.json"
            path.write_text(json.dumps({"scores": scores}))


@pytest.fixture
def rows(tmp_path):
    for name, shift in (("spos", 0.0), ("up", 0.05), ("down", -0.08), ("far_down", -0.2)):
        write(tmp_path, name, shift)
    found = compared(tmp_path, ["spos", "up", "down", "far_down"], SEEDS)
    return {(row["space"], row["name"]): row for row in found}


def test_difference_and_interval_are_paired_over_seeds(rows):
    row = rows["plain_cnn", "up"]
    differences = [0.05, 0.08, 0.05]
    assert row["better"] == pytest.approx(np.mean(differences))
    expected = scipy.stats.t.interval(
        0.95, 2, np.mean(differences), scipy.stats.sem(differences)
    )
    assert row["interval"] == pytest.approx(expected)
    assert row["spread"] == pytest.approx(0.1)


def test_rows_are_compared_on_the_seeds_that_both_have(tmp_path):
    write(tmp_path, "spos", 0.0)
    write(tmp_path, "up", 0.05)
    (tmp_path / "cells_up_seed1.json").unlink()
    for seed in SEEDS[1:]:
        (tmp_path / f"bert_up_seed{seed}.json").unlink()
    found = {(row["space"], row["name"]): row for row in compared(tmp_path, ["spos", "up"], SEEDS)}
    assert found["cells", "up"]["better"] == pytest.approx(0.05)  # without the 0.08 of seed 1
    assert found["cells", "up"]["means"] == pytest.approx({0: 0.65, 2: 0.85})
    assert ("bert", "up") not in found


def test_smaller_losses_are_better(rows):
    assert SMALL_SPACES["bert"].mode == "min"
    assert rows["bert", "up"]["better"] == pytest.approx(-rows["plain_cnn", "up"]["better"])


def test_row_holds_unless_it_is_worse_by_more_than_the_spread_of_the_baseline(rows):
    assert rows["cells", "up"]["holds"]
    assert rows["cells", "down"]["holds"]
    assert not rows["cells", "far_down"]["holds"]


def test_table_shows_every_row(rows):
    text = markdown(list(rows.values()))
    assert text.count("\n| ") == 2 + len(rows)
    assert "| cells | far_down | val_acc | 0.400 0.530 0.600 | 0.510 | -0.190 |" in text
    assert text.count("| no |") == 5  # of six spaces; a loss that falls by 0.2 is better
