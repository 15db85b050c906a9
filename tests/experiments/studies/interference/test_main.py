"""The program that measures interference: it trains, measures, goes on, and reports."""

import fcntl
import json

import numpy as np
import pytest
import scipy.stats
from studies import plan_of

from experiments.studies.interference import __main__ as interference
from experiments.studies.interference import measurements
from experiments.studies.study import Study
from nni_magic.analysis.seeds import over_seeds
from nni_magic.analysis.study import InterferenceStudy
from nni_magic.samplers import UniformSampler
from nni_magic.support.files import read_json, write_json

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


def one_setting(folder, corpus):
    """The command line that measures one shared layer and one difference."""
    return [
        "--plan", str(folder / "plan.yml"), "--runs", str(folder / "runs"),
        "--cache", str(corpus / "cache"), "--output", str(folder / "out"), "--hardware", "cpu",
        "--threads", "1", "--shared-layers", "3", "--differences", "1", "--repetitions", "2",
        "--rows", "8",
    ]  # fmt: skip


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
    one = over_seeds(means)
    low, high = one.interval
    text = record.with_suffix(".md").read_text()
    section = text.split("## Finding 3")[1].split("## Finding 4")[0]
    [row] = [line for line in section.splitlines() if line.startswith("| 1 | 3 |")]
    assert row.split(" | ")[3].strip(" |") == f"{one.mean:.3f} ({low:.3f} to {high:.3f})"
    assert text.count("## Finding ") == 5
    assert record.with_suffix(".png").exists()
    assert record.with_name(f"{record.stem}_matrices.png").exists()


def test_report_says_how_far_the_supernets_are_trained(folder, corpus, run):
    study = Study(plan_of(folder, corpus, **CHANGES), folder / "runs", corpus / "cache")
    sampler = UniformSampler(study.domain.make_space(), seed=0)
    children = [sampler.next() for _ in range(measurements.N_SCORED)]
    losses = [np.mean(study.score(study.checkpoint("spos", seed), children)) for seed in (0, 1)]
    run()
    [page] = (folder / "out").glob("interference_plan_cpu_*.md")
    low, high = sorted(losses)
    assert f"| spos | 0, 1 | {np.mean(losses):.3f} | {low:.3f} to {high:.3f} |" in page.read_text()


def test_supernet_that_another_process_trains_is_left_to_it(corpus, tmp_path, capsys):
    plan_of(tmp_path, corpus, **CHANGES)
    words = one_setting(tmp_path, corpus)
    lock = tmp_path / "runs" / "supernets" / "spos_seed0.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        interference.main(words)
    measured = tmp_path / "runs" / "interference"
    assert {path.name for path in measured.iterdir()} == {"magic_t_seed0.json", "spos_seed1.json"}
    assert not (tmp_path / "out").exists()
    interference.main([*words, "--report"])  # of what there is
    [report] = (tmp_path / "out").glob("*.json")
    assert read_json(report)["interference"]["spos"].keys() == {"1"}
    interference.main(words)
    assert read_json(report)["interference"]["spos"].keys() == {"0", "1"}


def test_supernet_without_weights_is_named_before_any_is_measured(folder, run, monkeypatch):
    weights, aside = folder / "runs" / "supernets" / "spos_seed1.ckpt", folder / "aside"
    weights.rename(aside)
    try:
        run()  # all is measured
        monkeypatch.setattr(measurements.InterferenceMeasurements, "measure", None)
        for words in [], ["--supernets", "magic_t", "spos"]:
            with pytest.raises(ValueError, match="supernet 'spos' of seed 1 came without its wei"):
                run("--differences", "1", "2", *words)
    finally:
        aside.rename(weights)


@pytest.mark.parametrize(("words", "message"), [
    (["--rows", "4"], "interference.rows is 8 there, and 4 here"),
    (["--repetitions", "3"], "interference.repetitions is 2 there, and 3 here"),
    (["--seed", "1"], "interference.seed is 0 there, and 1 here"),
])  # fmt: skip
def test_measurement_with_other_settings_is_named(folder, run, words, message):
    with pytest.raises(ValueError, match=rf"interference/.*_seed0.json' .*: {message}"):
        run(*words)


def test_measurement_without_settings_is_named(folder, run):
    path = folder / "runs" / "interference" / "spos_seed0.json"
    whole = read_json(path)
    write_json(path, {key: value for key, value in whole.items() if key != "made_with"})
    with pytest.raises(ValueError, match=r"spos_seed0.json' does not record the settings"):
        run("--report")
    write_json(path, whole)


@pytest.mark.parametrize(("words", "message"), [
    (["--rows", "0"], "rows is 0; accepted are whole numbers of at least 1"),
    (["--rows", "1000000"], r"rows is 1000000; accepted are up to \d+, the training data"),
    (["--repetitions", "1"], "repetitions is 1; accepted are whole numbers of at least 2"),
    (["--seed", "-1"], "seed is -1; accepted are whole numbers of at least 0"),
])  # fmt: skip
def test_numbers_are_checked_before_anything_is_trained(corpus, tmp_path, words, message):
    plan_of(tmp_path, corpus, **CHANGES)
    with pytest.raises(ValueError, match=message):
        interference.main([*one_setting(tmp_path, corpus), *words])
    assert not (tmp_path / "runs").exists()


def test_some_supernets_of_a_plan_are_measured_with_their_tau(corpus, tmp_path):
    seeds = {"spos": [0, 1, 2], "magic_t": [0, 1]}
    plan = plan_of(
        tmp_path, corpus, children={"n": 4, "steps": 2},
        supernets={name: {"strategy": name, "steps": 4, "seeds": s} for name, s in seeds.items()},
    )  # fmt: skip
    words = one_setting(tmp_path, corpus)
    with pytest.raises(ValueError, match="supernet 'spos' of seed 0 is not trained yet"):
        interference.main([*words, "--supernets", "spos"])
    with pytest.raises(ValueError, match="supernets is 'darts'; accepted are 'magic_t', 'spos'"):
        interference.main([*words, "--supernets", "darts"])
    study = Study(plan, tmp_path / "runs", corpus / "cache")
    study.work()
    interference.main([*words, "--supernets", "spos"])
    [path] = (tmp_path / "out").glob("*.json")
    found = read_json(path)
    assert found["interference"].keys() == found["kendall_tau"].keys() == {"spos"}
    truth = [study.read_child(number, 0)["val_loss"] for number in range(4)]
    for seed in range(3):
        scores = study.trained("spos", seed)["scores"]
        expected = scipy.stats.kendalltau(truth, scores).statistic
        assert found["kendall_tau"]["spos"][str(seed)] == pytest.approx(expected)
    text = path.with_suffix(".md").read_text()
    assert "## Interference and ranking" in text
    assert "Over all" not in text  # three supernets are too few
    assert path.with_name(f"{path.stem}_tau.png").exists()
    interference.main(words)
    text = path.with_suffix(".md").read_text()
    points = []
    for name, by_seed in read_json(path)["interference"].items():
        for seed, one in by_seed.items():
            cosine = InterferenceStudy.from_json(one).mean_cosine(3, 1)
            points.append((cosine, read_json(path)["kendall_tau"][name][seed]))
    rho = scipy.stats.spearmanr(*zip(*points, strict=True)).statistic
    assert f"Spearman's rho of cosine and tau over all supernets, 5: {rho:.2f}." in text
