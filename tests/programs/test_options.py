"""Settings from command lines, YAML files and a tuner's parameters: types, values, names."""

import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import yaml
from reading import settings_of

from nni_magic.programs.options import flat, plain, read, replaced, typed_settings
from nni_magic.programs.settings import TrainSettings
from nni_magic.strategies.registry import METHODS
from nni_magic.tasks.language.settings import BertSettings
from nni_magic.tasks.registry import TASKS

NAMES = ", ".join(map(repr, METHODS))


def train(*words, task="bert"):
    return settings_of("train", task, ["--strategy", "spos", *words])


def test_every_setting_has_the_default_of_its_dataclass():
    settings = train()
    assert settings.task == BertSettings()
    assert settings == TrainSettings(
        task=BertSettings(), supernet=settings.supernet, shrinking=settings.shrinking,
        search=type(settings.search)(), retraining=type(settings.retraining)(),
    )  # fmt: skip
    assert settings.supernet.given == {}


# Strategies


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_of_a_strategy_is_an_option_and_a_parameter(name):
    row, shared = METHODS[name], {field.name for field in fields(BertSettings)}
    texts = {"seed": "3", "metric": "val_loss", "mode": "min", "aligned_layers": "2 norm",
             "lazy": "true", "anchor": "{layer_1: ffn}", "mask_argument": "padding",
             "anchor_gradient": "true", "not_finite": "skip", "split_label": "layer_1"}  # fmt: skip
    expected = {"metric": "val_loss", "mode": "min", "aligned_layers": (2, "norm"),
                "lazy": True, "anchor": {"layer_1": "ffn"}, "mask_argument": "padding",
                "anchor_gradient": True, "not_finite": "skip",
                "split_label": "layer_1"}  # fmt: skip
    for option in row.options:
        default = getattr(row.settings(), option)
        others = {int: 7, type(None): 7, bool: not default}  # for numbers, what is in all bounds
        asked = default / 2 if type(default) is float else others.get(type(default), default)
        value = texts.get(option, str(asked).lower())
        flag = f"--{option.replace('_', '-')}"
        words = ["--strategy", name, "--epochs", "9", flag, *value.split(" ")]
        if option == "anchor":
            words[5:] = [value]
        made = settings_of("train", "bert", words)
        found = getattr(made.supernet.settings_for(made.task), option)
        assert found == expected.get(option, int(value) if value.isdigit() else asked)
        again = replaced(train("--strategy", name, "--epochs", "9"), {option: found})
        assert getattr(again.supernet.settings_for(again.task), option) == found
        assert (option in shared) == (option not in again.supernet.given)


def test_defaults_are_those_of_the_strategy():
    for name, row in METHODS.items():
        made = settings_of("train", "bert", ["--strategy", name])
        assert made.supernet.settings_for(made.task) == row.settings(
            seed=0, metric="val_loss", mode="min"
        )


def test_settings_of_other_strategies_are_let_be_and_told():
    made = train("--k", "2", "--align-every", "3", "--validation-children", "5")
    assert made.supernet.ignored == ["align_every", "k"]
    assert made.supernet.settings_for(made.task).validation_children == 5
    assert "k" not in flat(made)


# Parameters of the tuner


def test_parameters_of_the_tuner_replace_settings_of_their_names():
    made = replaced(
        train("--k", "2", "--seed", "5"),
        {"strategy": "magic_t", "k": 3, "learning_rate": 0.25, "population": 7, "output": "x"},
    )
    assert (made.supernet.strategy, made.supernet.given) == ("magic_t", {"k": 3})
    assert (made.task.learning_rate, made.task.seed) == (0.25, 5)
    assert (made.search.population, made.output) == (7, Path("x"))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("learning_rate", "5e-4", 5e-4),  # what YAML makes of 5e-4 without a point
        ("learning_rate", 1e-05, 1e-05),
        ("weight_decay", 0, 0.0),
        ("k", 2.0, 2),  # what quniform and qloguniform give
        ("epochs", "4", 4),
        ("epochs", 4.0, 4),
        ("precision", 32, "32"),
        ("corpus", ["a", "b"], ("a", "b")),
        ("corpus", "sotu", ("sotu",)),
        ("output", "runs/x", Path("runs/x")),
        ("sync_batchnorm", True, True),
        ("sync_batchnorm", False, False),
        ("devices", 8, 8),
        ("devices", "auto", "auto"),
    ],
)
def test_parameter_gets_the_type_of_its_setting(name, value, expected):
    found = flat(replaced(train("--strategy", "magic_at"), {name: value}))[name]
    assert found == expected
    assert type(found) is type(expected)


def test_false_takes_a_flag_of_the_command_line_back():
    made = replaced(train("--sync-batchnorm"), {"sync_batchnorm": False})
    assert made.task.sync_batchnorm is False


