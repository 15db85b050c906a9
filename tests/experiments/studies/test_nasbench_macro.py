"""NAS-Bench-Macro: its table, and a study of a ground truth of three published trainings."""

import gzip
import json
import lzma
from itertools import product

import numpy as np
import pytest
from cifar import noise
from studies import plan_of

from experiments.studies.gathered import Truth, gather
from experiments.studies.nasbench_macro import name_of, read_table
from experiments.studies.study import Study

NAMES = ["".join(digits) for digits in product("012", repeat=8)]
CHANGES = {
    "domain": "nasbench_macro",
    "options": {"label_smoothing": 0.0, "held_out": 0.5, "resolution": 16},
    "space": {"channels": 4, "head_channels": 8},
    "children": {"n": 6, "repeated": 6, "seeds": [0, 1, 2]},
    "supernets": {"spos": {"strategy": "spos", "steps": 4, "seeds": [0]}},
}
ROW = {"test_acc": [80.0, 81.0, 82.5], "mean_acc": 81.2, "std": 1.0, "params": 10, "flops": 20}


def table_of(**changes):
    """Accuracies that were made up, of every child."""
    rng = np.random.default_rng(0)
    made_up = {name: {**ROW, "test_acc": rng.uniform(10, 95, 3).tolist()} for name in NAMES}
    return {**made_up, **changes}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = noise(tmp_path_factory.mktemp("cifar"))
    with lzma.open(folder / "nasbench_macro.json.xz", "wt") as file:
        json.dump(table_of(), file)
    return folder


@pytest.fixture(scope="module")
def study(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("study")
    study = Study(plan_of(output, **CHANGES), output / "runs", output / "cache", folder)
    study.work()
    return study


def test_children_are_named_block_by_block(study):
    names = [name_of(sample) for sample in study.children]
    assert len(set(names)) == 6
    assert set(names) <= set(NAMES)
    operators = {"0": "identity", "1": "mb3_3x3", "2": "mb6_5x5"}
    for name, sample in zip(names, study.children, strict=True):
        assert sample == {f"block_{n}": operators[digit] for n, digit in enumerate(name, 1)}


def test_ground_truth_is_of_the_three_published_trainings(study):
    table, record = table_of(), gather(study)
    assert record.ground_truth == Truth("published test error", "%")
    assert len(record.children) == 6
    for child in record.children:
        accuracies = table[name_of(child.sample)]["test_acc"]
        assert child.truth == {str(i): pytest.approx(100 - one) for i, one in enumerate(accuracies)}
        assert (child.params, child.flops) == (10, 20)
    ranked = record.ranked()
    assert ranked.seeds == ["0", "1", "2"]
    means = [100 - np.mean(table[name_of(child.sample)]["test_acc"]) for child in ranked.children]
    np.testing.assert_allclose(ranked.truth, means)


def test_study_trains_supernets_alone(study):
    assert list(study.missing()) == []
    assert {path.name for path in study.output.rglob("*.json")} == {"spos_seed0.json"}
    assert len(study.read_supernet("spos", 0)["scores"]) == 6


@pytest.mark.parametrize(("table", "message"), [
    ({name: ROW for name in NAMES[1:]}, "6560 rows, and complete ones of 6560 of the 6561"),
    ({"33333333": ROW, **{name: ROW for name in NAMES[1:]}}, "6561 rows, .* of 6560 of the 6561"),
    (table_of(**{NAMES[0]: {**ROW, "test_acc": [90.0, 91.0]}}), "6561 rows, .* of 6560 of"),
    (table_of(**{NAMES[0]: {**ROW, "test_acc": [90.0, 91.0, None]}}), "6561 rows, .* of 6560 of"),
    (table_of(**{NAMES[0]: {**ROW, "flops": float("nan")}}), "6561 rows, .* of 6560 of"),
    (table_of(**{NAMES[0]: 3}), "6561 rows, .* of 6560 of the 6561 children"),
    ([], "0 rows, and complete ones of 0 of the 6561 children"),
])  # fmt: skip
def test_bad_table_is_named(tmp_path, table, message):
    (tmp_path / "nasbench_macro.json").write_text(json.dumps(table))
    with pytest.raises(ValueError, match=rf"nasbench_macro.json' has {message}"):
        read_table(tmp_path)


@pytest.mark.parametrize(("end", "content"), [
    ("", b"{"),
    (".xz", b"no archive"),
    (".xz", lzma.compress(b"{}")[:-10]),
    (".gz", b"no archive"),
    (".gz", gzip.compress(b"{}", mtime=0)[:-10]),
])  # fmt: skip
def test_broken_file_is_named(tmp_path, end, content):
    (tmp_path / f"nasbench_macro.json{end}").write_bytes(content)
    with pytest.raises(ValueError, match=rf"nasbench_macro.json{end}' is not as expected: "):
        read_table(tmp_path)
