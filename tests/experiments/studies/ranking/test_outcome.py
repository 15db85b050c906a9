"""The table of all methods, and its picture, on results that were made up."""

import numpy as np
import pytest
from studies import made_up

from experiments.studies.gathered import gather
from experiments.studies.ranking import outcome
from experiments.studies.ranking.statistics import statistics


@pytest.fixture
def made(tmp_path, corpus):
    some = {"strategy": "magic_t", "seeds": [0, 1]}
    study, _ = made_up(tmp_path, corpus, supernets={
        "spos": {"strategy": "spos", "steps": 4, "seeds": [0, 1]},
        "magic_t": {**some, "steps": 8}, "magic_t_time": {**some, "steps": 4},
    })  # fmt: skip
    record = gather(study)
    return record, statistics(record).halves["all"]


def cells(text, name):
    [line] = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
    header = next(line for line in text.splitlines() if line.startswith("| supernet"))
    keys, values = ([cell.strip() for cell in one.split("|")[1:-1]] for one in (header, line))
    return list(zip(keys, values, strict=True))


def test_table_has_what_was_measured_and_what_was_found(made):
    record, here = made
    best = record.ranked().truth.min()
    first = {"cosines": [0.1, 0.3], "peak_memory": 3 * 2**20}
    compared = {"magic_t": {0: first, 1: {"cosines": [0.4, 0.6]}}}
    searched = {
        "magic_t": {0: {"truth": best + 0.2}, 1: {"truth": best}},
        "magic_t_time": {0: {"truth": best}, 1: {"truth": None}},
        "halving": {0: {"truth": best + 0.5, "cpu_seconds": 7.0, "steps": 4}},
    }
    text = outcome.markdown(record, here, compared, searched)
    row = cells(text, "magic_t")
    assert [value for key, value in row if key != "95 %"] == [
        "magic_t", "2", "8", "2", "3.0", "1.000", "1.000 to 1.000", f"{record_mean(here):.3f}",
        "0.350", "+0.000", "+0.100",
    ]  # fmt: skip
    assert [value for key, value in row if key == "95 %"][2] == "-1.171 to +1.371"
    assert "precision@10" not in dict(row)  # there are fewer children
    for name in ("spos", "magic_t_time"):  # not searched, and not trained in full
        assert cells(text, name)[-2:] == [("regret of the child found", ""), ("95 %", "")]
    assert cells(text, "random search with early stopping")[-2][1] == "+0.500"
    assert "uncalibrated" not in text


def test_regret_of_the_best_score_is_of_the_children_of_the_ground_truth(made):
    record, here = made
    ranked = record.ranked()
    losses = [np.array(one["scores"]) for one in record.supernets["spos"].values()]
    regrets = [ranked.truth[one[ranked.numbers].argmin()] - ranked.truth.min() for one in losses]
    row = dict(cells(outcome.markdown(record, here, {}, {}), "spos"))
    assert row["regret of the best score"] == f"{np.mean(regrets):+.3f}"
    assert set(row).isdisjoint({"cosine of gradients", "regret of the child found"})


def record_mean(here):
    means = here.supernets["magic_t"].mean_loss.values()
    return sum(means) / len(means)


def test_picture_shows_tau_against_time(made, tmp_path):
    outcome.draw(*made, tmp_path / "all")
    assert {path.name for path in tmp_path.glob("all*")} == {"all_cost.png", "all_cost.svg"}
