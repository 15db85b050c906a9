"""Supernets trained under watch: the same supernets, and the cosines by epoch."""

import numpy as np
import pytest
from studies import plan_of

from experiments.studies.interference import in_training as program
from experiments.studies.study import Study
from nni_magic.support.files import read_json

SUPERNETS = {
    "spos": {"strategy": "spos", "steps": 8, "seeds": [0, 1]},
    "magic_t": {"strategy": "magic_t", "steps": 8, "seeds": [0, 1, 2]},
}


@pytest.fixture(scope="module")
def arguments(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched")
    plan_of(folder, corpus, children={"n": 4, "steps": 1}, supernets=SUPERNETS, epoch_steps=4)
    return [
        "--plan", str(folder / "plan.yml"), "--runs", str(folder / "runs"),
        "--cache", str(corpus / "cache"), "--output", str(folder / "out"), "--hardware", "cpu",
        "--threads", "1", "--supernets", "spos", "magic_t", "--seeds", "0", "1", "--every", "1",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def page(arguments):
    settings = program.parse_args(arguments)
    study = program.open_study(settings)
    study.work(study.missing_supernets)
    program.main(arguments)
    [page] = settings.output.glob("interference_in_training_plan_cpu_*.md")
    return page


def test_watched_supernets_are_those_that_nobody_watches(page):
    assert (
        "4 of 4 supernets score all children as those trained without watching" in page.read_text()
    )


def test_cosines_are_means_of_epochs(page, arguments):
    settings = program.parse_args(arguments)
    measurements = program.WatchedTrainings(program.open_study(settings), settings)
    one = read_json(measurements.file("magic_t", 1))
    cosines = {int(step): cosine for step, cosine in one["cosines"].items()}
    # Before the second step there is no pair, and a batch may have no token to predict.
    assert len(cosines) >= 5 and set(cosines) <= set(range(2, 9))
    assert all(-1 <= cosine <= 1 for cosine in cosines.values())
    first = [cosine for step, cosine in cosines.items() if step <= 4]
    second = [cosine for step, cosine in cosines.items() if step > 4]
    expected = [np.mean(first), np.mean(second)]
    assert measurements.by_epoch("magic_t", one) == pytest.approx(expected)
    means = read_json(page.with_suffix(".json"))["means"]["magic_t"]
    records = [read_json(measurements.file("magic_t", seed)) for seed in (0, 1)]
    every = [measurements.by_epoch("magic_t", one) for one in records]
    assert [epoch["mean"] for epoch in means] == pytest.approx(np.mean(every, axis=0))
    assert (page.with_suffix(".png")).stat().st_size > 10_000


def test_epoch_without_a_cosine_is_named(page, arguments):
    settings = program.parse_args(arguments)
    measurements = program.WatchedTrainings(program.open_study(settings), settings)
    with pytest.raises(ValueError, match=r"magic_t: every is 1; accepted are small.* in epoch 0"):
        measurements.by_epoch("magic_t", {"cosines": {"5": 0.5, "8": 0.7}})


def test_what_is_measured_is_not_trained_again(page, arguments, monkeypatch):
    monkeypatch.setattr(Study, "train_supernet", None)
    program.main(arguments)


def test_measurements_of_other_settings_are_refused(page, arguments):
    with pytest.raises(ValueError, match=r"spos_seed0.json' was made .*: every is 1 there, and 2"):
        program.main([*arguments, "--every", "2"])


def test_without_all_measurements_nothing_is_reported(page, arguments, monkeypatch, capsys):
    monkeypatch.setattr(program.WatchedTrainings, "work", lambda self: None)
    at = arguments.index("--seeds")
    program.main([*arguments[:at], "--supernets", "magic_t", "--every", "1"])  # seed 2 is missing
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("more", "message"), [
    (["--supernets", "magic"], "supernets is 'magic'; accepted are 'magic_t', 'spos'"),
    (["--seeds", "0", "2"], "spos: seed is 2; accepted are 0, 1"),
    (["--seeds", "0"], r"seeds of spos is \[0\]; accepted are two or more"),
    (["--every", "5"], "every is 5; accepted are numbers from 1 to 4"),
])  # fmt: skip
def test_unknown_supernets_and_seeds_raise(arguments, more, message):
    with pytest.raises(ValueError, match=message):
        program.main([*arguments, *more])


def test_seeds_that_the_baseline_has_not_raise(arguments):
    at = arguments.index("--seeds")
    with pytest.raises(ValueError, match=r"magic_t is \[0, 1, 2\]; .* of spos, \[0, 1\]"):
        program.main([*arguments[:at], "--every", "1"])
