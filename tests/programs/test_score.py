"""One child of a supernet's checkpoint as a trial, for a search by NNI's own tuners."""

import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
from nnictl import ENDED, NnictlExperiment, log_of
from reading import domain_of, settings_of
from training import QUIET

from nni_magic.programs import train
from nni_magic.programs.score import score
from nni_magic.search import ChildEvaluator
from nni_magic.supernet.checkpoint import load_supernet
from nni_magic.tasks.language.mlm import mlm_search_evaluator
from nni_magic.tasks.registry import TASKS

ROOT = Path(__file__).parents[2]
MODEL = "--batch-size 4 --dropout 0.1 --validation-batches 2"
TRAINING = "--strategy spos --epochs 1 --epoch-steps 6 --warmup-steps 2"
SEARCH = "--search-children 6 --population 3"


@pytest.fixture
def where(corpus):
    return ["--corpus", str(corpus), "--cache", str(corpus / "cache")]


@pytest.fixture
def results(where, trial, tmp_path):
    """Of a supernet whose checkpoint is ``tmp_path / "supernet.ckpt"``."""
    words = [*where, *MODEL.split(), *TRAINING.split(), *SEARCH.split(), "--output", str(tmp_path)]
    chosen = settings_of("train", "bert", words)
    return train.run(domain_of(chosen), chosen, trial)


def options(where, folder):
    return [*where, *MODEL.split(), "--checkpoint", str(folder / "supernet.ckpt")]


def space_of(folder):
    """What the program prints for the tuners."""
    done = subprocess.run(
        [sys.executable, "-m", "nni_magic.programs", "search-space", "--checkpoint",
         folder / "supernet.ckpt"],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    return done.stdout


def loss_alone(settings, sample):
    """Validation loss of the child with inherited weights, computed outside of any supernet."""
    domain = domain_of(settings)
    child = load_supernet(settings.checkpoint, domain.make_space()).freeze(sample)
    evaluator = mlm_search_evaluator(domain.data, batch_size=settings.task.batch_size)
    evaluator.module.set_model(child)
    trainer = pl.Trainer(**{**QUIET, "limit_val_batches": settings.task.validation_batches})
    [metrics] = trainer.validate(evaluator.module, evaluator.val_dataloaders, verbose=False)
    return metrics["val_loss"]


def test_score_is_that_of_the_search_on_the_same_checkpoint(results, where, trial, tmp_path):
    settings = settings_of("score", "bert", options(where, tmp_path))
    best = results["best_child"]
    trial.parameters = best["sample"]
    found = score(TASKS["bert"], settings, trial)
    assert found == best["val_loss"]
    assert found == pytest.approx(loss_alone(settings, best["sample"]), abs=1e-5)

    domain = domain_of(settings)
    evaluate = ChildEvaluator(
        load_supernet(settings.checkpoint, domain.make_space()),
        mlm_search_evaluator(domain.data, batch_size=4), n_batches=2,
    )  # fmt: skip
    other = dict.fromkeys(best["sample"], "ffn")  # no attention
    trial.parameters = other
    without = score(TASKS["bert"], settings, trial)
    assert [found, without] == evaluate([best["sample"], other])
    assert found < without


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "checkpoint is missing; it is given as --checkpoint"),
        ("--checkpoint x --preset huge", "preset is 'huge'; accepted are 'base', 'compre"),
        (
            "--checkpoint x --validation-batches few",
            "validation_batches is 'few'; accepted are who",
        ),
    ],
)
def test_wrong_setting_is_named(words, message):
    with pytest.raises(ValueError, match=message):
        settings_of("score", "bert", words)


def test_missing_checkpoint_is_named(where, trial, tmp_path):
    settings = settings_of("score", "bert", options(where, tmp_path))
    with pytest.raises(FileNotFoundError, match=r"checkpoint is '.*supernet.ckpt', which is not"):
        score(TASKS["bert"], settings, trial)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_tpe_searches_the_children_of_a_checkpoint(results, where, tmp_path):
    (tmp_path / "search_space.json").write_text(space_of(tmp_path))
    words = options(where, tmp_path)
    config = {
        "trialCodeDirectory": str(ROOT),
        "trialCommand": f"{sys.executable} -m nni_magic.programs score bert {' '.join(words)}",
        "trialConcurrency": 1,
        "maxTrialNumber": 3,
        "searchSpaceFile": str(tmp_path / "search_space.json"),
        "tuner": {"name": "TPE", "classArgs": {"optimize_mode": "minimize", "seed": 0}},
    }
    with NnictlExperiment(tmp_path, config) as running:
        jobs = running.wait_for(
            lambda jobs: sum(job.status in ENDED for job in jobs) >= 3, seconds=300
        )
        exported = [(x.parameter, x.value["default"]) for x in running.manager.export_data()]
    assert running.left == []
    assert [job.status for job in jobs] == ["SUCCEEDED"] * 3, [log_of(job) for job in jobs]
    assert len(exported) == 3
    settings = settings_of("score", "bert", words)
    for sample, loss in exported:
        assert sample.keys() == results["best_child"]["sample"].keys()
        assert loss == pytest.approx(loss_alone(settings, sample), abs=1e-5)
