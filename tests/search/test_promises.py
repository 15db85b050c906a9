"""Promises and deletions against brute force."""

import itertools
import math

import numpy as np
import pytest
from spaces import MixedSpace

from nni_magic.children.samples import random_sample
from nni_magic.samplers import UniformSampler
from nni_magic.search.promises import deletions, promises

SPACE = {"a": [0, 1, 2, 3], "b": ["x", "y"], "c": [[0], [1], [0, 1]], "d": ["only"]}

every_mode = pytest.mark.parametrize("mode", ["min", "max"])
every_seed = pytest.mark.parametrize("seed", range(10))


def drawn(seed, n):
    rng = np.random.default_rng(seed)
    children = [random_sample(SPACE, rng) for _ in range(n)]
    return children, rng.normal(size=n).round(1).tolist()  # rounded: some are equal


@every_seed
@pytest.mark.parametrize("n", [1, 4, 40])
def test_promises_are_means_over_the_children_that_hold_a_candidate(seed, n):
    children, scores = drawn(seed, n)
    found = promises(children, scores, SPACE)
    assert list(found) == list(SPACE)
    for label, choices in SPACE.items():
        for choice, promise in zip(choices, found[label], strict=True):
            held = [s for c, s in zip(children, scores, strict=True) if c[label] == choice]
            assert promise == pytest.approx(np.mean(held) if held else math.nan, nan_ok=True)


def test_promises_leave_out_children_that_lack_the_block():
    sampler = UniformSampler(MixedSpace(), seed=0)
    children = [sampler.next() for _ in range(300)]
    # Whatever an inactive block is said to hold changes nothing.
    scores = [
        float(child["depth"] >= 3 and child["op_3"] == "skip") + 0.6 * (child["op_1"] == "skip")
        for child in children
    ]
    found = promises(children, scores, sampler.candidates, sampler.active_labels)
    skip = sampler.candidates["op_3"].index("skip")
    deep = [(c, s) for c, s in zip(children, scores, strict=True) if c["depth"] >= 3]
    assert found["op_3"][skip] == pytest.approx(
        np.mean([s for child, s in deep if child["op_3"] == "skip"])
    )
    assert found["op_3"][skip] > 1
    [worst] = deletions(found, sampler.candidates, 1, "min")
    assert worst == ("op_3", "skip")


def deletions_by_hand(promise, n_drop, mode, feasible):
    """Repeatedly the worst candidate that may go, over all pairs."""
    left = {label: list(choices) for label, choices in SPACE.items()}
    tried, dropped = [], []
    worst = max if mode == "min" else min
    while len(dropped) < n_drop:
        open_ = [
            (label, i) for label, choices in SPACE.items() for i in range(len(choices))
            if (label, i) not in tried
        ]  # fmt: skip
        known = [pair for pair in open_ if not math.isnan(promise[pair[0]][pair[1]])]
        if not open_:
            break
        pick = worst(known, key=lambda p: promise[p[0]][p[1]]) if known else open_[0]
        tried.append(pick)
        label, choice = pick[0], SPACE[pick[0]][pick[1]]
        fewer = {**left, label: [c for c in left[label] if c != choice]}
        if fewer[label] and feasible(fewer):
            left = fewer
            dropped.append((label, choice))
    return dropped


def valid(candidates):
    """Some child has different digits in its labels: a constraint that couples them."""
    return any(
        (c["a"] + len(c["c"])) % 2 == 0 and (c["b"] == "x") == (c["a"] < 2)
        for c in (dict(zip(candidates, row, strict=True))
                  for row in itertools.product(*candidates.values()))
    )  # fmt: skip


@every_mode
@every_seed
@pytest.mark.parametrize("n", [2, 40])
@pytest.mark.parametrize("n_drop", [1, 3, 5, 100])
@pytest.mark.parametrize("feasible", [lambda candidates: True, valid])
def test_deletions_are_the_worst_that_may_go(mode, seed, n, n_drop, feasible):
    promise = promises(*drawn(seed, n), SPACE)
    found = deletions(promise, SPACE, n_drop, mode, feasible)
    assert found == deletions_by_hand(promise, n_drop, mode, feasible)
    assert len(found) <= n_drop
    left = {k: [c for c in v if (k, c) not in found] for k, v in SPACE.items()}
    assert all(left.values()) and feasible(left)
    if n_drop == 100:
        assert all(len(choices) == 1 for choices in left.values())


@every_mode
def test_candidates_without_a_promise_go_last(mode):
    promise = {"a": [1.0, math.nan, 2.0, math.nan]}
    order = deletions(promise, {"a": [0, 1, 2, 3]}, 3, mode)
    assert order == [("a", 2 if mode == "min" else 0), ("a", 0 if mode == "min" else 2), ("a", 1)]
