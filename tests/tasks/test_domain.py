"""What every domain has: data loaded once, defaults, scores of children, versions."""

import logging

import nni
import numpy
import pytest
import torch
from nni.nas.evaluator.pytorch import DataLoader
from pytorch_lightning.utilities import rank_zero_only
from scores import (
    images,
    lightning,
    losses_by_hand,
    recalibrated_losses,
    trained,
)
from spaces import ConvSpace

import nni_magic
from nni_magic.tasks.domain import Domain, GroundTruth
from nni_magic.tasks.settings import TaskSettings

CHILDREN = [
    {f"block_{n}": name for n, name in enumerate(names, start=1)}
    for names in (("conv1", "skip"), ("conv3", "conv1"))
]


class Small(Domain):
    """Twenty images that are drawn, and what was asked for."""

    settings_type = TaskSettings
    accuracy = "val_acc"

    def load(self):
        self.loaded = [*getattr(self, "loaded", []), torch.get_num_threads()]
        return torch.rand(20)

    def describe(self):
        return {"digest": "abc", "images": {"train": 20}, "unreadable": ["a.png"]}

    def make_space(self):
        return ConvSpace(n_blocks=2, **self.space)

    def example(self):
        return torch.zeros(2, 1, 8, 8)

    def preprocessing(self):
        return "beside"

    def evaluator(self, **settings):
        raise NotImplementedError

    def search_evaluator(self, **settings):
        self.asked = settings
        return lightning(
            batch_size=settings["batch_size"], train=DataLoader(images(12), batch_size=4)
        )

    def test_data(self):
        raise NotImplementedError


def small(space=None, **settings):
    return Small(TaskSettings(**settings), space)


@pytest.fixture
def process(monkeypatch):
    """Threads, logging and environment, which loading changes, are put back."""
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "")
    logger, threads = logging.getLogger("nni_magic"), torch.get_num_threads()
    level = logger.level
    yield logger
    logger.setLevel(level)
    torch.set_num_threads(threads)


def test_data_are_loaded_at_first_use_and_once(process):
    domain = small()
    assert not hasattr(domain, "loaded")
    assert domain.data is domain.data
    assert len(domain.loaded) == 1


def test_loading_seeds_the_process(process):
    drawn = torch.cat([small(seed=3).data, torch.rand(2)])
    generator = torch.Generator().manual_seed(3)
    expected = [torch.rand(n, generator=generator) for n in (20, 2)]
    assert torch.equal(drawn, torch.cat(expected))
    assert not torch.equal(drawn[:20], small(seed=4).data)


def test_seeded_space_has_the_weights_of_the_seed_whatever_was_drawn_before(process):
    domain = small(seed=3)
    weights = domain.seeded_space().state_dict()
    domain.make_space()
    again, other = domain.seeded_space().state_dict(), small(seed=4).seeded_space().state_dict()
    assert all(torch.equal(weight, again[name]) for name, weight in weights.items())
    assert not all(torch.equal(weight, other[name]) for name, weight in weights.items())


@pytest.mark.parametrize(("threads", "expected"), [(0, 1), (2, 2)])
def test_loading_sets_threads_and_lets_the_log_speak(threads, expected, process):
    torch.set_num_threads(1)
    process.setLevel(logging.WARNING)
    domain = small(threads=threads)
    assert len(domain.data) == 20
    assert domain.loaded == [expected]
    assert process.level == logging.INFO


def test_the_log_of_other_ranks_says_what_went_wrong_alone(process, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    process.setLevel(logging.WARNING)
    assert len(small().data) == 20
    assert process.level == logging.WARNING


def test_results_do_not_depend_on_which_files_were_found_unreadable():
    assert small().data_settings() == {"digest": "abc", "images": {"train": 20}}
    assert small().describe()["unreadable"] == ["a.png"]


def test_arguments_of_the_space_are_its_own_copy():
    given = {"dropout": 0.1}
    domain = small(given)
    given["dropout"] = 0.9
    assert domain.space == {"dropout": 0.1}
    assert small().space == {}


def test_without_constraint_all_children_are_free():
    domain = small()
    assert (domain.filter, domain.filter_beside_baseline, domain.costs({})) == (None, None, {})
    assert domain.trains_children
    assert domain.ground_truth == GroundTruth(
        "val_loss", "validation loss, trained from scratch", "nats"
    )


def test_constraint_holds_beside_the_baseline_too():
    class Filtered(Small):
        filter = {"max": 5}

    assert Filtered(TaskSettings()).filter_beside_baseline == {"max": 5}


def test_what_a_domain_does_not_have_is_said():
    with pytest.raises(NotImplementedError, match=r"^children of Small are to be trained$"):
        small().published({})
    with pytest.raises(NotImplementedError, match=r"^Small has no baseline$"):
        small().baseline()


def test_children_are_scored_on_the_batches_of_the_settings():
    domain = small(batch_size=6, workers=0, validation_batches=2, calibration_batches=0)
    net = trained(domain.make_space)
    expected = losses_by_hand(net, CHILDREN, lightning(batch_size=6), n_batches=2)
    assert domain.child_evaluator(net)(CHILDREN) == pytest.approx(expected)
    assert domain.asked == {
        "batch_size": 6, "num_workers": 0, "trainer_kwargs": {"devices": 1, "precision": "32-true"},
    }  # fmt: skip


def test_batchnorm_is_calibrated_on_the_batches_of_the_settings():
    domain = small(batch_size=8, validation_batches=4, calibration_batches=2)
    net = trained(domain.make_space)
    scores = domain.child_evaluator(net)(CHILDREN)
    batches = list(DataLoader(images(12), batch_size=4))[:2]
    assert scores == pytest.approx(recalibrated_losses(net, CHILDREN, lightning(), batches))


def test_versions_are_those_installed():
    found = small().versions()
    assert list(found) == ["nni-magic", "nni", "numpy", "pytorch-lightning", "torch"]
    assert (found["nni-magic"], found["nni"]) == (nni_magic.__version__, nni.__version__)
    assert found["numpy"] == numpy.__version__
