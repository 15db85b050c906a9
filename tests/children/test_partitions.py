"""Groups of candidates: against a brute force over all assignments."""

from itertools import product

import numpy as np
import pytest

from nni_magic.children.partitions import count_partitions, equal_groups, group_sizes, min_cut


def every_partition(n, n_groups):
    """All partitions into groups of equal size, from all assignments of members to groups."""
    found = set()
    for assignment in product(range(n_groups), repeat=n):
        groups = [[i for i in range(n) if assignment[i] == g] for g in range(n_groups)]
        if sorted(map(len, groups)) == sorted(group_sizes(n, n_groups)):
            found.add(tuple(sorted(map(tuple, groups))))
    return found


SIZES = [(2, 2), (3, 2), (4, 2), (5, 2), (6, 2), (6, 3), (7, 3), (4, 4)]


@pytest.mark.parametrize(("n", "n_groups"), SIZES)
def test_min_cut_is_the_brute_force_one(n, n_groups):
    for seed in range(5):
        half = np.random.default_rng(seed).normal(size=(n, n))
        similarity = half + half.T

        def cut(groups, similarity=similarity):
            of = {member: g for g, group in enumerate(groups) for member in group}
            pairs = [(i, j) for i in of for j in of if of[i] < of[j]]
            return np.mean([similarity[pair] for pair in pairs])

        groups, value = min_cut(similarity, n_groups)
        assert sorted(member for group in groups for member in group) == list(range(n))
        least = min(every_partition(n, n_groups), key=cut)
        assert tuple(sorted(map(tuple, groups))) == least
        assert value == pytest.approx(cut(least))


@pytest.mark.parametrize(("n", "n_groups"), SIZES)
def test_partitions_are_counted(n, n_groups):
    assert count_partitions(n, n_groups) == len(every_partition(n, n_groups))


@pytest.mark.parametrize(("n", "n_groups"), SIZES)
def test_equal_groups_are_a_partition_in_order(n, n_groups):
    groups = equal_groups(n, n_groups)
    assert [member for group in groups for member in group] == list(range(n))
    assert list(map(len, groups)) == group_sizes(n, n_groups)
