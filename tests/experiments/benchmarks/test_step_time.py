"""The benchmark of training steps, at its smallest."""

import json

import pytest
import torch

from experiments.benchmarks import step_time, timed_training
from experiments.benchmarks.workloads import WORKLOADS, DigitsSpace

METHODS = ["spos", "magic_at"]


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    words = "the cat sat on the mat and the dog ran home under the log "
    text = folder / "corpus.txt"
    text.write_text("\n\n".join(words * 40 for _ in range(60)))
    return [
        "--workloads", "bert", "cnn", "--methods", *METHODS, "--repetitions", "1", "--steps", "4",
        "--warmup", "1", "--turn", "2", "--anchor-interval", "2", "--batch-size", "4",
        "--threads", "1", "--device", "cpu", "--corpus", str(text), "--hardware", "here",
        "--cache", str(folder / "cache"), "--output", str(folder),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def results(arguments):
    return step_time.main(arguments)


def test_every_method_is_measured_on_every_workload(results):
    assert list(results["measurements"]) == ["bert", "cnn"]
    for workload in results["measurements"].values():
        assert list(workload["methods"]) == METHODS
        for entry in workload["methods"].values():
            assert entry["ratio"] == [pytest.approx(entry["ours"][0] / entry["nni"][0])]
            assert entry["ours"][0] > 0 and entry["summary"]["ratio"]["n"] == 1


def test_spos_does_the_same_work_as_nni_on_its_children(results):
    for workload in results["measurements"].values():
        loss = workload["methods"]["spos"]["last_loss"]
        assert loss["ours"] == pytest.approx(loss["nni"], rel=1e-5)


def test_anchor_comparisons_are_counted_and_timed(results):
    for workload in results["measurements"].values():
        anchor = workload["methods"]["magic_at"]["anchor"]
        assert anchor["comparisons"] == [2]
        assert 0 < anchor["share"][0] < 1
        assert workload["methods"]["spos"]["anchor"]["comparisons"] == [0]


def test_every_target_has_a_verdict(results):
    limits = {(t["workload"], t["method"]): t["ratio_at_most"] for t in results["targets"]}
    assert limits == {
        (workload, method): limit
        for workload in ("bert", "cnn")
        for method, limit in (("spos", 1.0), ("magic_at", 1.3))
    }


def test_report_is_written(results, arguments):
    folder = step_time.parse_args(arguments).output
    [path] = folder.glob("step_time_here_*.json")
    assert json.loads(path.read_text())["measurements"] == results["measurements"]
    page = path.with_suffix(".md").read_text()
    assert "MAGIC-AT" in page and "not measured" in page


def test_nnis_side_draws_itself_and_trains_the_given_children(arguments, monkeypatch):
    settings = step_time.parse_args(arguments)
    draws = []
    nnis = timed_training.RandomSamplingLightningModule.resample
    monkeypatch.setattr(
        timed_training.RandomSamplingLightningModule,
        "resample",
        lambda self: draws.append(nnis(self)),
    )
    torch.set_num_threads(1)
    run = timed_training.train("cnn", "nni:magic_t", 5, settings, lambda: None)
    workload = WORKLOADS["cnn"](settings)
    expected = timed_training.draw_children(workload, "magic_t", 5, settings)
    assert run.children == expected
    assert len(draws) == len(expected) == 5
    assert draws != expected


def test_turns_are_handed_over_every_few_timed_steps(arguments):
    settings = step_time.parse_args([*arguments, "--steps", "5"])
    handed = []
    run = timed_training.train("cnn", "spos", 0, settings, lambda: handed.append(1))
    assert len(handed) == 3  # before the timed steps 1, 3 and 5
    assert len(run.children) == 6


def test_setting_below_one_is_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        step_time.parse_args([*arguments, "--steps", "0"])
    assert "steps is 0; it must be at least 1" in capsys.readouterr().err


def test_memory_is_reported_relative_to_spos():
    runs = {"spos": (100, 90), "magic_a": (105, 90)}
    pairs = {
        method: [tuple(step_time.Run(seconds=1.0, peak_memory=m) for m in peaks)]
        for method, peaks in runs.items()
    }
    settings = step_time.parse_args(["--device", "cuda", "--steps", "10"])
    methods = step_time.summaries(pairs, settings)
    assert methods["magic_a"]["peak_memory"]["to_spos"]["median"] == 1.05
    results = {"bert": {"title": "", "methods": methods}}
    checks = [t for t in step_time.targets(results) if t["what"] == "peak memory to SPOS's"]
    assert [check["verdict"] for check in checks] == ["met in every pair"] * 2
    page = step_time.report(settings, {"measurements": results, "targets": checks})
    assert "peak, MiB" in page and "1.05" in page


def test_digits_space_maps_images_to_logits():
    space = DigitsSpace(n_blocks=2, channels=4)
    assert len(space.simplify()) == 2
    child = space.freeze({"block_1": "conv5", "block_2": "separable3"})
    assert child(torch.zeros(3, 1, 8, 8)).shape == (3, 10)
