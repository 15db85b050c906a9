"""The examples: each is ready for nnictl, and has the settings that it says."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from nni.experiment.config import ExperimentConfig
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from PIL import Image
from reading import command_of, domain_of, settings_of
from training import QUIET, Watch, anchor_of

from nni_magic.programs.example import examples, run, write
from nni_magic.programs.options import replaced
from nni_magic.programs.settings import ExampleSettings
from nni_magic.programs.training import make_strategy
from nni_magic.tasks.language.mlm import MaskedLanguageModel, mlm_evaluator
from nni_magic.tasks.language.mlm_data import prepare
from search_spaces import BertSpace
from search_spaces.bert import PRESETS

ROOT = Path(__file__).parents[2]
COMPARED = ["spos", "magic_t", "magic_a", "magic_at"]


def config_of(name):
    return yaml.safe_load(examples()[name])


def chosen_in(name, more=""):
    program, task, words = command_of(config_of(name))
    return settings_of(program, task, [*words, *more.split()])


@pytest.mark.parametrize("name", examples())
def test_example_is_written_into_the_users_folder_and_keeps_to_it(name, tmp_path):
    path = write(name, tmp_path / "mine")
    assert path == tmp_path / "mine" / f"{name}.yml"
    config = ExperimentConfig.load(path).canonical_copy()
    assert Path(config.trial_code_directory) == path.parent
    assert Path(config.experiment_working_directory) == path.parent / "runs"
    assert chosen_in(name).task.cache == Path("runs/cache")
    assert f"nnictl create --config {name}.yml" in path.read_text()


@pytest.mark.parametrize("name", examples())
def test_example_of_the_repository_is_the_same_file(name):
    path = ROOT / "experiments" / f"{name}.yml"
    assert path.read_text() == examples()[name]
    config = ExperimentConfig.load(path).canonical_copy()  # ./ is where the link lies
    assert Path(config.experiment_working_directory) == ROOT / "experiments" / "runs"


def test_files_of_the_user_are_not_overwritten(tmp_path):
    write("bert_search", tmp_path)
    with pytest.raises(ValueError, match=r"bert_search.yml' is there already; move it away"):
        write("bert_search", tmp_path)


def test_unknown_example_is_named(tmp_path):
    with pytest.raises(
        ValueError, match="example is 'go'; accepted are 'bert_base', 'bert_search'"
    ):
        write("go", tmp_path)


def test_examples_are_listed_or_written(tmp_path, capsys):
    run(ExampleSettings())
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(examples())
    run(ExampleSettings(name="bert_base", folder=tmp_path))
    path = tmp_path / "bert_base.yml"
    assert capsys.readouterr().out == (
        f"Wrote {path}; start it with: nnictl create --config {path}\n"
    )


# What they say


@pytest.mark.parametrize("name", ["bert_strategies", "bert_base", "proxyless_digits"])
def test_example_compares_all_four_methods_one_at_a_time(name):
    config = config_of(name)
    assert config["searchSpace"]["strategy"] == {"_type": "choice", "_value": COMPARED}
    assert (config["maxTrialNumber"], config["trialConcurrency"]) == (4, 1)
    for strategy in COMPARED:
        made = replaced(chosen_in(name), {"strategy": strategy})
        made.supernet.settings_for(made.task)


@pytest.mark.parametrize("name", ["bert_search", "proxyless_imagenet"])
def test_pipeline_has_trials_enough(name):
    config = config_of(name)
    assert chosen_in(name).supernet.strategy == "magic_at"
    given = config["tuner"]["classArgs"]
    needed = 1 + given["generations"] + given["top_k"] + len(given["baselines"])
    assert config["maxTrialNumber"] >= 2 * needed


@pytest.mark.parametrize("name", ["bert_search", "bert_strategies", "proxyless_digits"])
def test_small_examples_align_after_two_epochs(name):
    assert chosen_in(name).supernet.given["warmup_epochs"] == 2


def test_digits_example_is_small():
    task = chosen_in("proxyless_digits").task
    assert (task.dataset, task.preset, task.budget) == ("digits", "tiny", "60%")


def test_base_example_has_the_papers_settings():
    chosen = chosen_in("bert_base", "--strategy magic_at")
    base, own = chosen.task, chosen.supernet.settings_for(chosen.task)
    assert base.preset == "base"
    shape = PRESETS[base.preset]
    assert (shape["n_layers"], shape["hidden"], shape["max_length"]) == (26, 768, 128)
    assert shape["candidates"] == ("mha12", "ffn", "conv3", "conv5")
    assert shape["embedding_size"] == 512
    assert base.batch_size * base.accumulate * int(base.devices) == 1024
    assert int(base.devices) == config_of("bert_base")["trialGpuNumber"]
    assert base.distributed == "ddp_find_unused_parameters_true"
    assert base.epochs * base.epoch_steps == 250_000
    assert (base.learning_rate, base.warmup_steps) == (5e-4, 10_000)
    assert (base.dropout, base.weight_decay) == (0.1, 0.01)
    assert (own.warmup_epochs, own.align_every, own.alignment_weight) == (3, 4, 0.5)
    assert own.k == 1
    recipe = inspect.signature(MaskedLanguageModel.__wrapped__.__init__).parameters
    assert recipe["betas"].default == (0.9, 0.999)
    assert recipe["mask_probability"].default == 0.15


def test_shrinking_example_has_the_papers_settings_and_ends_with_one_child():
    chosen = chosen_in("bert_shrinking", "--strategy magic_at")
    task, shrinking = chosen.task, chosen.shrinking
    shape = PRESETS[task.preset]
    assert (shape["n_layers"], len(shape["candidates"])) == (26, 4)
    assert (shrinking.n_drop, shrinking.evaluations, task.epochs) == (5, 10_000, 16)
    assert (task.epochs - 1) * shrinking.n_drop < 26 * 3 <= task.epochs * shrinking.n_drop
    assert task.epochs * task.epoch_steps == 250_000
    assert task.batch_size * task.accumulate * int(task.devices) == 1024
    assert make_strategy(task, chosen.supernet, shrinking).shrinking.n_drop == 5


def test_imagenet_example_has_the_papers_settings():
    chosen = chosen_in("proxyless_imagenet")
    task, retraining = chosen.task, chosen.retraining
    assert (chosen.supernet.strategy, task.preset, task.budget) == ("magic_at", "imagenet", "600M")
    assert (task.learning_rate, task.warmup_steps, task.epochs) == (0.4, 0, 150)
    batch = task.batch_size * task.accumulate * int(task.devices)
    assert batch == 512
    images = round(1_281_167 * (1 - task.held_out))
    assert task.epoch_steps == images // batch
    # ProxylessNAS: 300 epochs with 0.05 for a batch of 256.
    assert retraining.retrain_epochs == 300
    assert retraining.retrain_learning_rate == pytest.approx(0.05 * batch / 256)
    assert (task.weight_decay, task.label_smoothing) == (4e-5, 0.1)


# Real steps


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_base_preset_takes_real_steps(corpus):
    more = "--strategy magic_at --warmup-epochs 0 --validation-batches 1 --validation-children 2"
    chosen = chosen_in("bert_base", f"{more} --anchor-candidates 2")
    shape = PRESETS["base"]
    data = prepare(str(corpus), corpus / "cache", shape["vocab_size"], shape["max_length"])
    space = BertSpace.preset("base", dropout=chosen.task.dropout)
    before = {name: value.clone() for name, value in space.layers[3].named_parameters()}
    watch = Watch()
    evaluator = mlm_evaluator(
        data, total_steps=2, batch_size=2, learning_rate=chosen.task.learning_rate,
        weight_decay=chosen.task.weight_decay,
        trainer_kwargs={**QUIET, "limit_val_batches": 1, "callbacks": [watch]},
    )  # fmt: skip
    strategy = make_strategy(chosen.task, chosen.supernet)
    strategy(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())

    assert len(watch.steps) == 2
    assert all(0 < loss < 1000 for _, loss in watch.steps)
    module = strategy.oneshot_module
    assert len(watch.steps[0][0]) == 26
    assert anchor_of(module).sample is not None
    assert len(module.terms[0].layers) == 6  # of 26, every fourth
    moved = {
        name.split(".")[0]
        for name, value in space.layers[3].named_parameters()
        if not torch.equal(value, before[name])
    }
    assert moved
    best = strategy.oneshot_module.export()
    params = sum(p.numel() for p in space.freeze(best).parameters())
    assert 80e6 < params < 150e6


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_imagenet_preset_takes_real_steps_on_images_of_full_resolution(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("cat", "dog", "eel"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(4):
                pixels = rng.integers(0, 256, (250, 240, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{number}.jpg")
    more = f"--data {tmp_path} --held-out 0.25 --warmup-epochs 0 --validation-batches 1"
    few = "--validation-children 2 --anchor-candidates 2"
    chosen = chosen_in("proxyless_imagenet", f"{more} {few}")
    domain = domain_of(chosen)
    space = domain.make_space()
    before = {name: value.clone() for name, value in space.named_parameters()}
    watch = Watch()
    evaluator = domain.evaluator(
        total_steps=2, batch_size=2, learning_rate=chosen.task.learning_rate,
        weight_decay=chosen.task.weight_decay,
        trainer_kwargs={**QUIET, "limit_val_batches": 1, "callbacks": [watch],
                        "precision": chosen.task.precision},
    )  # fmt: skip
    strategy = make_strategy(chosen.task, chosen.supernet, filter=domain.filter)
    strategy(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())

    assert len(watch.steps) == 2
    assert all(0 < loss < 1000 for _, loss in watch.steps)
    module = strategy.oneshot_module
    assert anchor_of(module).sample is not None
    assert len(module.terms[0].layers) == 5  # of 21, every fourth
    for child, _ in watch.steps:
        assert len(child) == 21
        assert domain.costs(child)["flops"] <= 600e6
    moved = [n for n, v in space.named_parameters() if not torch.equal(v, before[n])]
    assert any(name.startswith("layers.20.") for name in moved)
    assert any(name.startswith("stem.") for name in moved)
