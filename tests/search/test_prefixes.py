"""The prefix tree against brute force on random keys."""

import numpy as np
import pytest

from nni_magic.search.prefixes import PrefixTree


def random_keys(seed, n=30, steps=5, choices=3):
    """Keys of children: words, numbers or tuples, and now and then a step left out."""
    rng = np.random.default_rng(seed)
    names = [None, "a", ("b", 1), 7][: choices + 1]
    return [tuple(names[i] for i in row) for row in rng.integers(0, choices + 1, (n, steps))]


CASES = [random_keys(seed) for seed in range(20)] + [
    random_keys(0, n=1), random_keys(1, steps=1), random_keys(2, n=200, steps=3, choices=1),
    [(None, None)] * 3, [("a", None, "b"), ("a", None, "b"), ("a", "b", None)],
]  # fmt: skip

every_case = pytest.mark.parametrize("keys", CASES)


@every_case
def test_calls_are_the_different_beginnings_that_end_in_a_key(keys):
    steps = len(keys[0])
    expected = {row[: step + 1] for row in keys for step in range(steps) if row[step] is not None}
    assert PrefixTree.of(keys).n_calls == len(expected)


def check(tree, keys, members):
    """Compare a tree with the beginnings of its children, ``members`` of all."""
    rows = {child: keys[child] for child in members}
    known = {}
    for step in range(len(keys[0])):
        children = tree.children(step)
        assert sorted(map(sorted, children)) == sorted(
            sorted(some) for some in beginnings_of(rows, step).values()
        )
        parents = tree.parents(step)
        assert len(parents) == len(children)
        for node, some in enumerate(children):
            beginning = keys[some[0]][: step + 1]
            known[step, node] = beginning
            if step == 0:
                assert parents[node] == 0
            else:
                assert known[step - 1, parents[node]] == beginning[:-1]
        groups = tree.groups(step)
        assert sorted(node for nodes in groups.values() for node in nodes) == list(
            range(len(children))
        )
        by_key = {}
        for code, nodes in groups.items():
            found = {known[step, node][-1] for node in nodes}
            assert len(found) == 1
            by_key[code] = found.pop()
            assert (code == 0) == (by_key[code] is None)
        assert len(set(map(repr, by_key.values()))) == len(by_key)


def beginnings_of(rows, step):
    found = {}
    for child, row in rows.items():
        found.setdefault(row[: step + 1], []).append(child)
    return found


@every_case
def test_nodes_are_the_different_beginnings(keys):
    tree = PrefixTree.of(keys)
    assert sorted(tree.order.tolist()) == list(range(len(keys)))
    check(tree, keys, range(len(keys)))


@every_case
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_parts_are_trees_of_their_children(keys, size):
    tree = PrefixTree.of(keys)
    seen = []
    for start in range(0, len(keys), size):
        part = tree.part(start, start + size)
        members = part.order.tolist()
        assert 1 <= len(members) <= size
        seen += members
        check(part, keys, members)
        alone = PrefixTree.of([keys[child] for child in members])
        assert part.n_calls == alone.n_calls
    assert seen == tree.order.tolist()


@every_case
def test_first_is_the_place_of_a_nodes_first_child(keys):
    tree = PrefixTree.of(keys)
    for step in range(len(keys[0])):
        for node, place in enumerate(tree.first(step)):
            members = np.flatnonzero(tree.node[:, step] == node)
            assert place == members.min()


@pytest.mark.parametrize("n", [1, 2, 5])
@every_case
def test_shares_are_of_all_children_and_hardly_more_steps(keys, n):
    n = min(n, len(keys))
    tree = PrefixTree.of(keys)
    shares = tree.shares(n)
    assert [index for share in shares for index in share] == tree.order.tolist()
    assert len(shares) == n
    assert all(shares)
    calls = [PrefixTree.of([keys[index] for index in share]).n_calls for share in shares]
    assert tree.n_calls <= sum(calls) <= tree.n_calls + (n - 1) * len(keys[0])


def test_shares_have_about_as_much_work():
    keys = [row for seed in range(10) for row in random_keys(seed, n=30, choices=2)]
    keys += [("b", "c", n, n, n) for n in range(100)]  # alike until they are not
    shares = PrefixTree.of(keys).shares(4)
    work = [
        len(share) + PrefixTree.of([keys[index] for index in share]).n_calls for share in shares
    ]
    assert max(work) < 1.05 * min(work)
    assert max(map(len, shares)) > 1.1 * min(map(len, shares))
