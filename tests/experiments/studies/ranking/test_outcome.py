"""The table of all methods, and its picture, on results that were made up."""

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
    beside = {
        "magic_t": {
            0: {"truth": best + 0.2, "cosines": [0.1, 0.3], "peak_memory": 3 * 2**20},
            1: {"truth": best, "cosines": [0.4, 0.6]},
        },
        "magic_t_time": {0: {"truth": best, "cosines": [0.2]}, 1: {"truth": None, "cosines": [0]}},
        "halving": {0: {"truth": best + 0.5, "cpu_seconds": 7.0, "steps": 4}},
    }  # fmt: skip
    text = outcome.markdown(record, here, beside)
    row = cells(text, "magic_t")
    assert [value for key, value in row if key != "95 %"] == [
        "magic_t", "2", "8", "2", "3.0", "1.000", "1.000 to 1.000", "",
        f"{record_mean(here):.3f}", "0.350", "+0.100",
    ]  # fmt: skip
    assert [value for key, value in row if key == "95 %"][1] == "-1.171 to +1.371"
    for name in ("spos", "magic_t_time"):  # not searched, and not trained in full
        assert cells(text, name)[-2:] == [("regret of the child found", ""), ("95 %", "")]
    assert cells(text, "random search with early stopping")[-2][1] == "+0.500"
    assert "uncalibrated" not in text


def record_mean(here):
    means = here.supernets["magic_t"].mean_loss.values()
    return sum(means) / len(means)


def test_picture_shows_tau_against_time(made, tmp_path):
    outcome.draw(*made, tmp_path / "all")
    assert {path.name for path in tmp_path.glob("all*")} == {"all_cost.png", "all_cost.svg"}
