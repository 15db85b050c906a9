"""Losses around the last child of a supernet, less those on the control."""

import json

import numpy as np
import pytest
from studies import plan_of

from experiments.studies.ranking import recency as rank_recency
from nni_magic.children.samples import candidates, distance
from nni_magic.support.files import read_json
from nni_magic.tasks.language.mlm import warmup_then_decay

CHANGES = {
    "children": {"n": 0, "steps": 1},
    "supernets": {
        "spos": {"strategy": "spos", "steps": 4, "seeds": [0, 1]},
        "constant": {"strategy": "magic_t", "steps": 4, "seeds": [0, 1], "decay": False},
        "single": {"strategy": "spos", "steps": 4, "seeds": [0]},
    },
}


@pytest.fixture(scope="module")
def arguments(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recency")
    plan_of(folder, corpus, **CHANGES)
    return [
        "--plan", str(folder / "plan.yml"), "--runs", str(folder / "runs"),
        "--cache", str(corpus / "cache"), "--output", str(folder / "out"), "--hardware", "cpu",
        "--threads", "1", "--supernets", "constant", "--children", "3",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def study(arguments):
    settings = rank_recency.parse_args(arguments)
    study = rank_recency.open_study(settings)
    study.work()
    rank_recency.main(arguments)
    return study


def test_children_lie_at_their_distance(study):
    space = candidates(study.domain.make_space())
    last = {label: choices[0] for label, choices in space.items()}
    around = rank_recency.children_around(last, space, 5, np.random.default_rng(0))
    assert list(around) == [0, 1, 2, 3, 4]
    assert around[0] == [last]
    for d in range(1, 5):
        assert [distance(child, last) for child in around[d]] == [d] * 5


def test_differences_are_those_of_the_scores(study):
    record = read_json(study.output / "recency" / "constant_seed1.json")
    last = read_json(study.supernet_file("constant", 1))["last_child"]
    own, control = (
        study.score(study.checkpoint(name, 1), [last])[0] for name in ("constant", "spos")
    )
    assert record["difference"][0] == pytest.approx(own - control)
    for d in range(5):
        assert len(record["own"][d]) == (3 if d else 1)
        gap = np.mean(record["own"][d]) - np.mean(record["control"][d])
        assert record["difference"][d] == pytest.approx(gap)


def test_report_has_a_row_for_every_distance(study):
    out = study.output.parent / "out"
    [page] = out.glob("recency_plan_cpu_*.md")
    rows = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["0", "1", "2", "3", "4"]
    record = json.loads(page.with_suffix(".json").read_text())
    by_seed = [one["difference"][2] for one in record["recency"]["constant"].values()]
    assert record["means"]["constant"][2]["mean"] == pytest.approx(np.mean(by_seed))
    assert page.with_suffix(".png").exists()
    near, far = (
        np.mean([one["difference"][at] for one in record["recency"]["constant"].values()])
        for at in (slice(1, 3), slice(3, 5))
    )
    said = f"constant: at distances 1 to 2 less at greater ones {near - far:+.3f} ("
    assert said in page.read_text()


def test_children_near_the_last_one_are_told_from_those_far_away():
    found = {seed: {"difference": [9.0, 1.0, 1.0, 2.0, 3.0 + seed]} for seed in (0, 1)}
    half, contrast = rank_recency.near_less_far(found)
    assert half == 2
    assert contrast.mean == pytest.approx(np.mean([1 - 2.5, 1 - 3.0]))


def test_learning_rate_stays_without_decay(study, monkeypatch):
    totals = []

    def evaluator(steps, *args):
        totals.append(steps)
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "evaluator", evaluator)
    for name in ("spos", "constant"):
        with pytest.raises(KeyboardInterrupt):
            study.train_supernet(name, 0)
    # Optimizer steps until the rate would be 0; the run has four.
    assert totals[0] == 4
    assert warmup_then_decay(4, 1, totals[1]) == pytest.approx(1)


@pytest.mark.parametrize(("words", "message"), [
    (["--children", "4"], "constant_seed0.json' .*: children is 3 there, and 4 here"),
    (["--seed", "5"], "constant_seed0.json' .*: seed is 0 there, and 5 here"),
    (["--control", "constant"], "control.supernets.strategy is 'spos' there, and 'magic_t' here"),
])  # fmt: skip
def test_measurement_with_other_settings_is_named(study, arguments, words, message):
    with pytest.raises(ValueError, match=message):
        rank_recency.main([*arguments, *words])


@pytest.mark.parametrize(("words", "message"), [
    (["--supernets", "darts"], "supernets is 'darts'; accepted are 'constant', 'single', 'spos'"),
    (["--control", "darts"], "supernets is 'darts'; accepted are"),
    (["--supernets", "single"], r"seeds of single is \[0\]; accepted are two or more"),
    (["--control", "single"], r"seeds of single is \[0\]; accepted are two or more"),
    (["--children", "0"], "children is 0; accepted are whole numbers of at least 1"),
    (["--seed", "-1"], "seed is -1; accepted are whole numbers of at least 0"),
])  # fmt: skip
def test_what_cannot_be_reported_is_not_measured(study, arguments, words, message, monkeypatch):
    monkeypatch.setattr(rank_recency.RecencyMeasurements, "measure", None)
    with pytest.raises(ValueError, match=message):
        rank_recency.main([*arguments, *words])


@pytest.mark.parametrize("name", ["constant", "spos"])
def test_supernet_without_weights_is_named_before_any_is_measured(
    study, arguments, name, monkeypatch
):
    monkeypatch.setattr(rank_recency.RecencyMeasurements, "measure", None)
    records = study.output / "recency"
    weights, aside = study.checkpoint(name, 1), study.output / "aside"
    weights.rename(aside)
    records.rename(study.output / "measured")
    try:
        with pytest.raises(ValueError, match=f"supernet '{name}' of seed 1 came without its wei"):
            rank_recency.main(arguments)
    finally:
        (study.output / "measured").rename(records)
        aside.rename(weights)


def test_supernet_that_is_missing_is_named(study, arguments):
    study.supernet_file("spos", 0).rename(study.output / "spos.json")
    (study.output / "recency" / "constant_seed0.json").unlink()
    try:
        with pytest.raises(ValueError, match="supernet 'spos' of seed 0 is not trained yet"):
            rank_recency.main(arguments)
    finally:
        (study.output / "spos.json").rename(study.supernet_file("spos", 0))
