"""What all samplers share; constraints, restriction and state have files of their own."""

import pytest
from nni.mutable import MutableList, Numerical
from nni.nas.hub.pytorch import NasBench101
from spaces import CellSpace, ConvSpace, FlatSpace, MixedSpace, NestedSpace
from walks import (
    walk,
)

from nni_magic.children import samples
from nni_magic.samplers import GradualSampler, Sampler, UniformSampler
from nni_magic.supernet.step import Step, Turn


@pytest.mark.parametrize("space", [ConvSpace, MixedSpace, NestedSpace, CellSpace])
@pytest.mark.parametrize("sampler", [UniformSampler, GradualSampler])
def test_samples_belong_to_the_space(space, sampler):
    space = space()
    assert all(space.contains(sample) for sample in walk(sampler(space, seed=0), 30))


def test_distance_ignores_labels_inactive_in_both_samples():
    sampler = UniformSampler(NestedSpace(), seed=0)
    a = {"outer": "plain", "inner": 0, "tail": 0}
    assert sampler.distance(a, {**a, "inner": 1}) == 0
    assert sampler.distance(a, {**a, "inner": 1, "outer": "nested"}) == 2
    assert UniformSampler(NestedSpace().simplify(), seed=0).distance(a, {**a, "inner": 1}) == 1


# Errors


@pytest.mark.parametrize("sampler", [UniformSampler, GradualSampler])
def test_space_without_choices_raises(sampler):
    with pytest.raises(ValueError, match="FlatSpace has no choices"):
        sampler(FlatSpace(n_blocks=0), seed=0)


@pytest.mark.parametrize("sampler", [UniformSampler, GradualSampler])
def test_numerical_label_raises(sampler):
    with pytest.raises(TypeError, match="'lr' is a Numerical"):
        sampler(MutableList([Numerical(0, 1, label="lr")]), seed=0)


def test_sampler_of_another_method_only_proposes():
    class First(Sampler):
        def propose(self):
            return {label: choices[0] for label, choices in self.candidates.items()}

    sampler = First(FlatSpace(2, 3), seed=0)
    assert sampler.next() == {"block_1": 0, "block_2": 0}
    sampler.restrict({"block_1": [1, 2]})
    assert sampler.next() == {"block_1": 1, "block_2": 0}


# What a step trains


def test_turns_are_the_next_child_alone_with_full_weight():
    sampler, same = (UniformSampler(FlatSpace(), seed=0) for _ in range(2))
    for _ in range(5):
        assert sampler.turns(probe=None) == [Turn(same.next())]
        assert sampler.current == same.current


def test_telling_a_sampler_that_does_not_learn_changes_nothing():
    sampler = UniformSampler(FlatSpace(), seed=0)
    [turn] = sampler.turns(probe=None)
    before = sampler.state_dict()
    sampler.tell(Step([turn]))
    assert sampler.state_dict() == before
    assert not sampler.watches_gradients


def test_children_are_named_by_their_active_labels():
    sampler = UniformSampler(NestedSpace(), seed=0)
    plain = {"outer": "plain", "inner": 0, "tail": 0}
    assert sampler.name(plain) == sampler.name({**plain, "inner": 2})
    assert sampler.name(plain) == samples.digest({"outer": "plain", "tail": 0})
    nested = {**plain, "outer": "nested"}
    assert sampler.name(nested) != sampler.name({**nested, "inner": 2})


@pytest.mark.parametrize("seed", [7, [7, 2, 5]])
def test_reset_starts_again_from_a_seed(seed):
    sampler = UniformSampler(FlatSpace(), seed=seed)
    first = walk(sampler, 10)
    sampler.reset(8)
    assert walk(sampler, 10) != first
    sampler.reset(seed)
    assert walk(sampler, 10) == first


def test_sample_given_is_the_callers_to_keep():
    sampler = GradualSampler(FlatSpace(), seed=0)
    given = sampler.next()
    kept = dict(given)
    given["block_1"] = "changed"
    assert sampler.current == kept


def test_choices_in_a_string_are_refused():
    with pytest.raises(TypeError, match=r"allowed\['block_1'\] is 'conv3'; accepted are collec"):
        UniformSampler(ConvSpace(), seed=0).restrict({"block_1": "conv3"})


def test_constraints_that_write_change_no_sample():
    def writes(sample):
        sample["found"] = 1
        return True

    space = NasBench101(8, num_stacks=1, num_modules_per_stack=1)  # its own constraint writes too
    sampler = UniformSampler(space, seed=0, filter=writes)
    assert sampler.next().keys() == sampler.current.keys() == samples.candidates(space).keys()
