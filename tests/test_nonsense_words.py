"""Command lines and YAML files that mean nothing end at once, with the option's name in a line.

Each option of each program is given each word; the samples of children each nonsense value.
"""

import json
import re

import numpy as np
import pytest
import yaml
from nonsense import VALUES, told

from nni_magic.children.json_samples import in_space
from nni_magic.children.samples import check_sample
from nni_magic.programs.main import PROGRAMS, main
from nni_magic.programs.options import _options, read
from nni_magic.tasks.registry import TASKS
from nni_magic.tasks.settings import TaskSettings

WORDS = [
    "", " ", "x", "-1", "0", "1", "1.5", "nan", "inf", "-inf", "1e999", "null", "true", "[]", "{}",
    "[1]", "{a: 1}", "'", "[", "{", "-", "--", "10" * 20, "0%", "!!python/name:os.system", "1,",
]  # fmt: skip
NEEDED = {"checkpoint": "a.ckpt", "output": "out", "strategy": "magic_at"}
LINES = [(program, task) for program in PROGRAMS.values()
         for task in ([*TASKS.values()] if program.takes_task else [None])]  # fmt: skip


def settings_from(program, task, words):
    return read(program.settings, words, TaskSettings if task is None else task.settings)


def needed_by(options, but):
    """Words for the options without which there are no settings."""
    needed = [name for name in NEEDED if name in options and name != but]
    return [word for name in needed for word in (f"--{name}", NEEDED[name])]


def problem(option, make):
    """What is wrong with how settings are refused, if anything."""
    try:
        make()
    except (ValueError, FileNotFoundError) as error:
        dashed = option.replace("_", "-")
        return None if re.search(rf"\b({option}|{dashed})\b", str(error)) else repr(error)
    except Exception as error:
        return repr(error)
    return None


def problems_of_lines(program, task, words):
    options = _options(program.settings, TaskSettings if task is None else task.settings)
    for name in (name for name, option in options.items() if not option.positional):
        for word in words:
            line = [*needed_by(options, name), f"--{name.replace('_', '-')}={word}"]
            found = problem(name, lambda line=line: settings_from(program, task, line))
            if found is not None:
                yield name, word, found


@pytest.mark.parametrize("task", TASKS)
def test_option_of_a_command_line_is_named_where_its_value_means_nothing(task):
    found = problems_of_lines(PROGRAMS["train"], TASKS[task], ["", "nan"])
    assert list(found) == []


@pytest.mark.slow
@pytest.mark.parametrize(("program", "task"), LINES, ids=lambda each: getattr(each, "name", None))
def test_every_option_of_every_program_is_named_where_its_value_means_nothing(program, task):
    assert list(problems_of_lines(program, task, WORDS)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TASKS])
def test_setting_of_a_yaml_file_is_named_where_its_value_means_nothing(name, tmp_path):
    program, task, path = PROGRAMS["train"], TASKS[name], tmp_path / "settings.yml"
    values = [None, [], {}, [[]], [None], {"a": 1}, -1, 1.5, True, "", "x", float("nan"), [1, "x"]]
    found = []
    for setting in _options(program.settings, task.settings):
        for value in values:
            path.write_text(yaml.safe_dump({"strategy": "magic_at", setting: value}))
            words = ["--config", str(path)]
            if bad := problem(setting, lambda words=words: settings_from(program, task, words)):
                found.append((setting, value, bad))
    assert found == []


@pytest.mark.parametrize("text", ["[]", "1", "x", "null", "", "- a", "{[]: 1}", "a: [", "1: 2"])
def test_yaml_file_without_settings_is_refused(text, tmp_path, capsys):
    path = tmp_path / "settings.yml"
    path.write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["train", "bert", "--strategy", "spos", "--config", str(path)])
    assert ended.value.code == 1
    assert re.match(r"error: config (is '|'.*': setting is '1')", capsys.readouterr().out)


@pytest.mark.parametrize("words", [
    "--retrain-learning-rate nan", "--retrain-learning-rate -1", "--retrain-learning-rate inf",
    "--retrain-learning-rate 0", "--weight-decay nan", "--weight-decay inf", "--accumulate 0",
    "--alignment-weight inf", "--accumulate -1", "--threads -1", "--threads 1000000",
    "--devices 0", "--devices 1000000", "--devices 0,0", "--corpus=", "--seed -1", "--precision x",
    "--precision 17", "--distributed x", "--distributed ddp", "--rank-timeout 0",
    "--rank-timeout 999999999", "--epochs 0", "--epochs 1e3", "--epochs 99999999999999999999",
    "--epoch-steps 99999999999999999999", "--batch-size 99999999999999999999",
    "--search-children 99999999999999999999", "--population 1000000000", "--n-drop -1",
    "--n-drop 99999999999999999999", "--evaluations 99999999999999999999", "--learning-rate -1",
    "--learning-rate nan", "--weight-decay -1", "--alignment-weight -1", "--alignment-weight nan",
    "--k 99999999999999999999", "--metric val_acc", "--mode max", "--anchor {}", "--anchor x",
    "--budget 0%", "--budget 0M", "--budget 101%", f"--budget {'9' * 400}M", "--width 0",
    "--width nan", "--width 1e300", "--resolution 99999999999999999999", "--held-out 1",
    "--candidates=",
])  # fmt: skip
def test_program_ends_before_data_are_read(words, capsys, monkeypatch):
    monkeypatch.setattr("nni_magic.programs.main.Program.load", None)
    of_images = words.startswith(("--budget", "--width", "--resolution", "--held", "--candidates"))
    with pytest.raises(SystemExit) as ended:
        main(["train", "proxyless" if of_images else "bert", "--strategy", "magic_at",
              *words.split()])  # fmt: skip
    assert ended.value.code == 1
    name = re.match(r"--([\w-]+)", words)[1].replace("-", "_")
    out = capsys.readouterr().out
    assert re.match(rf"error: {name} is .*; accepted are .*\n$", out), out


# Samples

CANDIDATES = {"a": [0, 1], "b": [(3, 5), [1, 2]], "c": ["x", None]}
GOOD = {"a": 0, "b": (3, 5), "c": "x"}


@pytest.mark.parametrize("check", [check_sample, in_space])
@pytest.mark.parametrize("sample", VALUES, ids=told)
def test_sample_that_is_none_is_refused(check, sample):
    with pytest.raises((TypeError, ValueError), match=r"the sample (is|has|lacks|of)"):
        check(sample, CANDIDATES)


@pytest.mark.parametrize("check", [check_sample, in_space])
@pytest.mark.parametrize("label", [*GOOD])
@pytest.mark.parametrize("choice", VALUES, ids=told)
def test_choice_that_is_none_of_a_label_is_named(check, label, choice):
    try:
        check({**GOOD, label: choice}, CANDIDATES)
    except ValueError as error:
        assert str(error).startswith(f"the sample's '{label}' is ")
    else:
        assert any(np.all(np.asarray(choice == known)) for known in CANDIDATES[label])


@pytest.mark.parametrize("label", [None, 0, (), "d", 1.5], ids=repr)
def test_label_that_is_none_is_named(label):
    for check in (check_sample, in_space):
        with pytest.raises(ValueError, match=r"it has unknown labels \["):
            check({**GOOD, label: 0}, CANDIDATES)
        with pytest.raises(ValueError, match=r"it lacks \['a'\]"):
            check({k: v for k, v in GOOD.items() if k != "a"}, CANDIDATES)


def test_samples_of_json_are_of_the_space():
    assert in_space(json.loads(json.dumps(GOOD)), CANDIDATES) == GOOD
