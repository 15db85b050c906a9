"""Children that share a batch."""

import pytest
from spaces import FlatSpace

from nni_magic.samplers import UniformSampler
from nni_magic.samplers.parts import PartsSampler


def test_every_child_has_a_part():
    sampler, alone = (
        PartsSampler(FlatSpace(), seed=2, children=3),
        UniformSampler(FlatSpace(), seed=2),
    )
    turns = sampler.turns(probe=None)
    assert [turn.part for turn in turns] == [(0, 3), (1, 3), (2, 3)]
    assert [turn.child for turn in turns] == [alone.next() for _ in range(3)]


def test_no_children_are_refused():
    with pytest.raises(ValueError, match="children is 0; accepted are whole numbers of at least 1"):
        PartsSampler(FlatSpace(), seed=2, children=0)
