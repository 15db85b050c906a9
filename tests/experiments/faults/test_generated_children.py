"""Samples that are taken wrongly are found, and walks that reach every child are known."""

import pytest

from experiments.faults import generated_children
from experiments.faults.generated import examples
from nni_magic.children.json_samples import in_space


def lenient(sample, candidates):
    return sample if isinstance(sample, dict) else in_space(sample, candidates)


def test_sample_that_is_taken_wrongly_is_found(monkeypatch):
    monkeypatch.setattr(generated_children, "in_space", lenient)
    found = examples("samples", 100, seed=0)
    assert "silent: it is not of the space" in {each.wrong for each in found}


@pytest.mark.parametrize(("sizes", "k", "reached"), [
    ([2, 2, 2], 1, True), ([2, 2, 2], 2, False), ([2, 2, 3], 2, True), ([2, 2, 3], 3, False),
    ([3, 3], 2, True), ([1, 1], 1, True), ([1, 2], 2, False), ([3], 0, False),
])  # fmt: skip
def test_walks_that_reach_every_child_are_known(sizes, k, reached):
    assert generated_children._reached(sizes, k) is reached
