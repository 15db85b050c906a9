"""``nni-magic``: the one command, whose programs are loaded when they run.

``nni-magic`` alone lists the programs, ``nni-magic PROGRAM --help`` their options.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .. import __version__
from ..support.errors import check_choice, one_clear_message
from ..tasks.registry import TASKS
from ..tasks.registry import task as task_named
from . import glue_settings, settings, text_settings
from .options import read

__all__ = ["PROGRAMS", "Program", "arguments", "main"]


@dataclass(frozen=True)
class Program:
    """A row for each program of the command.

    Parameters
    ----------
    run
        The function that runs it, as ``module:function`` of this package.
    settings
        Its settings, from which its options come.
    summary
        What it does, in a line.
    prints
        Whether what it prints is its result, so that errors go to the standard error.
    """

    run: str
    settings: type
    summary: str
    prints: bool = False

    @property
    def takes_task(self) -> bool:
        """Whether the name of a task follows that of the program."""
        return "task" in self.settings.__annotations__

    def load(self) -> Callable[..., None]:
        """Import the function that runs it."""
        where, _, name = self.run.partition(":")
        module = importlib.import_module(f".{where}", __package__)
        found: Callable[..., None] = getattr(module, name)
        return found


PROGRAMS: dict[str, Program] = {
    "demo": Program("demo:run", settings.DemoSettings,
                    "run an example through nnictl in the foreground, and print its results"),
    "example": Program("example:run", settings.ExampleSettings,
                       "write the YAML file of an experiment for nnictl create; or list them"),
    "train": Program("train:run_trial", settings.TrainSettings,
                     "train a supernet, search its children, train the best one"),
    "pipeline": Program("pipeline:run_trial", settings.PipelineSettings,
                        "a trial of the pipeline: supernet, search, retraining, as the tuner says"),
    "search-space": Program("search_space:run", settings.SearchSpaceSettings,
                            "print the children of a supernet as a search space of NNI",
                            prints=True),
    "score": Program("score:run_trial", settings.ScoreSettings,
                     "a trial that scores the child that one of NNI's tuners chose"),
    "export": Program("export:run", settings.ExportSettings,
                      "write an exported child for Hugging Face's transformers, or with INT8"),
    "pretrain": Program("pretrain:run", text_settings.PretrainSettings,
                        "pre-train a found child in full, by masked tokens or as ELECTRA"),
    "fine-tune": Program("fine_tune:run_trial", text_settings.FineTuneSettings,
                         "a run or trial that fine-tunes a child on a task of GLUE, or on SQuAD"),
    "fine-tune-table": Program("fine_tune_table:run", text_settings.FineTuneTableSettings,
                               "print the scores of fine-tuned children, medians over seeds"),
    "glue": Program("glue:run", glue_settings.GlueSettings,
                    "from a corpus to a found child that is fine-tuned on GLUE's tasks; a table"),
    "pareto": Program("pareto:run", settings.ParetoSettings,
                      "find the children that trade loss and cost off best"),
}  # fmt: skip
"""Every program by its name."""


def main(words: Sequence[str] | None = None) -> None:
    """Run a program.

    Parameters
    ----------
    words
        The command line after ``nni-magic``; by default that of this process.
    """
    name, *rest = [*(sys.argv[1:] if words is None else words)] or ["--help"]
    if name in ("-h", "--help"):
        print(_overview())
        return
    if name == "--version":
        print(f"nni-magic {__version__}")
        return
    _show_log()
    with one_clear_message(elsewhere=name in PROGRAMS and PROGRAMS[name].prints):
        check_choice("program", name, PROGRAMS)
        _start(name, PROGRAMS[name], rest)


def _show_log() -> None:
    """Let the package's log reach the standard error, unless it is handled already."""
    logger = logging.getLogger("nni_magic")
    if not logger.hasHandlers():  # Python's last resort shows warnings alone
        logger.addHandler(logging.StreamHandler())


def _start(name: str, program: Program, words: Sequence[str]) -> None:
    if program.takes_task and words[:1] in (["-h"], ["--help"]):
        usage = f"usage: nni-magic {name} TASK [--option value ...]"
        print(f"{usage}\n\n{program.summary}\n\n{_tasks()}")
        return
    chosen = arguments(name, words)  # before torch is loaded with the program
    program.load()(*chosen)


def arguments(name: str, words: Sequence[str]) -> list[Any]:
    """Read what the function of a program is called with: the task, if it takes one, and settings.

    Parameters
    ----------
    name
        Of the program.
    words
        The command line after it.

    Raises
    ------
    ValueError
        If there is no such program or task, or a setting is not accepted.
    """
    check_choice("program", name, PROGRAMS)
    program, prog = PROGRAMS[name], f"nni-magic {name}"
    if not program.takes_task:
        return [read(program.settings, words, prog=prog, description=program.summary)]
    chosen, *words = words or [""]
    row = task_named(chosen)
    prog = f"{prog} {chosen}"
    about = program.summary
    given: Any = read(program.settings, words, row.settings, prog=prog, description=about)
    return [row, given]


def _overview() -> str:
    rows = [
        f"  {name + (' TASK' if program.takes_task else ''):<15} {program.summary}"
        for name, program in PROGRAMS.items()
    ]
    return "\n".join(
        ["usage: nni-magic PROGRAM [--option value ...]", "", "programs:", *rows, "", _tasks(), "",
         "nni-magic PROGRAM [TASK] --help shows the options and their defaults."]
    )  # fmt: skip


def _tasks() -> str:
    rows = [f"  {task.name:<15} {task.summary}" for task in TASKS.values()]
    return "\n".join(["tasks:", *rows])
