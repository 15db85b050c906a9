"""Supernets are measured as far as their weights are there."""

import shutil

import pytest
from studies import plan_of

from experiments.studies.ranking.of_weights import OfWeights
from experiments.studies.study import Study


class Sizes(OfWeights):
    """Bytes of the weights of each supernet."""

    def made_with(self, name):
        return {}

    def measure(self, name, seed):
        self.save(name, seed, {"bytes": self.study.checkpoint(name, seed).stat().st_size})


@pytest.fixture
def study(corpus, tmp_path):
    plan = plan_of(tmp_path, corpus, children={"n": 0, "steps": 4}, supernets={
        "spos": {"strategy": "spos", "steps": 4, "seeds": [1, 0]},
        "magic_t": {"strategy": "magic_t", "steps": 4, "seeds": [0]},
    })  # fmt: skip
    return Study(plan, tmp_path / "runs", corpus / "cache")


def test_nothing_is_measured_before_it_is_trained(study):
    sizes = Sizes(study, "sizes")
    sizes.work()
    assert not list(sizes.missing()) and not sizes.found()
    study.work()
    assert set(sizes.missing()) == {("spos", 1), ("magic_t", 0), ("spos", 0)}


def test_supernet_without_weights_stays_unmeasured(study):
    study.work()
    study.checkpoint("spos", 1).unlink()
    sizes = Sizes(study, "sizes")
    sizes.work()
    assert not list(sizes.missing())
    found = {name: list(seeds) for name, seeds in sizes.found().items()}
    assert found == {"spos": [0], "magic_t": [0]}
    shutil.rmtree(study.output / "supernets")
    assert {name: list(seeds) for name, seeds in sizes.found().items()} == found
