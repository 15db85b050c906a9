"""The one command: its programs, its tasks, its help."""

import logging
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from nni_magic import __version__
from nni_magic.programs.main import PROGRAMS, main
from nni_magic.programs.settings import ExampleSettings
from nni_magic.tasks.registry import TASKS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_overview_lists_every_program_and_every_task(words, capsys):
    main(words)
    out = capsys.readouterr().out
    for name, program in PROGRAMS.items():
        assert f"  {name}" in out
        assert program.summary in out
    for task in TASKS.values():
        assert task.summary in out


def test_version_is_that_of_the_package(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"nni-magic {__version__}\n"


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_can_be_loaded(name):
    assert callable(PROGRAMS[name].load())


@pytest.mark.parametrize(("words", "message"), [
    ("go", "error: program is 'go'; accepted are 'demo', 'example', 'train', 'pipeline', "),
    ("train", "error: task is ''; accepted are 'bert', 'proxyless'"),
    ("train go", "error: task is 'go'; accepted are 'bert', 'proxyless'"),
    ("train bert --epochs many", "error: epochs is 'many'; accepted are whole numbers"),
    ("score bert", "error: checkpoint is missing; it is given as --checkpoint"),
    ("example go", "error: example is 'go'; accepted are 'bert_base', "),
])  # fmt: skip
def test_mistake_gives_one_line_and_status_1(words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 1
    out = capsys.readouterr().out
    assert out.startswith(message)
    assert out.count("\n") == 1


@pytest.mark.parametrize(("words", "message"), [
    ("search-space", "error: checkpoint is missing; it is given as --checkpoint"),
    ("search-space --checkpoint no.ckpt", "error: checkpoint is 'no.ckpt', which is not"),
])  # fmt: skip
def test_mistake_is_told_elsewhere_than_a_result_that_is_printed(words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (1, "")
    assert err.startswith(message)


def test_help_of_a_program_with_tasks_lists_them(capsys):
    main(["train", "--help"])
    assert "usage: nni-magic train TASK" in capsys.readouterr().out


def test_log_is_shown_once_and_beside_what_is_printed(monkeypatch, capsys, caplog):
    logger = logging.getLogger("nni_magic")
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own
    monkeypatch.setattr(logger, "handlers", [])
    main(["example"])
    main(["example"])
    printed = capsys.readouterr().out
    with caplog.at_level(logging.INFO, logger="nni_magic"):
        logging.getLogger("nni_magic.programs.train").info("Generation 1 of 2")
    assert capsys.readouterr() == ("", "Generation 1 of 2\n")
    assert printed.count("bert_search") == 2


def test_log_that_is_handled_is_left_alone(caplog):
    main(["example"])
    assert logging.getLogger("nni_magic").handlers == []


def test_settings_reach_the_program(monkeypatch):
    from nni_magic.programs import example

    taken = []
    monkeypatch.setattr(example, "run", taken.append)
    main(["example", "bert_base", "mine"])
    assert taken == [ExampleSettings(name="bert_base", folder=Path("mine"))]


def test_console_script_is_the_module():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    [line] = config["options.entry_points"]["console_scripts"].split("\n")[1:]
    assert line == "nni-magic = nni_magic.programs.main:main"
    done = subprocess.run(
        [sys.executable, "-m", "nni_magic.programs", "--version"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == f"nni-magic {__version__}\n", done.stderr
