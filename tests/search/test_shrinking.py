"""Promises, deletions and the schedule against brute force; see the contract for whole runs."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
from spaces import ConvSpace, FlatSpace, MixedSpace

from nni_magic.children.samples import random_sample
from nni_magic.samplers import UniformSampler
from nni_magic.search import ProgressiveShrinking
from nni_magic.search.shrinking import deletions, promises

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


# The schedule, with a stub for the trainer


def stub(space, *, max_epochs=None, max_steps=-1, batches=10, accumulated=1, epoch=0, step=0):
    return SimpleNamespace(
        sampler=UniformSampler(space, seed=0),
        trainer=SimpleNamespace(
            max_epochs=max_epochs, max_steps=max_steps, num_training_batches=batches,
            accumulate_grad_batches=accumulated, current_epoch=epoch, global_step=step,
            should_stop=False,
        ),
    )  # fmt: skip


def papers(**settings):
    """26 blocks of 4 candidates."""
    return stub(FlatSpace(26, 4), **settings)


@pytest.mark.parametrize("settings", [
    {"max_epochs": 16}, {"max_epochs": -1}, {"max_epochs": None}, {"max_epochs": 100},
    {"max_steps": 160}, {"max_steps": 151}, {"max_steps": 31, "accumulated": 6},
    {"max_epochs": 16, "max_steps": 160}, {"max_steps": 5, "batches": math.inf},
])  # fmt: skip
def test_a_schedule_that_ends_is_accepted(settings):
    ProgressiveShrinking(n_drop=5).begin(papers(**settings))


@pytest.mark.parametrize(("settings", "epochs"), [
    ({"max_epochs": 15}, 15), ({"max_epochs": 0}, 0), ({"max_steps": 150}, 15),
    ({"max_steps": 30, "accumulated": 6}, 15), ({"max_epochs": 15, "max_steps": 1000}, 15),
    ({"max_epochs": 100, "max_steps": 41}, 5),
])  # fmt: skip
def test_a_schedule_that_cannot_end_is_refused(settings, epochs):
    n_drop = math.ceil(78 / max(1, epochs))
    message = (
        rf"n_drop is 5; accepted are whole numbers of at least {n_drop}, as {epochs} epochs have "
        r"to make the 78 deletions .*; or train 16 epochs$"
    )
    with pytest.raises(ValueError, match=message):
        ProgressiveShrinking(n_drop=5).begin(papers(**settings))


@pytest.mark.parametrize(("max_epochs", "max_steps"), [(16, -1), (-1, 160), (-1, 155)])
def test_a_resumed_schedule_counts_what_is_left(max_epochs, max_steps):
    module = papers(max_epochs=max_epochs, max_steps=max_steps, epoch=10, step=104)
    shrinking = ProgressiveShrinking(n_drop=5)
    shrinking.load_state_dict({"history": [{"epoch": 10}]})
    with pytest.raises(ValueError, match="at least 13, as 6 epochs have to make the 78 deletions"):
        shrinking.begin(module)
    module.sampler.restrict({f"block_{n}": [0] for n in range(1, 17)})
    shrinking.begin(module)  # 30 are left for six epochs
    assert shrinking.history == [{"epoch": 10}]


def test_a_new_run_begins_a_new_history():
    shrinking = ProgressiveShrinking()
    shrinking.load_state_dict({"history": [{"epoch": 10}]})
    shrinking.begin(papers(max_epochs=16))
    assert shrinking.history == []


def test_one_child_left_stops_the_training_also_of_a_resumed_run():
    module = stub(ConvSpace(2), max_epochs=9, epoch=4, step=40)
    module.sampler.restrict({"block_1": ["skip"], "block_2": ["drop"]})
    shrinking = ProgressiveShrinking()
    shrinking.load_state_dict({"history": [{"epoch": 4}]})
    shrinking.begin(module)
    assert module.trainer.should_stop


@pytest.mark.parametrize("setting", [{"n_drop": 0}, {"evaluations": 1.5}, {"n_drop": True}])
def test_settings_out_of_range(setting):
    [(name, value)] = setting.items()
    with pytest.raises(ValueError, match=f"{name} is {value}; accepted are whole numbers of at"):
        ProgressiveShrinking(**setting)
