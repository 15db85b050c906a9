"""Whether the choices of a space depend on each other."""

import pytest
from spaces import CellSpace, ConstrainedSpace, ConvSpace, MixedSpace, NestedSpace, supernet

from nni_magic.children.conditional import is_conditional

KINDS = [
    (ConvSpace, False), (CellSpace, False), (ConstrainedSpace, False), (NestedSpace, True),
    (MixedSpace, True),
]  # fmt: skip


@pytest.mark.parametrize(("space", "expected"), KINDS)
def test_space_is_conditional_if_choices_sit_inside_of_others(space, expected):
    assert is_conditional(space()) == expected
    assert is_conditional(supernet(space())) == expected


def test_structure_of_a_simplified_space_is_unknown():
    assert not is_conditional(NestedSpace().simplify())
