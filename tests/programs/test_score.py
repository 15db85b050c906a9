"""One child of a supernet's checkpoint as a trial, for a search by NNI's own tuners."""

import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
from nni_magic.programs.strategy_trial import run
from nnictl import ENDED, NnictlExperiment, log_of
from training import QUIET

from nni_magic.programs import bert, bert_score
from nni_magic.search import ChildEvaluator
from nni_magic.supernet.checkpoint import load_supernet
from nni_magic.tasks.language.bert import Bert
from nni_magic.tasks.language.mlm import mlm_search_evaluator

ROOT = Path(__file__).parents[2]
MODEL = "--batch-size 4 --dropout 0.1 --search-batches 2"
TRAINING = "--strategy spos --epochs 1 --epoch-steps 6 --warmup-steps 2"
SEARCH = "--search-children 6 --population 3"


@pytest.fixture
def where(corpus):
    return ["--corpus", str(corpus), "--cache", str(corpus / "cache")]


@pytest.fixture
def results(where, trial, tmp_path):
    """Of a supernet whose checkpoint is ``tmp_path / "supernet.ckpt"``."""
    words = [*where, *MODEL.split(), *TRAINING.split(), *SEARCH.split(), "--output", str(tmp_path)]
    return run(Bert(bert.parse_args(words)), trial)


def options(where, folder):
    return [*where, *MODEL.split(), "--checkpoint", str(folder / "supernet.ckpt")]


def space_of(folder):
    """What the program prints for the tuners."""
    done = subprocess.run(
        [sys.executable, "-m", "nni_magic.manager.space", "--checkpoint", folder / "supernet.ckpt"],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    return done.stdout


def loss_alone(settings, sample):
    """Validation loss of the child with inherited weights, computed outside of any supernet."""
    domain = Bert(settings)
    child = load_supernet(settings.checkpoint, domain.make_space()).freeze(sample)
    evaluator = mlm_search_evaluator(domain.data, batch_size=settings.batch_size)
    evaluator.module.set_model(child)
    trainer = pl.Trainer(**{**QUIET, "limit_val_batches": settings.search_batches})
    [metrics] = trainer.validate(evaluator.module, evaluator.val_dataloaders, verbose=False)
    return metrics["val_loss"]


def test_score_is_that_of_the_search_on_the_same_checkpoint(results, where, trial, tmp_path):
    settings = bert_score.parse_args(options(where, tmp_path))
    best = results["best_child"]
    trial.parameters = best["sample"]
    score = bert_score.score(settings, trial)
    assert score == best["val_loss"]
    assert score == pytest.approx(loss_alone(settings, best["sample"]), abs=1e-5)

    domain = Bert(settings)
    evaluate = ChildEvaluator(
        load_supernet(settings.checkpoint, domain.make_space()),
        mlm_search_evaluator(domain.data, batch_size=4), n_batches=2,
    )  # fmt: skip
    other = dict.fromkeys(best["sample"], "ffn")  # no attention
    trial.parameters = other
    assert [score, bert_score.score(settings, trial)] == evaluate([best["sample"], other])
    assert score < bert_score.score(settings, trial)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "the following arguments are required: --checkpoint"),
        ("--checkpoint x --preset huge", "preset is 'huge'; accepted are base, compression"),
        ("--checkpoint x --search-batches few", "argument --search-batches: invalid int value"),
    ],
)
def test_wrong_setting_is_named(words, message):
    with pytest.raises(ValueError, match=message):
        bert_score.parse_args(words.split())


def test_missing_checkpoint_is_named(where, trial, tmp_path):
    settings = bert_score.parse_args(options(where, tmp_path))
    with pytest.raises(FileNotFoundError, match=r"checkpoint is '.*supernet.ckpt', which is not"):
        bert_score.score(settings, trial)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_tpe_searches_the_children_of_a_checkpoint(results, where, tmp_path):
    (tmp_path / "search_space.json").write_text(space_of(tmp_path))
    words = options(where, tmp_path)
    config = {
        "trialCodeDirectory": str(ROOT),
        "trialCommand": f"{sys.executable} -m nni_magic.programs.bert_score {' '.join(words)}",
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
    settings = bert_score.parse_args(words)
    for sample, score in exported:
        assert sample.keys() == results["best_child"]["sample"].keys()
        assert score == pytest.approx(loss_alone(settings, sample), abs=1e-5)
