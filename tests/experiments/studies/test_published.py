"""Benchmarks on CIFAR-10: what the folder of their data must hold."""

import shutil

import pytest
from cifar import noise
from studies import plan_of

from experiments.studies.plan import DOMAINS
from experiments.studies.published import table_file
from experiments.studies.study import Study

TABLES = {"nasbench201": "nasbench201.csv", "nasbench_macro": "nasbench_macro.json"}
every_benchmark = pytest.mark.parametrize("domain", TABLES)


def study_of(domain, folder, data, **options):
    spos = {"strategy": "spos", "steps": 4, "seeds": [0]}
    plan = plan_of(
        folder, domain=domain, options=options, space={}, children={"n": 2},
        supernets={"spos": spos},
    )  # fmt: skip
    return Study(plan, folder / "runs", folder / "cache", data)


@pytest.mark.parametrize("end", ["", ".xz", ".gz"])
def test_table_may_be_compressed(tmp_path, end):
    (tmp_path / f"table.csv{end}").touch()
    assert table_file(tmp_path, "table.csv").name == f"table.csv{end}"


@every_benchmark
def test_missing_table_is_named(tmp_path, domain):
    message = rf"accepted is a folder with '{TABLES[domain]}'"
    with pytest.raises(FileNotFoundError, match=message):
        study_of(domain, tmp_path, noise(tmp_path / "data"))


@every_benchmark
@pytest.mark.parametrize("options", [{}, {"dataset": "cifar10"}])
def test_benchmark_without_its_data_is_refused(tmp_path, domain, options):
    with pytest.raises(ValueError, match=rf"data None; accepted is 'imagef.* '{TABLES[domain]}'"):
        study_of(domain, tmp_path, None, **options)


@every_benchmark
def test_images_of_other_classes_are_refused(tmp_path, domain, monkeypatch):
    data = noise(tmp_path / "data")
    for name in "cdefghij":
        for split in ("train", "test"):
            shutil.rmtree(data / split / name)
    (data / TABLES[domain]).touch()
    monkeypatch.setattr(DOMAINS[domain], "read_table", lambda *args: {})
    with pytest.raises(ValueError, match=r"has 2 classes of images; CIFAR-10, .* has 10"):
        study_of(domain, tmp_path, data)
