"""Settings of programs, read from their command lines."""

import shlex

from nni_magic.programs.main import PROGRAMS
from nni_magic.programs.options import read
from nni_magic.tasks.registry import TASKS


def settings_of(program, task, words):
    """Settings of a program on a task; words are a list, or a text to be split."""
    words = shlex.split(words) if isinstance(words, str) else words
    return read(PROGRAMS[program].settings, words, TASKS[task].settings)


def domain_of(settings, space=None):
    """The domain of a program's settings."""
    [row] = [row for row in TASKS.values() if row.settings is type(settings.task)]
    return row.load()(settings.task, space)


def command_of(config):
    """Program, task and options of a YAML's trial command."""
    command, program, task, *words = shlex.split(config["trialCommand"])
    assert command == "nni-magic"
    return program, task, words
