"""The pipeline's trial program on the BERT space, one stage after the other in this process."""

import json
import shlex
from pathlib import Path

import pytest
import torch
import yaml
from nni.experiment.config import ExperimentConfig

from nni_magic.children.samples import distance
from nni_magic.manager.pipeline import Pipeline
from nni_magic.programs import bert_search
from nni_magic.programs.reports import pipeline_table
from nni_magic.tasks.language.bert import Bert

ROOT = Path(__file__).parents[2]
SMALL = (
    "--strategy magic_at --epochs 2 --epoch-steps 4 --batch-size 4 --warmup-steps 2 "
    "--warmup-epochs 1 --anchor-interval 2 --population 6 --search-batches 1 --retrain-epochs 1"
)


@pytest.fixture
def work(corpus, tmp_path, trial):
    """Makes what a trial with these parameters works with."""

    def make(more="", **parameters):
        where = ["--corpus", str(corpus), "--cache", str(corpus / "cache")]
        settings = bert_search.parse_args([*where, *SMALL.split(), *more.split()])
        settings.output = tmp_path / "trial"
        settings.output.mkdir(exist_ok=True)
        trial.parameters = parameters
        pipeline = Pipeline(trial, tmp_path / "shared")
        return pipeline, bert_search.BertPipeline(Bert(settings), trial, pipeline.folder)

    return make


def run(work, **parameters):
    pipeline, stages = work(**parameters)
    return stages.run(pipeline)


def test_stages_follow_each_other_to_the_final_table(work, tmp_path):
    run(work, stage="supernet")
    first = run(work, stage="search", generation=1)
    second = run(work, stage="search", generation=2)
    assert (first["children"], second["children"]) == (6, 6)
    assert second["default"] <= first["default"]
    found = run(work, stage="retrain", rank=1)
    baseline = run(work, stage="retrain", baseline="bert")
    assert found["params"] <= baseline["params"]

    [child] = (tmp_path / "shared" / "children").iterdir()
    record = json.loads((child / "child.json").read_text())
    assert (record["params"], record["flops"], record["score"]) == (
        found["params"], found["flops"], found["default"],
    )  # fmt: skip
    tokens = torch.randint(5, 100, (3, 64))
    assert torch.export.load(child / "child.pt2").module()(tokens).shape[:2] == (3, 64)
    table = pipeline_table(tmp_path / "shared")
    assert "found, rank 1" in table
    assert "baseline bert" in table
    assert "mha4, ffn, mha4, ffn, mha4, ffn, mha4, ffn" in table


def test_children_have_no_more_parameters_than_the_baseline(work):
    _, stages = work(stage="search", generation=1)
    baseline = stages.baseline()
    assert list(baseline.values()) == ["mha4", "ffn"] * 4
    children = stages.population().ask()
    space = stages.domain.make_space()

    def params(sample):
        return sum(p.numel() for p in space.freeze(sample).parameters())

    assert all(params(child) <= params(baseline) for child in children)
    assert any(distance(child, baseline) > 1 for child in children)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--strategy darts", "strategy is 'darts'; accepted are spos, magic_t, magic_a, magic_at"),
        ("--preset huge", "preset is 'huge'; accepted are base, compression, analysis, tiny"),
        ("--population many", "argument --population: invalid int value: 'many'"),
    ],
)
def test_wrong_setting_is_named(words, message):
    with pytest.raises(ValueError, match=message):
        bert_search.parse_args([*SMALL.split(), *words.split()])


def test_unknown_baseline_is_named(work):
    with pytest.raises(ValueError, match="baseline is 'gpt'; accepted is bert"):
        run(work, stage="retrain", baseline="gpt")


def test_search_that_leaves_no_text_to_test_on_is_refused_at_the_start(work):
    with pytest.raises(ValueError, match=r"search_batches is 99 of 4 rows, .*none is left to test"):
        run(work, more="--search-batches 99", stage="supernet")


@pytest.mark.parametrize(("more", "message"), [
    ("--n-drop 12", r"n_drop is 12; accepted is 0: .* one child.* python -m nni_magic.programs.bert"),
    ("--population 0", "population is 0; accepted are whole numbers of at least 1"),
    ("--retrain-epochs 0 --warmup-steps 0", "retrain_epochs is 0; accepted are whole numbers of at"),
])  # fmt: skip
def test_search_or_retraining_that_cannot_be_is_refused_at_the_start(work, tmp_path, more, message):
    with pytest.raises(ValueError, match=message):
        run(work, more=more, stage="supernet")
    assert not (tmp_path / "shared" / "supernet.ckpt").exists()


def test_shipped_experiment_has_trials_enough():
    path = ROOT / "experiments" / "bert_search.yml"
    ExperimentConfig.load(path).validate()
    config = yaml.safe_load(path.read_text())
    words = shlex.split(config["trialCommand"])
    assert words[:3] == ["python", "-m", "nni_magic.programs.bert_search"]
    assert bert_search.parse_args(words[3:]).strategy == "magic_at"
    given = config["tuner"]["classArgs"]
    needed = 1 + given["generations"] + given["top_k"] + len(given["baselines"])
    assert config["maxTrialNumber"] >= 2 * needed
