"""NAS-Bench-201: its table, what its children cost, and a study of a published ground truth."""

import gzip
import lzma
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from cifar import noise
from nni.nas.hub.pytorch.nasbench201 import PRIMITIVES, NasBench201
from nni.nas.space import model_context
from PIL import Image
from studies import plan_of

from experiments.studies.gathered import Truth, gather
from experiments.studies.interference import __main__ as interference
from experiments.studies.nasbench201 import EDGES, cell_of, read_table
from experiments.studies.ranking import schedule as rank_schedule
from experiments.studies.study import Study

CELLS = ["".join(digits) for digits in product("01234", repeat=6)]
CHANGES = {
    "domain": "nasbench201",
    "options": {"label_smoothing": 0.0, "held_out": 0.5},
    "space": {"stem_out_channels": 4, "num_modules_per_stack": 1},
    "children": {"n": 6},
    "supernets": {"spos": {"strategy": "spos", "steps": 4, "seeds": [0]}},
}


def table_of(**columns):
    rng = np.random.default_rng(0)
    values = {"cifar10_val": rng.uniform(10, 92, len(CELLS)), "params_m": 0.5, "latency_s": 0.01}
    return pd.DataFrame({"cell": CELLS, **values, **columns})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Noise of ten classes, and a table of results that were made up."""
    folder = noise(tmp_path_factory.mktemp("cifar"))
    table_of().to_csv(folder / "nasbench201.csv.xz", index=False)
    return folder


@pytest.fixture(scope="module")
def study(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("study")
    study = Study(plan_of(output, **CHANGES), output / "runs", output / "cache", folder)
    study.work()
    return study


def test_cells_are_named_edge_by_edge():
    one_edge = [{edge: "none" if edge != changed else "conv_3x3" for edge in EDGES}
                for changed in EDGES]  # fmt: skip
    names = ["300000", "030000", "003000", "000300", "000030", "000003"]
    assert [cell_of(sample) for sample in one_edge] == names
    same = [cell_of(dict.fromkeys(EDGES, operator)) for operator in PRIMITIVES]
    assert same == ["000000", "111111", "222222", "333333", "444444"]


def test_study_trains_supernets_alone(study):
    assert list(study.missing()) == []
    assert {path.name for path in study.output.rglob("*.json")} == {"spos_seed0.json"}
    assert study.made_supernet("spos")["data"]["classes"] == 10


def test_ground_truth_is_the_published_error(study):
    table = table_of().set_index("cell")
    record = gather(study)
    assert record.ground_truth == Truth("published validation error", "%")
    assert len(record.children) == 6
    for child in record.children:
        accuracy = table.cifar10_val[cell_of(child.sample)]
        assert child.truth == {"0": pytest.approx(100 - accuracy)}
        assert child.val_accuracy == {"0": pytest.approx(accuracy / 100)}
        assert child.params == 500_000


def test_flops_are_those_of_the_child_at_the_size_of_the_benchmark(study):
    for sample in study.children:
        counted = []

        def watch(module, args, output, counted=counted):
            counted.append(output.numel() * module.weight[0].numel())

        with model_context(sample):
            child = NasBench201()
        for module in child.modules():
            if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
                module.register_forward_hook(watch)
        child.eval()(torch.zeros(1, 3, 32, 32))
        assert study.domain.published(sample)["flops"] == sum(counted)
        assert study.domain.make_space().channels == 4


def test_results_without_a_training_name_no_device(study):
    assert gather(study).trained_on == ["cpu"]  # the supernet's
    gone = study.supernet_file("spos", 0)
    moved = gone.rename(gone.with_suffix(".away"))
    assert gather(study).trained_on == []
    moved.rename(gone)


def test_results_on_other_images_are_refused(study, folder, tmp_path):
    for source in folder.rglob("*.*"):
        target = tmp_path / source.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    Image.new("RGB", (32, 32)).save(tmp_path / "train" / "a" / "0.png")
    other = Study(study.plan, study.output, tmp_path, tmp_path)
    with pytest.raises(ValueError, match=r"spos_seed0.json' was made .*: data.images_digest is '"):
        other.work()


@pytest.mark.parametrize(("table", "message"), [
    (table_of()[:-1], r"has 15624 complete rows, of 15624 of the 15625 cells"),
    (table_of(cell=["000000", *CELLS[:-1]]), r"has 15625 complete rows, of 15624 of the 15625"),
    (table_of(cell=["999999", *CELLS[1:]]), r"has 15625 complete rows, of 15624 of the 15625"),
    (table_of(params_m=[None] + [1.0] * 15624), r"has 15624 complete rows, of 15624 of the 1562"),
    (table_of(params_m="much"), r"is not as expected: .*could not convert string to float: 'much'"),
    (table_of().drop(columns="cifar10_val"), r"is not as expected: .*\['cifar10_val'\]"),
])  # fmt: skip
def test_bad_table_is_named(tmp_path, table, message):
    table.to_csv(tmp_path / "nasbench201.csv", index=False)
    with pytest.raises(ValueError, match=rf"nasbench201.csv' {message}"):
        read_table(tmp_path)


@pytest.mark.parametrize(("end", "content"), [
    (".xz", b"no archive"),
    (".xz", lzma.compress(table_of().to_csv().encode())[:-100]),
    (".gz", b"no archive"),
    (".gz", gzip.compress(table_of().to_csv().encode())[:-100]),
])  # fmt: skip
def test_broken_file_is_named(tmp_path, end, content):
    (tmp_path / f"nasbench201.csv{end}").write_bytes(content)
    with pytest.raises(ValueError, match=rf"nasbench201.csv{end}' is not as expected: "):
        read_table(tmp_path)


@pytest.mark.parametrize("change", [{"steps": 5}, {"repeated": 2}, {"seeds": [0, 1]}])
def test_settings_of_trainings_are_refused(tmp_path, change):
    [name] = change
    with pytest.raises(
        ValueError, match=rf"children: {name} is .*; accepted is .* nothing is trained: "
    ):
        plan_of(tmp_path, **{**CHANGES, "children": {"n": 6, **change}})


def test_interference_in_cells_is_refused_before_anything_is_trained(study, folder, tmp_path):
    plan = study.output.parent / "plan.yml"
    with pytest.raises(ValueError, match="NasBench201 has several choice blocks of one label"):
        interference.main([
            "--plan", str(plan), "--runs", str(tmp_path / "runs"), "--cache", str(tmp_path),
            "--data", str(folder), "--shared-layers", "1", "--differences", "1", "--rows", "8",
            "--threads", "1",
        ])  # fmt: skip
    assert not list(tmp_path.rglob("*.json"))


def test_published_ground_truth_has_no_schedule(study, folder):
    plan = str(study.output.parent / "plan.yml")
    with pytest.raises(ValueError, match="domain is 'nasbench201'; accepted are others"):
        rank_schedule.main(
            ["--plans", plan, plan, "--runs", "a", "b", "--data", str(folder), "--threads", "1"]
        )
