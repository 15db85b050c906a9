"""Generated samples, spaces and states of searches, and what becomes of each.

Each function draws one, and gives it in words, and what is wrong; see
:mod:`experiments.faults.generated`.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from nni.mutable import Categorical

from experiments.faults.nonsense import told
from experiments.faults.values import ANYTHING, NESTED, PLAIN
from nni_magic.children.json_samples import in_space, json_form
from nni_magic.children.samples import check_sample
from nni_magic.samplers import GradualSampler
from nni_magic.search import Population

__all__ = ["samples_kind", "spaces_kind", "states_kind"]

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
