"""What a child costs: given, or the number of its parameters."""

import pytest
import torch
from nni.nas.profiler import Profiler
from nni.nas.profiler.pytorch.flops import FlopsProfiler, NumParamsProfiler
from spaces import ConvSpace, SizedSpace
from training import make

from nni_magic.children.samples import candidates

IMAGES = torch.zeros(1, 1, 8, 8)


def test_cost_is_the_number_of_parameters_unless_one_is_given():
    space = ConvSpace()
    child = {label: choices[0] for label, choices in candidates(space).items()}
    theirs = NumParamsProfiler(space, IMAGES)
    assert make("sandwich").cost_in(space)(child) == theirs.profile(child)
    flops = FlopsProfiler(space, IMAGES)
    assert make("sandwich", cost=flops).cost_in(space)(child) == flops.profile(child)


def test_what_is_no_profiler_is_refused():
    with pytest.raises(TypeError, match="cost is 'flops'; accepted are profilers of NNI, such as"):
        make("sandwich", cost="flops")


def test_profiler_that_cannot_sum_is_refused():
    class Measured(Profiler):
        def __init__(self):
            pass

    with pytest.raises(ValueError, match="cost is a Measured, whose costs are no sum over choices"):
        make("sandwich", cost=Measured())


def test_cost_of_another_space_is_refused():
    cost = FlopsProfiler(ConvSpace(), IMAGES)
    with pytest.raises(ValueError, match=r"^cost: it depends on labels .*, which the space does"):
        make("sandwich", cost=cost).cost_in(SizedSpace(n_blocks=2))
