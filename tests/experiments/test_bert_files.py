"""Settings of re-training and fine-tuning are the paper's and RoBERTa's, and those of programs."""

import itertools
import math
import sys
from pathlib import Path

import hugging
import pytest
import yaml
from nni.experiment.config import ExperimentConfig
from nnictl import NnictlExperiment
from reading import settings_of

from nni_magic.programs.main import PROGRAMS, main
from nni_magic.programs.options import read, replaced
from nni_magic.tasks.language.glue import GLUE
from search_spaces.bert import PRESETS

FOLDER = Path(__file__).parents[2] / "experiments"


def retraining(name):
    words = ["--config", str(FOLDER / name), "--model", "child", "--output", "runs"]
    return read(PROGRAMS["pretrain"].settings, words)


def test_retraining_has_the_papers_settings():
    paper = retraining("bert_retrain.yml")
    assert (paper.steps, paper.warmup_steps, paper.learning_rate) == (125_000, 10_000, 5e-4)
    assert paper.batch_size * paper.accumulate * 8 == 2048
    assert (paper.weight_decay, paper.mask_probability) == (0.01, 0.15)
    assert paper.start == "scratch"


def test_small_retraining_is_small():
    small = retraining("bert_retrain_small.yml")
    assert small.steps * small.batch_size < 1e5
    assert small.corpus == ("sotu",)


@pytest.mark.parametrize(
    ("name", "hidden", "budget"),
    [("bert_compression.yml", 512, 60_000_000), ("bert_compression_small.yml", 64, 230_000)],
)
def test_compression_has_a_teacher_and_a_budget(name, hidden, budget):
    ExperimentConfig.load(FOLDER / name).canonical_copy()
    given = yaml.safe_load((FOLDER / name).read_text())
    [strategy] = given["searchSpace"]["strategy"]["_value"]
    command, program, task, *words = given["trialCommand"].split()
    assert (command, program, task) == ("nni-magic", "train", "bert")
    settings = replaced(settings_of(program, task, words), {"strategy": strategy})
    assert (settings.task.params, settings.export) == (budget, True)
    assert settings.teaching.teacher is not None
    assert PRESETS[settings.task.preset]["hidden"] == hidden
    if hidden == 512:
        assert settings.task.batch_size * settings.task.accumulate * 8 == 1024
        assert settings.task.devices == 8


@pytest.fixture(scope="module")
def grid():
    ExperimentConfig.load(FOLDER / "bert_fine_tune.yml").canonical_copy()
    return yaml.safe_load((FOLDER / "bert_fine_tune.yml").read_text())


def test_grid_is_robertas_with_five_seeds(grid):
    values = {name: given["_value"] for name, given in grid["searchSpace"].items()}
    assert set(values["dataset"]) == {*GLUE} - {"MNLI"}
    assert grid["maxTrialNumber"] == math.prod(map(len, values.values()))
    command, program, *words = grid["trialCommand"].split()
    assert (command, program) == ("nni-magic", "fine-tune")
    settings = read(PROGRAMS[program].settings, words)
    assert (settings.epochs, settings.weight_decay, settings.warmup_share) == (10, 0.1, 0.06)
    chosen = [replaced(settings, dict(zip(values, each, strict=True)))
              for each in itertools.product(*values.values())]  # fmt: skip
    assert {each.learning_rate for each in chosen} == {1e-5, 2e-5, 3e-5}
    assert {each.batch_size for each in chosen} == {16, 32}
    assert len({each.seed for each in chosen}) == 5


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_grid_runs_through_nnictl_and_becomes_a_table(grid, tmp_path, capsys):
    model, data = hugging.written(tmp_path / "model"), hugging.write_tasks(tmp_path / "data")
    command = grid["trialCommand"].replace("nni-magic", f"{sys.executable} -m nni_magic.programs")
    command = command.replace("MODEL", str(model)).replace("GLUE", str(data))
    cut = {"dataset": ["RTE", "MRPC"], "learning_rate": ["1e-5", "3e-5"], "seed": [0]}
    space = {name: {"_type": "choice", "_value": cut.get(name, given["_value"])}
             for name, given in grid["searchSpace"].items()}  # fmt: skip
    config = {"trialCommand": f"{command} --epochs 1", "searchSpace": space, "maxTrialNumber": 8,
              "trialConcurrency": grid["trialConcurrency"], "tuner": grid["tuner"],
              "trialCodeDirectory": str(tmp_path)}  # fmt: skip
    with NnictlExperiment(tmp_path, config, PYTHONPATH=str(FOLDER.parent)) as experiment:
        jobs = experiment.wait_for_end("DONE", seconds=600)
    assert [job.status for job in jobs] == ["SUCCEEDED"] * 8
    main(["fine-tune-table", "--output", str(tmp_path / "runs/fine_tuned")])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [(name.strip("| "), seeds) for name, _, _, _, seeds, *_ in rows] == [
        ("MRPC", "1 (few)"), ("RTE", "1 (few)"),
    ]  # fmt: skip
    assert len(list((tmp_path / "runs/fine_tuned").glob("*/*/result.json"))) == 8
