"""Settings in the files of results; with whole studies they are tested in test_study.py."""

import dataclasses
import functools
from pathlib import Path
from types import SimpleNamespace

import pytest
from studies import plan_of

from experiments.studies.plan import Plan
from experiments.studies.records import child_settings, supernet_settings, zero_cost_settings
from nni_magic.support.files import read_json, write_json
from nni_magic.support.made_with import read_result

SAMPLE = {"layer_1": "ffn"}


def test_result_of_the_same_settings_is_read(tmp_path):
    plan = plan_of(tmp_path)
    for made_with in (
        child_settings(plan, SAMPLE), supernet_settings(plan, "spos"), zero_cost_settings(plan),
    ):  # fmt: skip
        record = {"made_with": made_with, "val_loss": 4.0}
        write_json(tmp_path / "a.json", record)
        assert read_result(tmp_path / "a.json", made_with)["val_loss"] == 4.0


def test_children_do_not_depend_on_what_only_supernets_need(tmp_path):
    plan, other = plan_of(tmp_path), plan_of(tmp_path, epoch_steps=4)
    assert child_settings(plan, SAMPLE) == child_settings(other, SAMPLE)
    assert supernet_settings(plan, "spos") != supernet_settings(other, "spos")


RECORDS = Path(__file__).parents[3] / "experiments" / "records"
FAKE_DATA = SimpleNamespace(vocab_size=8, channels=1, resolution=28, classes="0123456789",
                            max_length=8)  # fmt: skip


def numbers(path):
    """Name, or number of a child, and seed, as a record's file says them."""
    name, _, seed = path.stem.rpartition("_seed")
    return name, int(seed)


# Those of the floor have no plan, see experiments/studies/floor/trainings.py.
OTHERS = {"floor", "glue", "mixtures_cells", "mixtures_chain", "mixtures_nasbench201_small"}
"""Records of studies that have tests of their own."""

@functools.cache
def plan_named(name):
    return Plan.read(RECORDS.parent / "plans" / f"{name}.yml")


PLANNED = sorted(folder for folder in RECORDS.iterdir() if folder.name not in OTHERS)


@pytest.mark.parametrize("folder", PLANNED, ids=lambda folder: folder.name)
def test_committed_records_are_accepted_for_the_same_training(folder, tmp_path):
    plan = plan_named(folder.name)
    domain = plan.make_domain(tmp_path)
    domain.data = FAKE_DATA
    drawn = plan.children.draw(domain.make_space())
    for path in folder.glob("children/*.json"):
        child, seed = int(numbers(path)[0]), numbers(path)[1]
        assert seed in plan.children.seeds
        assert read_result(path, child_settings(plan, drawn[child]))["seed"] == seed
    for path in folder.glob("zero_cost/*.json"):
        expected = zero_cost_settings(plan) | data_of(read_json(path)["made_with"])
        found = read_result(path, expected, seed=int, scores=list)
        assert path.stem == f"seed{found['seed']}"
        assert found["seed"] in plan.children.common_seeds
        assert len(found["scores"]) == len(drawn)
    for path in folder.glob("supernets/*.json"):
        name, seed = numbers(path)
        assert seed in plan.supernets[name].seeds
        found = read_result(path, ours(plan, name, read_json(path)["made_with"]))
        assert (found["supernets"], found["seed"]) == (name, seed)
    assert list(folder.glob("*/*.json"))


def ours(plan, name, made_with):
    """Settings of a supernet, with the data of one's own."""
    return supernet_settings(plan, name) | data_of(made_with)


def data_of(made_with):
    """Data of one's own are known by a digest, which only they can give."""
    return {key: one for key, one in made_with.items() if key == "data"}


MEASURED = sorted(path for path in RECORDS.glob("*/*/*.json")
                  if path.parent.name not in ("children", "supernets", "zero_cost")
                  and not path.stem.startswith("halving_"))  # fmt: skip


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_committed_measurements_are_accepted_for_the_same_measurement(path):
    plan = plan_named(path.parents[1].name)
    made_with = read_json(path)["made_with"]
    name, kind = numbers(path)[0], path.parent.name
    expected = {
        "interference": lambda: {
            **ours(plan, name, made_with), "interference": made_with["interference"]
        },
        "in_training": lambda: {**ours(plan, name, made_with), "every": made_with["every"]},
        "found": lambda: child_settings(plan, made_with["sample"]),
        "times": lambda: {
            **ours(plan, name, made_with),
            "baseline": supernet_settings(plan, "spos")["supernets"],
        },
        "memory": lambda: ours(plan, name, made_with),
        "cosines": lambda: {
            **ours(plan, name, made_with), "comparison": dataclasses.asdict(plan.comparison),
        },
        "searched": lambda: {
            **ours(plan, name, made_with), "search": dataclasses.asdict(plan.search),
        },
        "recency": lambda: {
            "measured": ours(plan, name, made_with["measured"]),
            "control": ours(plan, "spos", made_with["control"]),
            "children": made_with["children"], "seed": made_with["seed"],
        },
    }  # fmt: skip
    assert read_result(path, expected[kind]())
