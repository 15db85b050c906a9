"""Which layer learns from which one."""

import pytest

from nni_magic.losses.layer_maps import layer_map


@pytest.mark.parametrize("student", [1, 2, 3, 4, 6, 12])
def test_map_is_that_of_tinybert_where_the_depth_is_a_multiple(student):
    assert layer_map(student, 12) == [(m, m * 12 // student) for m in range(1, student + 1)]


@pytest.mark.parametrize(("student", "teacher"), [(26, 12), (8, 6), (5, 7), (1, 1), (24, 6)])
def test_last_layers_belong_together_and_pairs_never_cross(student, teacher):
    ours, theirs = zip(*layer_map(student, teacher), strict=True)
    assert (ours[-1], theirs[-1]) == (student, teacher)
    assert len(ours) == min(student, teacher)
    assert list(ours) == sorted(set(ours)) and list(theirs) == sorted(set(theirs))
    assert min(ours) >= 1 and min(theirs) >= 1


def test_pairs_that_are_given_are_taken():
    assert layer_map(8, 6, ["2:1", "4:1", "8:5"]) == [(2, 1), (4, 1), (8, 5)]


@pytest.mark.parametrize("pair", ["9:1", "1:7", "0:1", "1:0", "4", "a:b", "1:2:3", "-1:1"])
def test_layer_that_cannot_be_mapped_is_named(pair):
    message = (f"teacher_layers holds '{pair}'; accepted are pairs as 1:1, of the child's 8 layers "
               "and the teacher's 6")  # fmt: skip
    with pytest.raises(ValueError, match=message):
        layer_map(8, 6, ["1:1", pair])


@pytest.mark.parametrize("pairs", [["2:2", "1:3"], ["2:2", "2:3"], ["1:3", "2:2"]])
def test_pairs_that_cross_are_refused(pairs):
    with pytest.raises(ValueError, match="accepted are pairs in the order of the layers, each"):
        layer_map(8, 6, pairs)
