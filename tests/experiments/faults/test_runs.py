"""Folders of runs are compared to the last bit, beside times and their own paths."""

import json
import shutil

import pytest
import torch

from experiments.faults.runs import differences, words_of
from nni_magic.supernet.sealed import save_sealed


@pytest.fixture
def folders(tmp_path):
    """Two runs with the same results."""
    both = tmp_path / "one", tmp_path / "two"
    for folder, seconds in zip(both, (1, 2), strict=True):
        folder.mkdir()
        results = {"loss": 0.5, "train_seconds": seconds, "output": str(folder)}
        (folder / "results.json").write_text(json.dumps(results))
        (folder / "metrics.csv").write_text("step,loss\n1,0.5\n2,0.25\n")
        save(folder, weights(folder))
    return both


def weights(folder):
    return {
        "state": {
            "w": torch.arange(3.0), "nan": float("nan"), "part": torch.tensor([1.0, torch.nan]),
        },
        "path": [f"{folder}/a"],
    }  # fmt: skip


def save(folder, value):
    with (folder / "a.ckpt").open("w+b") as file:
        save_sealed(value, file, "a")


def test_runs_that_differ_in_times_and_paths_are_the_same(folders):
    assert list(differences(*folders)) == []


def change_weight(folder):
    value = weights(folder)
    value["state"]["w"][1] += 1e-7
    save(folder, value)


def change_type(folder):
    value = weights(folder)
    value["state"]["w"] = value["state"]["w"].double()
    save(folder, value)


def change_unknown(folder):
    value = weights(folder)
    value["state"]["part"][1] = 2.0
    save(folder, value)


def lose_key(folder):
    value = weights(folder)
    del value["state"]["nan"]
    save(folder, value)


@pytest.mark.parametrize(("change", "place"), [
    (change_weight, "a.ckpt['state']['w']"),
    (change_type, "a.ckpt['state']['w']"),
    (change_unknown, "a.ckpt['state']['part']"),
    (lose_key, "a.ckpt['state']['nan']"),
    (lambda folder: (folder / "results.json").write_text('{"loss": 0.6}'), "results.json"),
    (lambda folder: (folder / ".a.ckpt.x.tmp").touch(), "files: ['.a.ckpt.x.tmp']"),
    (lambda folder: (folder / "a.ckpt").unlink(), "files: ['a.ckpt']"),
    (lambda folder: (folder / "metrics.csv").write_text("step,loss\n2,0.3\n"), "metrics.csv"),
])  # fmt: skip
def test_difference_is_named(change, place, folders):
    change(folders[1])
    assert any(place in found for found in differences(*folders))


def test_metrics_of_a_part_of_the_run_are_the_same(folders):
    one, two = folders
    (two / "metrics.csv").rename(two / "metrics_1.csv")
    (two / "metrics_1.csv").write_text("step,loss\n1,0.5\n2,0.")  # torn by the kill
    assert list(differences(one, two)) == []
    shutil.copy(one / "metrics.csv", two / "metrics.csv")
    assert list(differences(one, two)) == []


def test_command_line_has_the_run_s_own_options(tmp_path):
    words = words_of("retraining", "spos", tmp_path, tmp_path / "out")
    assert words[0] == "bert"
    given = dict(zip(words[1::2], words[2::2], strict=True))
    assert (given["--strategy"], given["--retrain-epochs"]) == ("spos", "2")
    assert given["--corpus"] == str(tmp_path / "corpus")
    assert "--corpus" not in words_of("images", "spos", tmp_path, tmp_path / "out")