@pytest.mark.parametrize("name", ["sync_batchnorm", "channels_last", "download", "skip_unreadable"])
def test_flag_is_a_parameter(name):
    assert getattr(replaced(train(task="proxyless"), {name: True}).task, name) is True


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"strategy": "darts"}, f"strategy is 'darts'; accepted are {NAMES}"),
        ({"lr": 0.1}, r"setting is 'lr'; accepted are .*, learning_rate, "),
        ({"preset": "huge"}, r"preset is 'huge'; accepted are 'base', 'compression', 'analysis', "),
        ({"population": 0}, "population is 0; accepted are whole numbers from 1 to 10"),
        ({"population": 1001}, r"population is 1001; accepted are 1 to search_children, which"),
        ({"search_children": 49}, r"population is 50; accepted are 1 to search_children, .* 49"),
        ({"k": 1.5}, r"k is 1.5; accepted are whole numbers"),
        ({"learning_rate": "fast"}, r"learning_rate is 'fast'; accepted are finite numbers"),
        ({"learning_rate": float("nan")}, r"learning_rate is nan; accepted are finite numbers ab"),
        ({"epochs": None}, r"epochs is None; accepted are whole numbers of at least 1"),
        ({"sync_batchnorm": "yes"}, r"sync_batchnorm is 'yes'; accepted are true and false"),
        ({"sync_batchnorm": 1}, r"sync_batchnorm is 1; accepted are true and false"),
        ({"k": True}, r"k is True; accepted are whole numbers"),
        ({"anchor": "best"}, r"anchor is 'best'; accepted are mappings"),
        ({"devices": 1.5}, r"devices is 1.5; accepted are whole numbers or text"),
    ],
)
def test_wrong_parameter_is_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        replaced(train("--strategy", "magic_at"), parameters)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"preset": "huge"}, "preset is 'huge'; accepted are 'imagenet', 'cifar', 'tiny'"),
        ({"dataset": "mnist"}, "dataset is 'mnist'; accepted are 'digits', 'fashion_mnist', 'cif"),
        ({"budget": "some"}, "budget is 'some'; accepted are figures above 0 such as 600M"),
        ({"epochs": "many"}, "epochs is 'many'; accepted are whole numbers"),
        ({"download": "no"}, "download is 'no'; accepted are true and false"),
        ({"held_out": 2}, "held_out is 2.0; accepted are finite numbers above 0 and below 1"),
        ({"width": 0}, "width is 0.0; accepted are finite numbers above 0"),
    ],
)
def test_wrong_parameter_of_images_is_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        replaced(train(task="proxyless"), parameters)


# Command lines


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "many"], "epochs is 'many'; accepted are whole numbers"),
        (["--dropout", "x"], "dropout is 'x'; accepted are finite numbers"),
        (["--seed"], "argument --seed: expected one argument"),
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
        (["--epoch", "3"], "unrecognized arguments: --epoch 3"),
    ],
)
def test_wrong_argument_is_named(words, message):
    with pytest.raises(ValueError, match=message):
        train(*words)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--epochs 0", "epochs is 0; accepted are whole numbers of at least 1"),
        ("--epoch-steps 0", "epoch_steps is 0; accepted are whole numbers of at least 1"),
        ("--batch-size 0", "batch_size is 0; accepted are whole numbers of at least 1"),
        ("--accumulate 0", "accumulate is 0; accepted are whole numbers of at least 1"),
        ("--learning-rate 0", r"learning_rate is 0.0; accepted are finite numbers above 0"),
        ("--learning-rate .inf", r"learning_rate is inf; accepted are finite numbers above 0"),
        ("--weight-decay -1", r"weight_decay is -1.0; accepted are finite numbers of at least 0"),
        ("--dropout 1", r"dropout is 1.0; accepted are finite numbers of at least 0 and below 1"),
        ("--seed -1", "seed is -1; accepted are whole numbers from 0 to 4294967295"),
        ("--workers -1", "workers is -1; accepted are whole numbers from 0 to 1024"),
        ("--warmup-steps -1", "warmup_steps is -1; accepted are whole numbers of at least 0"),
        ("--warmup-steps 501", "warmup_steps is 501; accepted are 0 to 500, because epochs is 5"),
        ("--retrain-epochs 1 --warmup-steps 101",
         "warmup_steps is 101; accepted are 0 to 100, because retrain_epochs is 1"),
        ("--retrain-learning-rate 0", "retrain_learning_rate is 0.0; accepted are finite numbers"),
        ("--k 0", "k is 0; accepted are whole numbers of at least 1"),
        ("--align-every 0", "align_every is 0; accepted are whole numbers of at least 1"),
        ("--alignment-weight -1", "alignment_weight is -1.0; accepted are finite numbers of at"),
        ("--warmup-epochs -1", "warmup_epochs is -1; accepted are whole numbers of at least 0"),
        ("--validation-batches 0", "validation_batches is 0; accepted are whole numbers of at le"),
        ("--epochs 3 --warmup-epochs 3",
         "warmup_epochs is 3; accepted are less than 3, the epochs: nothing would"),
        ("--metric val_accuracy", "metric is 'val_accuracy'; accepted are 'val_loss'"),
        ("--mode max", "mode is 'max'; accepted are 'min'"),
        ("--n-drop -1", "n_drop is -1; accepted are whole numbers of at least 0"),
    ],
)  # fmt: skip
def test_number_out_of_range_is_named(more, message):
    with pytest.raises(ValueError, match=message):
        train("--strategy", "magic_at", *more.split())


