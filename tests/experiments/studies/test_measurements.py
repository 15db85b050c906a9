"""Measurements of supernets: their files, and who makes them."""

import pytest
from studies import made_up

from experiments.studies.claims import claimed
from experiments.studies.measurements import Measurements
from nni_magic.support.files import read_json, write_json

SEEDS = {"spos": (0, 1), "magic_t": (1,)}
ALL = [("spos", 0), ("spos", 1), ("magic_t", 1)]


class Counted(Measurements):
    """Notes what it is asked to measure; whole are numbers of at least 10."""

    every = 3

    def made_with(self, name):
        return {**self.study.made_supernet(name), "every": self.every}

    def measure(self, name, seed):
        self.save(name, seed, {"number": 10 + seed})

    def is_whole(self, record):
        return record["number"] >= 10


@pytest.fixture
def counted(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    return Counted(study, tmp_path / "counted", SEEDS)


def test_everything_is_measured_once(counted, monkeypatch):
    assert list(counted.missing()) == list(counted.supernets()) == ALL
    assert counted.found() == {}
    counted.work()
    assert list(counted.missing()) == []
    found = counted.found()
    assert {name: list(by_seed) for name, by_seed in found.items()} == {
        "spos": [0, 1], "magic_t": [1],
    }  # fmt: skip
    assert found["spos"][1] == read_json(counted.folder / "spos_seed1.json")
    assert found["spos"][1]["number"] == 11
    monkeypatch.setattr(counted, "measure", None)
    counted.work()
    assert not list(counted.folder.glob("*.lock"))


def test_what_is_measured_in_part_is_missing_and_not_found(counted):
    counted.work()
    counted.save("spos", 1, {"number": 9})
    assert list(counted.missing()) == [("spos", 1)]
    assert counted.found()["spos"].keys() == {0}
    counted.work()
    assert counted.read("spos", 1)["number"] == 11


def test_what_another_process_measures_is_left_to_it(counted):
    with claimed(counted.file("spos", 1)):
        counted.work()
    assert list(counted.missing()) == [("spos", 1)]


def test_measurement_of_other_settings_is_named(counted):
    counted.work()
    counted.every = 4
    with pytest.raises(ValueError, match=r"spos_seed0.json' was made .*: every is 3 there, and 4"):
        counted.work()


def test_measurement_of_another_supernet_is_named(counted):
    counted.work()
    write_json(counted.file("spos", 0), read_json(counted.file("magic_t", 1)))
    with pytest.raises(ValueError, match="strategy is 'magic_t' there, and 'spos' here"):
        counted.found()
