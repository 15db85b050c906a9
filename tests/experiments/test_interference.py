"""The program that measures interference: it trains, measures, goes on, and reports."""

import json

import numpy as np
import pytest
from studies import plan_of

from experiments import interference
from experiments.rank_study import Study
from nni_magic.analysis.study import InterferenceStudy

CHANGES = {
    "children": {"n": 0, "steps": 1},
    "supernets": {
        "spos": {"strategy": "spos", "steps": 4, "seeds": [0, 1]},
        "magic_t": {"strategy": "magic_t", "steps": 4, "seeds": [0]},
    },
}
WANTED = {(1, 1), (1, 3), (3, 1)}


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    """Runs the program with further words; gives the folder of its reports."""
    folder = tmp_path_factory.mktemp("interference")
    plan_of(folder, corpus, **CHANGES)

    def main(*words):
        interference.main([
            "--plan", str(folder / "plan.yml"), "--runs", str(folder / "runs"),
            "--cache", str(corpus / "cache"), "--output", str(folder / "out"),
            "--hardware", "cpu", "--threads", "1", "--shared-layers", "1", "3",
            "--differences", "1", "3", "--repetitions", "2", "--rows", "8", *words,
        ])  # fmt: skip
        return folder

    return main


@pytest.fixture(scope="module")
def folder(run):
    return run()


def study_of(path):
    return InterferenceStudy.from_json(json.loads(path.read_text()))


def test_every_supernet_is_measured_where_the_differences_fit(folder):
    files = sorted(path.name for path in (folder / "runs" / "interference").glob("*.json"))
    assert files == ["magic_t_seed0.json", "spos_seed0.json", "spos_seed1.json"]
    for name in files:
        study = study_of(folder / "runs" / "interference" / name)
        assert study.matrices.keys() == WANTED
        assert study.labels == ("layer_1", "layer_2", "layer_3", "layer_4")


def test_report_gives_means_over_seeds(folder):
    [record] = (folder / "out").glob("interference_plan_cpu_*.json")
    measured = json.loads(record.read_text())["interference"]
    assert {name: list(by_seed) for name, by_seed in measured.items()} == {
        "spos": ["0", "1"], "magic_t": ["0"],
    }  # fmt: skip
    means = [
        study_of(folder / "runs" / "interference" / f"spos_seed{seed}.json").mean_cosine(1, 3)
        for seed in (0, 1)
    ]
    error = abs(means[0] - means[1]) / 2  # of the mean of two
    rows = record.with_suffix(".md").read_text().splitlines()
    assert f" | {np.mean(means):.3f} ± {error:.3f} |" in rows[rows.index("| --- " * 4 + "|") + 2]
    assert record.with_suffix(".png").exists()
    assert record.with_name(f"{record.stem}_matrices.png").exists()


def test_measurement_that_was_stopped_goes_on(folder, run, monkeypatch):
    path = folder / "runs" / "interference" / "spos_seed1.json"
    finished = path.read_text()
    record = json.loads(finished)
    record["settings"] = record["settings"][:1]
    path.write_text(json.dumps(record))
    measured = []
    study = interference.interference_study

    def watched(*args, **kwargs):
        measured.append((kwargs["shared_layers"], kwargs["differences"]))
        return study(*args, **kwargs)

    monkeypatch.setattr(interference, "interference_study", watched)
    run()
    assert measured == [([1], [3]), ([3], [1])]
    assert path.read_text() == finished


def test_layers_that_do_not_exist_raise(run):
    with pytest.raises(ValueError, match=r"differences is \[4\]: none fits into 4 layers"):
        run("--differences", "4")


def test_nothing_measured_raises(corpus, tmp_path):
    plan = plan_of(tmp_path, corpus, **CHANGES)
    settings = interference.parse_args([
        "--plan", str(tmp_path / "plan.yml"), "--runs", str(tmp_path / "runs"),
        "--shared-layers", "1", "--differences", "1",
    ])  # fmt: skip
    study = Study(plan, settings.runs, corpus / "cache")
    with pytest.raises(ValueError, match=r"no supernet in .* is measured in full yet"):
        interference.write(interference.Measurements(study, settings), [])
