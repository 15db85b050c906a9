"""Inputs that Hypothesis makes up: settings, samples, spaces, states, YAML files, command lines.

A kind draws an input and judges what becomes of it: what means nothing must be refused by its name,
with a ``TypeError`` or a ``ValueError``, and what means something must be taken or refused by name.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import json
import re
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import hypothesis
import yaml
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from nni.mutable import Categorical

from experiments.faults.meanings import SETTINGS
from experiments.faults.nonsense import VALUES, Meaning, Row, told
from experiments.faults.processes import in_workers
from experiments.faults.tried import Campaign, Part, Tried
from experiments.faults.words import LINES, WORDS, needed_by, options_of, settings_from
from nni_magic.children.json_samples import in_space, json_form
from nni_magic.children.samples import check_sample
from nni_magic.programs.options import flat
from nni_magic.samplers import GradualSampler
from nni_magic.search import Population

__all__ = ["GENERATED", "KINDS", "examples"]

BATCH, SHORT = 500, 25

PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-3, 50), st.floats(), st.text(max_size=9),
    st.sampled_from([word for word in WORDS if word != "--"]),
)  # fmt: skip
"""What JSON and YAML know, without containers."""

NESTED = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner,
                                                               max_size=2),
    max_leaves=4,
)  # fmt: skip
ANYTHING = st.one_of(NESTED, st.sampled_from(VALUES), st.binary(max_size=4), st.complex_numbers())


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


LABELS = st.text(min_size=1, max_size=4)
CHOICES = st.lists(
    st.one_of(st.integers(-3, 9), st.floats(allow_nan=False), st.text(max_size=3), st.none(),
              st.tuples(st.integers(0, 5), st.integers(0, 5))),
    min_size=1, max_size=4, unique_by=lambda choice: json.dumps(json_form(choice)),
)  # fmt: skip
CANDIDATES = st.dictionaries(LABELS, CHOICES, min_size=1, max_size=4)


def samples_kind(data: DataObject) -> tuple[str, str]:
    """A sample of a space, whole or with one thing changed, as it is or from JSON."""
    candidates = data.draw(CANDIDATES)
    sample: Any = {label: data.draw(st.sampled_from(of)) for label, of in candidates.items()}
    change = data.draw(st.sampled_from(["none", "choice", "lacks", "more", "other"]))
    label = data.draw(st.sampled_from(sorted(candidates)))
    if change == "choice":
        sample[label] = data.draw(ANYTHING)
    elif change == "lacks":
        del sample[label]
    elif change == "more":
        sample[data.draw(LABELS)] = data.draw(PLAIN)
    elif change == "other":
        sample = data.draw(ANYTHING)
    check = data.draw(st.sampled_from([check_sample, in_space]))
    place = f"{check.__name__}({told(sample)}, {told(candidates)})"
    return place, _sample_verdict(check, sample, candidates)


def _sample_verdict(check: Callable[..., Any], sample: Any, candidates: dict[str, Any]) -> str:
    try:
        found = check(sample, candidates)
    except (TypeError, ValueError) as error:
        whole = isinstance(sample, dict) and sample.keys() == candidates.keys() and all(
            _within(sample[label], of) for label, of in candidates.items()
        )  # fmt: skip
        if whole:
            return f"refused though it is of the space: {error!r}"
        return "" if "sample" in str(error) else f"cryptic: {error!r}"
    inside = sample if found is None else found
    good = inside.keys() == candidates.keys() and all(
        any(inside[label] is known or inside[label] == known for known in of)
        for label, of in candidates.items()
    )
    return "" if good else "silent: it is not of the space"


def _within(choice: Any, choices: Sequence[Any]) -> bool:
    return any(type(choice) is type(known) and choice == known for known in choices)


def spaces_kind(data: DataObject) -> tuple[str, str]:
    """A walk of ``k`` changes in a space of any sizes: refused, or it can reach every child."""
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    k = data.draw(st.integers(-1, 6))
    lazy = data.draw(st.booleans())
    labels = {f"b{n}": Categorical(range(size), label=f"b{n}") for n, size in enumerate(sizes)}
    place = f"sizes {sizes}, k {k}, lazy {lazy}"
    try:
        GradualSampler(labels, seed=0, k=k, lazy=lazy)
    except ValueError as error:
        wanted = 1 <= k <= len(sizes) and (lazy or _reached(sizes, k))
        if wanted:
            return place, f"refused though it reaches all: {error}"
        return place, "" if str(error).startswith("k is ") else f"cryptic: {error!r}"
    return place, "" if lazy or _reached(sizes, k) else "silent: some children are never reached"


def _reached(sizes: Sequence[int], k: int) -> bool:
    """Whether steps that change exactly ``k`` labels lead everywhere, by walking them all."""
    if not 1 <= k <= max(1, sum(size > 1 for size in sizes)):
        return False
    children = [*itertools.product(*map(range, sizes))]
    seen, todo = {children[0]}, [children[0]]
    while todo:
        here = todo.pop()
        near = {child for child in children
                if sum(a != b for a, b in zip(here, child, strict=True)) == k} - seen  # fmt: skip
        seen |= near
        todo += near
    return len(seen) == len(children)


def _population() -> Population:
    labels = {f"b{n}": Categorical(range(3), label=f"b{n}") for n in range(3)}
    return Population(labels, size=3, seed=1)


@functools.cache
def _state() -> str:
    population = _population()
    population.tell(population.ask(), [0.5, 1.5, 2.5])
    return json.dumps(population.state_dict())


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where values are inside nested containers."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, each in inside:
        found.append((*place, key))
        if isinstance(each, (dict, list)):
            found += _places(each, (*place, key))
    return found


def states_kind(data: DataObject) -> tuple[str, str]:
    """The state of a search, with one thing in it changed or missing."""
    state = json.loads(_state())
    *path, last = data.draw(st.sampled_from(_places(state)))
    holder = state
    for key in path:
        holder = holder[key]
    old = holder[last]
    if data.draw(st.booleans()):
        del holder[last]
        new: Any = "nothing"
    else:
        new = holder[last] = data.draw(NESTED)
    place = f"state{[*path, last]} is {told(new)} in place of {told(old)}"
    population = _population()
    try:
        population.load_state_dict(state)
        population.ask()
        population.best()
    except (TypeError, ValueError) as error:
        return place, "" if re.search(r"\b(state|sample)", str(error)) else f"cryptic: {error!r}"
    except Exception as error:
        return place, f"cryptic: {error!r}"
    return place, "" if _is_a_state(state) else "silent: it is no state of a search"


def _is_a_state(state: Any) -> bool:
    """Whether a state, as JSON gives it, has a meaning: written down once more."""
    counts = all(
        type(state.get(name)) is int and state[name] >= 0 for name in ("seed", "generation")
    )
    return counts and isinstance(state.get("scored"), list) and all(
        isinstance(each, list) and len(each) == 2
        and isinstance(each[0], dict) and each[0].keys() == {"b0", "b1", "b2"}
        and all(choice in range(3) for choice in each[0].values())
        and isinstance(each[1], (int, float)) and not isinstance(each[1], bool)
        for each in state["scored"]
    )  # fmt: skip


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
    except (ValueError, FileNotFoundError) as error:
        said = [re.escape(each) for name in names for each in (name, name.replace("_", "-"))]
        return "" if _named(said, error) else f"cryptic: {error!r}"
    except Exception as error:
        return f"cryptic: {error!r}"
    if program.run != TRAIN:
        return ""
    values, meanings = flat(found), _meanings(task)
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
