"""Samplers are seeded, leave global generators alone, and go on from their state."""

import copy
import io
import json
import random

import numpy as np
import pytest
import torch
from spaces import CellSpace, FlatSpace, MixedSpace
from walks import SAMPLERS, walk

from nni_magic.samplers import GradualSampler


@pytest.mark.parametrize("make", SAMPLERS)
def test_same_seed_same_samples_whatever_the_global_seeds(make):
    paths = []
    for seed in (1, 2):
        np.random.seed(seed)
        torch.manual_seed(seed)
        random.seed(seed)
        paths.append(walk(make(MixedSpace(), seed=7), 25))
    assert paths[0] == paths[1]
    assert walk(make(MixedSpace(), seed=8), 25) != paths[0]
    assert walk(make(MixedSpace(), seed=[7, 1]), 25) != paths[0]


@pytest.mark.parametrize("make", SAMPLERS)
def test_sampling_leaves_global_generators_alone(make):
    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), random.getstate()
    sampler = make(MixedSpace(), seed=7)
    before_walk = (
        np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), random.getstate()
    )  # fmt: skip
    walk(sampler, 5)
    sampler.restrict({"kernel": [1]})
    after = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), random.getstate()
    assert after == before_walk
    assert (before[0], before[2]) == (after[0], after[2])  # torch's initialised the space


@pytest.mark.parametrize("make", SAMPLERS)
def test_reset_starts_again(make):
    sampler = make(FlatSpace(), seed=7)
    path = walk(sampler, 10)
    sampler.reset(7)
    assert sampler.current is None
    assert walk(sampler, 10) == path


@pytest.mark.parametrize("make", SAMPLERS)
def test_next_gives_a_copy(make):
    sampler = make(FlatSpace(), seed=7)
    given = sampler.next()
    expected = dict(given)
    given.clear()
    assert sampler.current == expected


# State


def through_torch(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def through_json(state):
    return json.loads(json.dumps(state))


@pytest.mark.parametrize("carry", [copy.deepcopy, through_torch, through_json])
@pytest.mark.parametrize("make", SAMPLERS)
@pytest.mark.parametrize("space", [FlatSpace, MixedSpace, CellSpace])
def test_state_continues_the_walk_where_it_was_taken(make, carry, space):
    sampler = make(space(), seed=9)
    walk(sampler, 7)
    label = list(sampler.candidates)[-1]
    sampler.restrict({label: sampler.candidates[label][:2]})
    state = carry(sampler.state_dict())
    expected = walk(sampler, 15)
    other = make(space(), seed=0)
    other.load_state_dict(state)
    assert walk(other, 15) == expected
    assert other.candidates == sampler.candidates


def test_state_is_taken_and_not_shared():
    sampler = GradualSampler(FlatSpace(), seed=9)
    walk(sampler, 3)
    state = sampler.state_dict()
    kept = copy.deepcopy(state)
    walk(sampler, 3)
    sampler.restrict({"block_1": [0]})
    assert state == kept


def test_state_of_a_fresh_sampler_has_no_current():
    sampler = GradualSampler(FlatSpace(), seed=9)
    other = GradualSampler(FlatSpace(), seed=1)
    walk(other, 2)
    other.load_state_dict(sampler.state_dict())
    assert other.current is None
    assert walk(other, 5) == walk(sampler, 5)


def test_state_keeps_the_count_of_reseats():
    sampler = GradualSampler(FlatSpace(), seed=9)
    gone = sampler.next()["block_1"]
    sampler.restrict({"block_1": [choice for choice in range(3) if choice != gone]})
    other = GradualSampler(FlatSpace(), seed=9)
    other.load_state_dict(sampler.state_dict())
    assert other.reseated == 1


def test_state_of_another_space_raises():
    state = GradualSampler(FlatSpace(3), seed=0).state_dict()
    with pytest.raises(ValueError, match=r"another model space.*\['block_4'\]"):
        GradualSampler(FlatSpace(4), seed=0).load_state_dict(state)
