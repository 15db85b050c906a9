"""Which settings are chosen on one half of the children, and compared on the other."""

import dataclasses

import numpy as np
import pytest

from experiments.studies.ranking.comparisons import chosen
from experiments.studies.trainings import Supernets
from nni_magic.analysis.seeds import compare

TRUTH = np.arange(12.0)
FIRST, SECOND = np.arange(12) % 2 == 0, np.arange(12) % 2 == 1
SEEDS = ["0", "1", "2"]


def ranking(first, second, rng):
    """Scores by seed that rank the halves well (1), badly (-1) or at random (0)."""
    found = {}
    for seed in SEEDS:
        scores = rng.normal(size=12)
        for part, sign in ((FIRST, first), (SECOND, second)):
            scores[part] += 100 * sign * TRUTH[part]
        found[seed] = scores
    return found


@pytest.fixture
def study():
    rng = np.random.default_rng(0)
    scores = {
        "spos": ranking(0, 1, rng), "spos_long": ranking(1, 0, rng),
        "magic_t": ranking(-1, 1, rng), "magic_a": ranking(1, -1, rng),
    }  # fmt: skip
    planned = {name: Supernets(name.split("_long")[0], 1, (0, 1, 2)) for name in scores}
    return planned, scores


def test_best_of_both_sides_on_one_half_are_compared_on_the_other(study):
    plan, scores = study
    found = chosen(plan, scores, TRUTH, FIRST, SECOND)
    assert (found.supernet, found.against, found.among) == ("magic_a", "spos_long", (2, 2))
    assert found.taus == pytest.approx([1, 1])
    sides = [[scores[name][seed][SECOND] for seed in SEEDS] for name in ("spos_long", "magic_a")]
    expected = compare(TRUTH[SECOND], *sides)
    assert found.difference.mean == pytest.approx(expected.difference.mean)
    assert found.difference.mean < 0  # though it was chosen
    assert found.joint_interval == expected.joint_interval


def test_setting_of_which_seeds_are_missing_is_not_chosen(study):
    plan, scores = study
    del scores["magic_a"]["2"]
    found = chosen(plan, scores, TRUTH, FIRST, SECOND)
    assert (found.supernet, found.among) == ("magic_t", (1, 2))


def test_only_common_seeds_count(study):
    plan, scores = study
    plan["spos"] = dataclasses.replace(plan["spos"], seeds=(0, 1, 2, 3))
    scores["spos"]["3"] = TRUTH
    assert chosen(plan, scores, TRUTH, FIRST, SECOND).difference.n == 3


@pytest.mark.parametrize("side", [("magic_t", "magic_a"), ("spos", "spos_long")])
def test_without_one_side_nothing_is_chosen(study, side):
    plan, scores = study
    kept = {name: by_seed for name, by_seed in scores.items() if name not in side}
    assert chosen(plan, kept, TRUTH, FIRST, SECOND) is None


def test_two_seeds_are_too_few_to_choose_by(study):
    plan, scores = study
    for name in scores:
        plan[name] = dataclasses.replace(plan[name], seeds=(0, 1))
        del scores[name]["2"]
    assert chosen(plan, scores, TRUTH, FIRST, SECOND) is None
