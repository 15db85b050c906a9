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
    return record, statistics(record)


def cells(text, name):
    [line] = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
    header = next(line for line in text.splitlines() if line.startswith("| supernet"))
    keys, values = ([cell.strip() for cell in one.split("|")[1:-1]] for one in (header, line))
    return list(zip(keys, values, strict=True))


def test_table_has_what_was_measured_and_what_was_found(made):
    record, found = made
    here = found.halves["all"]
    best = record.ranked().truth.min()
    cosines = {"magic_t": {0: {"cosines": [0.1, 0.3]}, 1: {"cosines": [0.4, 0.6]}}}
    memory = {"magic_t": {0: {"peak_memory": 3 * 2**20}}}
    times = {"magic_t": {0: {"ratio": 1.5}}}
    searched = {
        "spos": {1: {"truth": best + 0.3}, 0: {"truth": best + 0.7}},
        "magic_t": {0: {"truth": best + 0.2}, 1: {"truth": best}},
        "magic_t_time": {0: {"truth": best}, 1: {"truth": None}},
        "halving": {0: {"truth": best + 0.5, "steps": 4}},
    }
    text = outcome.markdown(
        record, here, {"cosines": cosines, "memory": memory, "times": times, "searched": searched}
    )
    row = cells(text, "magic_t")
    assert [value for key, value in row if key != "95 %"] == [
        "magic_t", "2", "8", "1.50", "3.0", "1.000", "1.000 to 1.000", f"{record_mean(here):.3f}",
        "0.350", "+0.000", "+0.100", "-0.400",
    ]  # fmt: skip
    assert [value for key, value in row if key == "95 %"][2:] == [
        "-1.171 to +1.371", "-1.671 to +0.871",
    ]  # fmt: skip
    assert "precision@10" not in dict(row)  # there are fewer children
    regret = ("regret of the child found", "+0.500"), ("95 %", "-2.041 to +3.041")
    assert tuple(cells(text, "spos")[-4:-2]) == regret
    assert {value for _, value in cells(text, "spos")[-2:]} == {""}
    # What is not trained in full has no regret.
    assert {value for _, value in cells(text, "magic_t_time")[-4:]} == {""}
    random = cells(text, "random search with early stopping")
    assert [value for _, value in random[-4:]] == ["+0.500", "", "-0.200", ""]
    assert "uncalibrated" not in text


def test_what_finds_the_same_as_the_baseline_is_no_better(made):
    record, found = made
    same = {0: {"truth": 5.0}, 1: {"truth": 6.0}}
    beside = {"searched": {"spos": same, "magic_t": same}}
    text = outcome.markdown(record, found.halves["all"], beside)
    assert [value for _, value in cells(text, "magic_t")[-2:]] == ["+0.000", "+0.000 to +0.000"]
    assert {value for _, value in cells(text, "spos")[-2:]} == {""}


def test_regret_of_the_best_score_is_of_the_children_of_the_ground_truth(made):
    record, found = made
    here = found.halves["all"]
    ranked = record.ranked()
    losses = [np.array(one["scores"]) for one in record.supernets["spos"].values()]
    regrets = [ranked.truth[one[ranked.numbers].argmin()] - ranked.truth.min() for one in losses]
    row = dict(cells(outcome.markdown(record, here, {}), "spos"))
    assert row["regret of the best score"] == f"{np.mean(regrets):+.3f}"
    assert set(row).isdisjoint(
        {"time (in spos's)", "cosine of gradients", "regret of the child found"}
    )


def record_mean(here):
    means = here.supernets["magic_t"].mean_loss.values()
    return sum(means) / len(means)


def test_picture_has_a_line_a_method_with_tau_and_time(made, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(outcome.figures, "save", lambda figure, path: saved.append((figure, path)))
    record, found = made
    here = found.halves["all"]
    times = {"spos": {0: {"ratio": 1.0}}, "magic_t": {0: {"ratio": 2.0}}}
    outcome.draw(record, found, {"times": times}, tmp_path / "all")
    [(figure, path)] = saved
    assert path == tmp_path / "all_methods"
    left, right = figure.axes
    best = here.trivial[here.best_trivial].kendall_tau
    dashed = [line.get_xdata()[0] for line in left.lines if line.get_linestyle() == "--"]
    assert dashed == [best, found.ceiling.tau_ceiling]
    names = ["magic_t", "magic_t_time", "spos"]
    assert list(record.plan.supernets) == names
    assert [label.get_text() for label in left.get_yticklabels()] == ["magic_t", "spos"]
    taus = [one.lines[0].get_xdata()[0] for one in left.containers]
    assert taus == [here.supernets[name].kendall_tau.mean for name in names]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in right.lines] == [
        (2.0, -0.16), (1.0, 0.84)
    ]  # fmt: skip
    outcome.draw(record, found, {}, tmp_path / "all")
    left, right = saved[1][0].axes
    assert left.get_visible() and not right.get_visible()
    assert left.get_xlabel().endswith("hollow: at equal time)")
