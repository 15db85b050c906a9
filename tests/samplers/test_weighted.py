"""Candidates by gradient norms: against a brute-force count, and frequencies of the draws."""

import math
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from spaces import FlatSpace, MixedSpace

from nni_magic.samplers import UniformSampler
from nni_magic.samplers.weighted import WeightedSampler, mixed
from nni_magic.supernet.step import Step, Turn


def at(epoch, progress):
    """Stands for a probe."""
    return SimpleNamespace(epoch=epoch, progress=progress)


def norm_of(child):
    """A gradient norm that depends on all candidates of a child."""
    return 1.0 + sum((n + 1) * int(choice) ** 2 for n, choice in enumerate(child.values()))


def train(sampler, epoch, progress, steps):
    """Run an epoch of steps with norms; gives the children."""
    children = []
    for _ in range(steps):
        [turn] = sampler.turns(at(epoch, progress))
        sampler.tell(Step([turn], gradient_norm=torch.tensor(norm_of(turn.child))))
        children.append(turn.child)
    return children


def test_probabilities_are_those_of_a_brute_force_count():
    sampler = WeightedSampler(FlatSpace(), seed=0)
    children = train(sampler, 0, 0.0, 60)
    sampler.turns(at(1, 0.4))
    for label, choices in sampler.candidates.items():
        means = [
            np.mean([norm_of(child) for child in children if child[label] == choice])
            for choice in choices
        ]
        expected = [0.4 * mean / sum(means) + 0.6 / len(choices) for mean in means]
        assert sampler.probabilities(label) == pytest.approx(expected, rel=1e-12)


def test_candidates_are_drawn_with_their_probabilities():
    sampler = WeightedSampler(FlatSpace(), seed=0)
    train(sampler, 0, 0.0, 60)
    drawn = [sampler.turns(at(1, 0.9))[0].child for _ in range(2000)]
    for label, choices in sampler.candidates.items():
        counts = Counter(child[label] for child in drawn)
        expected = 2000 * sampler.probabilities(label)
        assert chisquare([counts[choice] for choice in choices], expected).pvalue > 1e-3
        assert chisquare([counts[choice] for choice in choices]).pvalue < 1e-3  # not uniform


def test_first_epoch_draws_as_spos():
    sampler, spos = (kind(FlatSpace(), seed=4) for kind in (WeightedSampler, UniformSampler))
    assert train(sampler, 0, 0.0, 30) == [spos.next() for _ in range(30)]


def test_candidate_that_no_child_held_keeps_its_norm():
    sampler = WeightedSampler(FlatSpace(n_blocks=1), seed=0)
    for epoch, seen in enumerate([{0: 6.0, 1: 2.0, 2: 4.0}, {0: 1.0}, {}]):
        sampler.turns(at(epoch, 0.5))
        for choice, norm in seen.items():
            turn = Turn({"block_1": sampler.candidates["block_1"][choice]})
            sampler.tell(Step([turn], gradient_norm=torch.tensor(norm)))
    assert sampler.norms == {"block_1": [1.0, 2.0, 4.0]}


@pytest.mark.parametrize("norm", [None, torch.tensor(math.inf), torch.tensor(math.nan)])
def test_steps_without_a_finite_norm_do_not_count(norm):
    sampler = WeightedSampler(FlatSpace(), seed=0)
    sampler.tell(Step(sampler.turns(at(0, 0.0)), gradient_norm=norm))
    sampler.turns(at(1, 0.5))
    assert all(own == [None] * 3 for own in sampler.norms.values())


def test_inactive_candidates_do_not_count():
    sampler = WeightedSampler(MixedSpace(), seed=0)
    child = sampler.turns(at(0, 0.0))[0].child
    child |= {"depth": 1}
    sampler.tell(Step([Turn(child)], gradient_norm=torch.tensor(2.0)))
    sampler.turns(at(1, 0.5))
    known = {label for label, norms in sampler.norms.items() if any(norms)}
    assert {"depth", "op_1"} <= known
    assert not {"op_2", "op_3"} & known


def test_deleted_candidates_are_not_drawn_and_the_filter_holds():
    sampler = WeightedSampler(FlatSpace(), seed=0, filter=lambda child: child["block_2"] != 1)
    train(sampler, 0, 0.0, 30)
    train(sampler, 1, 0.5, 5)
    sampler.restrict({"block_1": [0, 2]})
    assert sampler.probabilities("block_1").sum() == pytest.approx(1)
    children = train(sampler, 1, 0.5, 100)
    assert {child["block_1"] for child in children} == {0, 2}
    assert {child["block_2"] for child in children} == {0, 2}


@pytest.mark.parametrize("steps", [3, 25])
def test_goes_on_from_its_state(steps):
    sampler, again = (WeightedSampler(FlatSpace(), seed=seed) for seed in (0, 1))
    train(sampler, 0, 0.0, 20)
    train(sampler, 1, 0.5, steps)
    again.load_state_dict(sampler.state_dict())
    assert train(again, 1, 0.5, 5) == train(sampler, 1, 0.5, 5)
    assert train(again, 2, 0.8, 5) == train(sampler, 2, 0.8, 5)
    assert again.norms == sampler.norms
    sampler.reset(0)
    assert train(sampler, 0, 0.0, 5) == train(WeightedSampler(FlatSpace(), seed=0), 0, 0.0, 5)


@pytest.mark.parametrize(
    ("norms", "expected"),
    [([0.0, 0.0], [0.5, 0.5]), ([math.nan, math.nan], [0.5, 0.5]), ([math.nan, 2.0], [0.5, 0.5]),
     ([0.0, 4.0], [0.0, 1.0])],
)  # fmt: skip
def test_norms_that_say_nothing_are_uniform(norms, expected):
    assert mixed(norms, 1.0).tolist() == expected
