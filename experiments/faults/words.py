"""What command lines are made of: all options of all programs, and words without a meaning."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from nni_magic.programs.main import PROGRAMS, Program
from nni_magic.programs.options import read, settings_options
from nni_magic.tasks.registry import TASKS, Task
from nni_magic.tasks.settings import TaskSettings

__all__ = ["LINES", "WORDS", "needed_by", "options_of", "problem", "problems_of", "settings_from"]

WORDS = [
    "", " ", "x", "-1", "0", "1", "1.5", "nan", "inf", "-inf", "1e999", "null", "true", "[]", "{}",
    "[1]", "{a: 1}", "'", "[", "{", "-", "--", "10" * 20, "0%", "!!python/name:os.system", "1,",
]  # fmt: skip
NEEDED = {
    "checkpoint": "a.ckpt", "child": "a.json", "output": "out", "strategy": "magic_at",
    "model": "model", "data": "data",
}  # fmt: skip
LINES: list[tuple[Program, Task | None]] = [
    (program, task)
    for program in PROGRAMS.values()
    for task in ([*TASKS.values()] if program.takes_task else [None])
]
"""Every program on every task."""


def settings_from(program: Program, task: Task | None, words: Sequence[str]) -> Any:
    """Settings of a program from its command line."""
    return read(program.settings, words, TaskSettings if task is None else task.settings)


def options_of(program: Program, task: Task | None) -> Mapping[str, Any]:
    """Options of a program by name."""
    return settings_options(program.settings, TaskSettings if task is None else task.settings)


def needed_by(options: Mapping[str, Any], but: str) -> list[str]:
    """Words for the options without which there are no settings."""
    needed = [name for name in NEEDED if name in options and name != but]
    return [word for name in needed for word in (f"--{name}", NEEDED[name])]


def problem(option: str, make: Callable[[], object]) -> str | None:
    """What is wrong with how settings are refused, if anything."""
    try:
        make()
    except (ValueError, FileNotFoundError) as error:
        dashed = option.replace("_", "-")
        return None if re.search(rf"\b({option}|{dashed})\b", str(error)) else repr(error)
    except Exception as error:
        return repr(error)
    return None


def problems_of(
    program: Program, task: Task | None, words: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    """Options of a program that are not named where a word means nothing: option, word, error."""
    options = options_of(program, task)
    for name in (name for name, option in options.items() if not option.positional):
        for word in words:
            line = [*needed_by(options, name), f"--{name.replace('_', '-')}={word}"]
            found = problem(name, partial(settings_from, program, task, line))
            if found is not None:
                yield name, word, found
