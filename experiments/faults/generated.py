"""Inputs that Hypothesis makes up: settings, samples, spaces, states, YAML files, command lines.

A kind draws an input and judges what becomes of it: what means nothing must be refused by its name,
with a ``TypeError`` or a ``ValueError``, and what means something must be taken or refused by name.
"""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import hypothesis
import yaml
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from experiments.faults.generated_children import samples_kind, spaces_kind, states_kind
from experiments.faults.meanings import SETTINGS
from experiments.faults.nonsense import Meaning, Row, told
from experiments.faults.processes import in_workers
from experiments.faults.tried import Campaign, Part, Tried
from experiments.faults.values import ANYTHING, NESTED
from experiments.faults.words import LINES, WORDS, needed_by, options_of, settings_from
from nni_magic.programs.options import flat

__all__ = ["GENERATED", "KINDS", "examples"]

BATCH, SHORT = 500, 25

def _named(names: Sequence[str], error: Exception) -> bool:
    text = str(error)
    return any(re.search(rf"(?<![\w']){name}\b", text) for name in names)


def settings_kind(data: DataObject) -> tuple[str, str]:
    """One to three settings of a dataclass."""
    row: Row = data.draw(st.sampled_from(SETTINGS))
    names = data.draw(st.lists(st.sampled_from(sorted(row.meanings)), min_size=1, max_size=3,
                               unique=True))  # fmt: skip
    given = {name: data.draw(ANYTHING) for name in names}
    place = f"{row.name}({', '.join(f'{name}={told(value)}' for name, value in given.items())})"
    called = [*names, *(row.called.get(name, name) for name in names)]
    try:
        row.make(**{**row.given, **given})
    except (TypeError, ValueError) as error:
        ours = _named(called, error) and "unexpected keyword" not in str(error)
        return place, "" if ours else f"cryptic: {error!r}"
    meaningless = [name for name, value in given.items() if not row.meanings[name](value)]
    return place, f"silent: {meaningless}" if meaningless else ""


TRAIN = "train:run_trial"
AT = "magic_at"
CONCERNS = ("MagicATSettings", "Supernet", "Shrinking", "Search", "Retraining", "TrainSettings")


def _meanings(task: Any) -> dict[str, Meaning]:
    """What the settings of the training program accept, by their flat names."""
    rows = {row.name: row for row in SETTINGS}
    names = (*CONCERNS, task.settings.__name__)
    return {name: meaning for row in names for name, meaning in rows[row].meanings.items()}


def yaml_kind(data: DataObject) -> tuple[str, str]:
    """A YAML file: settings of the training program with any values, or any text."""
    program, task = data.draw(st.sampled_from([line for line in LINES if line[0].run == TRAIN]))
    options = sorted(options_of(program, task))
    names: list[str] = []
    if data.draw(st.integers(0, 4)):
        names = data.draw(st.lists(st.sampled_from(options), min_size=1, max_size=3, unique=True))
        given = {"strategy": AT, **{name: data.draw(NESTED) for name in names}}
        text = yaml.safe_dump(given)
    else:
        text = data.draw(st.text(max_size=40))
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        file.write(text)
        file.flush()
        words = ["--config", file.name]
        return text, _read_verdict(program, task, words, names or ["config", "setting"])


def _read_verdict(program: Any, task: Any, words: list[str], names: Sequence[str]) -> str:
    try:
        found = settings_from(program, task, words)
        values = flat(found) if program.run == TRAIN else {}  # which needs a strategy
    except (ValueError, FileNotFoundError) as error:
        said = [re.escape(each) for name in names for each in (name, name.replace("_", "-"))]
        return "" if _named(said, error) else f"cryptic: {error!r}"
    except Exception as error:
        return f"cryptic: {error!r}"
    if not values:
        return ""
    meanings = _meanings(task)
    known = [name for name in names if name in values and name in meanings]
    silent = {name: values[name] for name in known if not meanings[name](values[name])}
    return f"silent: {silent}" if silent else ""


WORD = st.one_of(
    st.sampled_from(WORDS), st.text(max_size=8), st.integers(-9, 99).map(str),
    st.floats().map(str), NESTED.map(lambda value: yaml.safe_dump(value).strip()),
)  # fmt: skip


def lines_kind(data: DataObject) -> tuple[str, str]:
    """A command line of any program: options with any words, without one, unknown or twice."""
    program, task = data.draw(st.sampled_from(LINES))
    options = options_of(program, task)
    flags = sorted(name for name, option in options.items() if not option.positional)
    names = data.draw(st.lists(st.sampled_from([*flags, "unknown"]), min_size=1, max_size=3))
    words = needed_by(options, names[0])
    for name in names:
        flag, word = f"--{name.replace('_', '-')}", data.draw(WORD)
        words += data.draw(st.sampled_from([[f"{flag}={word}"], [flag, word], [flag]]))
    place = f"{program.run.partition(':')[0]} {task.name if task else ''} {words}"
    with contextlib.redirect_stderr(io.StringIO()):
        return place, _read_verdict(program, task, words, [*names, *_bare(words)])


def _bare(words: Sequence[str]) -> list[str]:
    """Words that are no option; where one is too many, it is named."""
    return [word for word in words if word.strip() and not word.startswith("--")]


KINDS: dict[str, tuple[int, Callable[[DataObject], tuple[str, str]]]] = {
    "settings": (3000, settings_kind),
    "samples": (2000, samples_kind),
    "spaces": (1000, spaces_kind),
    "states": (1500, states_kind),
    "YAML files": (1500, yaml_kind),
    "command lines": (2000, lines_kind),
}
"""What is generated: how many of each, and what judges one."""


def examples(kind: str, n: int, seed: int) -> list[Tried]:
    """Make up ``n`` inputs of a kind; gives what became of each."""
    found: list[Tried] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=n, database=None, deadline=None, suppress_health_check=[*HealthCheck],
        phases=[hypothesis.Phase.generate],
    )  # fmt: skip
    @hypothesis.given(st.data())
    def draw(data: DataObject) -> None:
        place, wrong = KINDS[kind][1](data)
        found.append(Tried(kind, wrong[:300], place[:300] if wrong else ""))

    draw()
    return found


def generated(campaign: Campaign) -> list[Tried]:
    """Generate all kinds, in batches that workers share."""
    jobs = [
        (kind, SHORT if campaign.short else min(BATCH, n - begin), campaign.seed + begin)
        for kind, (n, _) in KINDS.items()
        for begin in ([0] if campaign.short else range(0, n, BATCH))
    ]
    return [each for those in in_workers(examples, jobs, campaign.workers) for each in those]


GENERATED = Part("generated", "settings, samples, spaces, states, files, lines", generated)
