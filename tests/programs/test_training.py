"""Trainings: which settings a strategy gets, and which data and settings a checkpoint is of."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image
from reading import domain_of, settings_of

from nni_magic.programs.training import check_nodes, make_strategy, train_child
from nni_magic.strategies.registry import METHODS

SMALL = (
    "--strategy spos --epochs 4 --epoch-steps 8 --batch-size 4 --warmup-steps 2 --dropout 0.1 "
    "--validation-batches 1 --retrain-epochs 3"
)
IMAGES = (
    "--strategy spos --epochs 1 --epoch-steps 2 --batch-size 8 --warmup-steps 1 "
    "--validation-batches 1 --retrain-epochs 1 --dataset imagefolder --held-out 0.2 "
    "--skip-unreadable"
)

# Strategies


@pytest.mark.parametrize("name", METHODS)
def test_strategy_gets_the_settings_that_it_knows(name):
    words = "--k 2 --alignment-weight 0.25 --align-every 2 --warmup-epochs 5 --anchor-interval 7"
    chosen = settings_of("train", "bert", f"--strategy {name} {words} --seed 9 --epochs 6")
    strategy = make_strategy(chosen.task, chosen.supernet, chosen.shrinking)
    assert type(strategy) is METHODS[name].load()
    assert (strategy.seed, strategy.shrinking) == (9, None)
    given = {
        "metric": "val_loss", "mode": "min", "k": 2, "alignment_weight": 0.25, "align_every": 2,
        "warmup_epochs": 5, "anchor_interval": 7,
    }  # fmt: skip
    for option in given.keys() & set(METHODS[name].options):
        assert getattr(strategy.settings, option) == given[option]


def test_settings_of_other_strategies_are_told_in_one_line(caplog):
    chosen = settings_of("train", "bert", "--strategy magic_t --k 2 --tolerance 3 --align-every 2")
    with caplog.at_level(logging.WARNING, logger="nni_magic"):
        make_strategy(chosen.task, chosen.supernet)
    assert caplog.messages == ["Strategy magic_t has no setting align_every, tolerance: ignored"]


def test_shrinking_is_as_it_is_set():
    chosen = settings_of("train", "bert", "--strategy spos --n-drop 5 --evaluations 70")
    shrinking = make_strategy(chosen.task, chosen.supernet, chosen.shrinking).shrinking
    assert (shrinking.n_drop, shrinking.evaluations) == (5, 70)


# A killed training of a child


class Killed(BaseException):
    """Stands for a kill: nothing that follows is run."""


def test_child_whose_training_is_killed_and_started_again_ends_the_same(
    corpus, trial, tmp_path, monkeypatch
):
    where = ["--corpus", str(corpus), "--cache", str(corpus / "cache")]
    chosen = settings_of("train", "bert", [*SMALL.split(), *where])
    sample = {f"layer_{n}": "mha2" if n % 2 else "ffn" for n in range(1, 5)}
    domain = domain_of(chosen, {"n_layers": 4, "candidates": ["mha2", "ffn"]})

    def train(name):
        folder = tmp_path / name
        return train_child(
            domain, chosen.retraining, sample, trial, folder / "child.ckpt", folder, devices=1
        )

    whole, metrics = train("whole")
    with monkeypatch.context() as patch:
        validations = iter([None, None, Killed()])

        def report(*args, **kwargs):
            if found := next(validations):
                raise found

        patch.setattr(trial, "report_intermediate", report)
        with pytest.raises(Killed):
            train("killed")
    saved = torch.load(tmp_path / "killed" / "child.ckpt", weights_only=True)
    assert saved["global_step"] == 16  # two epochs of three
    again, found = train("killed")
    assert found == metrics
    for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)


# The data that a checkpoint was made with


@pytest.fixture
def folder(tmp_path):
    """Noise of two classes."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for number in range(10):
                pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / split / name / f"{number}.png")
    return tmp_path / "data"


def of_folder(folder, resolution):
    """Images of a folder, as a trial has them."""
    words = f"{IMAGES} --data {folder} --resolution {resolution}"
    return domain_of(settings_of("train", "proxyless", words))


def blacken(image):
    Image.new("RGB", (20, 20)).save(image)


@pytest.fixture
def train(trial, tmp_path):
    """Trains a child of a domain, or continues it."""
    retraining = settings_of("train", "proxyless", IMAGES).retraining

    def child(domain):
        sample = dict.fromkeys(domain.make_space().simplify(), "mb3_3x3")
        checkpoint = tmp_path / "child" / "child.ckpt"
        return train_child(
            domain, retraining, sample, trial, checkpoint, checkpoint.parent, devices=1
        )

    return child


@pytest.mark.parametrize("resolution", [8, 65])  # in memory, and from files
@pytest.mark.parametrize("changed", ["train/a/3.png", "test/b/0.png"])
def test_checkpoint_is_not_continued_on_other_images_of_equal_counts(
    resolution, changed, train, folder
):
    train(of_folder(folder, resolution))
    blacken(folder / changed)
    with pytest.raises(ValueError, match=r"child.ckpt' was made with .*: data.images_digest is '"):
        train(of_folder(folder, resolution))


@pytest.mark.parametrize("resolution", [8, 65])
def test_checkpoint_is_continued_when_its_images_have_moved(resolution, train, folder):
    _, before = train(of_folder(folder, resolution))
    _, after = train(of_folder(folder.rename(folder.with_name("moved")), resolution))
    assert after == before


def test_checkpoint_is_continued_when_other_images_were_found_unreadable(train, folder):
    (folder / "train" / "a" / "3.png").write_text("no image")
    (folder / "test" / "a" / "3.png").unlink()
    (folder / "test" / "a" / "3.png").symlink_to("nowhere.png")
    domain = of_folder(folder, 65)
    domain.data.train.source.read(range(20), domain.data.train.transform)
    assert len(domain.describe()["unreadable"]) == 1
    train(domain)
    train(of_folder(folder, 65))


def test_several_machines_without_a_launcher_are_refused(monkeypatch):
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    check_nodes(1)
    with pytest.raises(ValueError, match="nodes is 2; accepted is 1 where neither torchrun nor sr"):
        check_nodes(2)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "here")
    check_nodes(2)