def test_missing_setting_is_named():
    with pytest.raises(ValueError, match="checkpoint is missing; it is given as --checkpoint"):
        settings_of("score", "bert", "--batch-size 4")


# YAML files


def test_yaml_file_is_read_before_the_command_line(tmp_path):
    path = tmp_path / "settings.yml"
    given = {"strategy": "magic_t", "k": 2, "epochs": 9, "corpus": "a.txt", "learning-rate": "1e-3"}
    path.write_text(yaml.safe_dump(given))
    made = settings_of("train", "bert", f"--config {path} --epochs 7")
    assert (made.supernet.strategy, made.supernet.given) == ("magic_t", {"k": 2})
    assert (made.task.epochs, made.task.corpus, made.task.learning_rate) == (7, ("a.txt",), 1e-3)


@pytest.mark.parametrize(("text", "message"), [
    ("epohcs: 3", "setting is 'epohcs'; accepted are "),
    ("epochs: many", "epochs is 'many'; accepted are whole numbers"),
    ("- epochs", "config is '.*settings.yml'; accepted is a YAML file of settings"),
])  # fmt: skip
def test_wrong_yaml_file_is_named(tmp_path, text, message):
    (tmp_path / "settings.yml").write_text(text)
    with pytest.raises(ValueError, match=message):
        train("--config", str(tmp_path / "settings.yml"))


def test_missing_yaml_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"config is 'nowhere.yml'; accepted is a YAML"):
        train("--config", "nowhere.yml")


def test_environment_is_not_read(monkeypatch):
    monkeypatch.setenv("NNI_MAGIC__EPOCHS", "9")
    monkeypatch.setenv("EPOCHS", "9")
    assert train().task.epochs == 5


# Records


def test_settings_are_written_in_types_that_json_knows():
    made = plain(flat(train("--output", "runs/x", "--corpus", "a", "b")))
    assert (made["output"], made["corpus"], made["strategy"]) == ("runs/x", ["a", "b"], "spos")
    assert made["validation_children"] == 8


def test_settings_of_a_task_are_made_alone():
    made = typed_settings(BertSettings, {"epochs": 2.0, "corpus": "x"})
    assert made == BertSettings(epochs=2, corpus=("x",))


# A new method


def test_new_row_of_the_registry_brings_its_options(monkeypatch):
    from nni_magic.programs import fields as made
    from nni_magic.strategies.registry import Method
    from nni_magic.strategies.settings import SupernetSettings

    @dataclass(frozen=True, kw_only=True)
    class MineSettings(SupernetSettings):
        """Settings of mine.

        Parameters
        ----------
        sharpness
            How sharp.
        """

        sharpness: float = 0.5

    row = Method("mine", "x:Mine", MineSettings, "us", "is mine")
    monkeypatch.setitem(METHODS, "mine", row)
    made.strategy_options.cache_clear()
    try:
        settings = settings_of("train", "bert", "--strategy mine --sharpness 0.25")
        assert settings.supernet.settings_for(settings.task).sharpness == 0.25
        assert made.strategy_options()["sharpness"].help == "How sharp (default: 0.5) [mine]"
    finally:
        made.strategy_options.cache_clear()


# What it costs


@pytest.mark.parametrize("words", ["train bert", "train proxyless", "pipeline bert", "score bert",
                                   "pareto bert", "search-space", "demo", "example"])  # fmt: skip
def test_help_shows_every_option_with_its_default_and_loads_neither_torch_nor_nni(words):
    program = (
        "import resource, runpy, sys\n"
        f"sys.argv = ['nni-magic', *{words.split()!r}, '--help']\n"
        "try:\n    runpy.run_module('nni_magic.programs', run_name='__main__')\n"
        "except SystemExit as ended:\n    assert not ended.code\n"
        "heavy = {'torch', 'nni', 'numpy', 'pytorch_lightning'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "assert used.ru_utime + used.ru_stime < 3\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert text.startswith(f"usage: nni-magic {words}")
    if words.startswith("train"):
        for row in METHODS.values():
            for name in row.options:
                assert f"--{name.replace('_', '-')} " in text
        assert "(default: 16 (magic_a, magic_at); 100 (percentile_anchor))" in text
        assert "(default: runs/cache) (type: Path)" in text
    assert "<class" not in text
    if words == "train bert":
        assert "Optimizer steps in an epoch (default: 100) (type: int)" in text


def test_help_is_of_every_task():
    for row in TASKS.values():
        with pytest.raises(SystemExit) as ended:
            read(TrainSettings, ["--help"], row.settings)
        assert ended.value.code == 0
