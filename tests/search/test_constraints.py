"""Constraints in every form that users may give them in."""

import pytest
import torch
from nni.nas.profiler.pytorch.flops import NumParamsProfiler
from spaces import WIDTH, SizedSpace

from nni_magic.search.constraints import as_constraint


def sample(n_linear):
    return {f"block_{n}": "linear" if n <= n_linear else "skip" for n in range(1, 5)}


@pytest.fixture
def at_most_two():  # a linear layer has 20 parameters
    return {"profiler": NumParamsProfiler(SizedSpace(), torch.zeros(1, WIDTH)), "max": 40}


def allowed(constraint):
    return [n for n in range(5) if constraint(sample(n))]


def test_callable_and_none_stay_what_they_are():
    assert as_constraint(None) is None
    assert as_constraint(callable) is callable


def test_dict_is_the_arguments_of_nnis_filter(at_most_two):
    assert allowed(as_constraint(at_most_two)) == [0, 1, 2]


def test_all_of_a_sequence_must_hold_and_are_named(at_most_two):
    def skips_last(sample):
        return sample["block_1"] == "linear"

    constraint = as_constraint([at_most_two, skips_last, [lambda sample: True]])
    assert allowed(constraint) == [1, 2]
    assert "RangeProfilerFilter" in repr(constraint)
    assert "skips_last" in repr(constraint)


@pytest.mark.parametrize("filter", [3, "params", [None], [len, 3]])
def test_other_things_are_refused(filter):
    with pytest.raises(TypeError, match=r"filter is .*; accepted are a callable sample -> bool"):
        as_constraint(filter)
