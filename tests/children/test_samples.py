"""Arithmetic on samples, against brute force over enumerated spaces."""

import itertools
import json
import os
import random
import string
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from nni.mutable import Categorical, CategoricalMultiple, MutableList, Numerical
from nni.mutable.exception import SampleValidationError
from scipy.stats import chisquare
from spaces import (
    CellSpace,
    ConstrainedSpace,
    ConvSpace,
    FlatSpace,
    MixedSpace,
    NestedSpace,
    supernet,
)

from nni_magic.children import samples

ROOT = Path(__file__).parents[2]
CANDIDATES = {"a": [0, 1, 2], "b": ["x", "y"], "c": [[0], [1], [2], [3]], "d": ["only"]}


def every(candidates):
    """All assignments, by itertools and nothing else."""
    for choices in itertools.product(*candidates.values()):
        yield dict(zip(candidates, choices, strict=True))


def frozen(sample):
    return tuple(sorted((label, repr(choice)) for label, choice in sample.items()))


def python(code, **environment):
    """Run code in a fresh interpreter and give what it prints."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip


def test_import_does_not_need_torch():
    code = "import sys, nni_magic.children.samples; print('torch' in sys.modules)"
    assert python(code) == "False"


# candidates


@pytest.mark.parametrize(
    "space", [FlatSpace, ConvSpace, MixedSpace, NestedSpace, CellSpace, ConstrainedSpace]
)
def test_candidates_are_what_nni_may_sample(space):
    space = space()
    found = samples.candidates(space)
    for label, mutable in space.simplify().items():
        if label == "differ":  # a constraint
            assert label not in found
        else:
            assert found[label] == list(mutable.grid())


@pytest.mark.parametrize("space", [FlatSpace, MixedSpace, NestedSpace, CellSpace])
def test_candidates_of_the_supernet_are_those_of_the_space(space):
    assert samples.candidates(supernet(space())) == samples.candidates(space())


def test_candidates_of_simplified_space_are_those_of_the_space():
    assert samples.candidates(MixedSpace().simplify()) == samples.candidates(MixedSpace())


def test_candidates_labels_are_plain_strings():
    assert {type(label) for label in samples.candidates(CellSpace())} == {str}


@pytest.mark.parametrize("n_chosen", [None, 1, 2, 4])
def test_candidates_of_several_inputs_are_nnis_grid(n_chosen):
    mutable = CategoricalMultiple("pqrs", n_chosen=n_chosen, label="in")
    assert samples.candidates(mutable)["in"] == list(mutable.grid())


def test_candidates_are_the_callers_to_change():
    space = FlatSpace()
    samples.candidates(space)["block_1"].clear()
    assert samples.candidates(space)["block_1"] == [0, 1, 2]


def test_candidates_numerical_raises():
    with pytest.raises(TypeError, match=r"'lr' is a Numerical.*finitely many"):
        samples.candidates(MutableList([Numerical(0, 1, label="lr")]))


def test_candidates_of_nothing_raises():
    with pytest.raises(ValueError, match="FlatSpace has no choices"):
        samples.candidates(FlatSpace(n_blocks=0))


def test_candidates_of_too_many_subsets_raises():
    with pytest.raises(ValueError, match="'in' has 131072 choices; accepted are at most 65536"):
        samples.candidates(CategoricalMultiple(range(17), label="in"))


# active labels


def test_active_labels_of_a_flat_space_are_all():
    assert samples.active_labels(
        FlatSpace(), {"block_1": 0, "block_2": 1, "block_3": 2}
    ) == {"block_1", "block_2", "block_3"}  # fmt: skip


@pytest.mark.parametrize("convert", [lambda space: space, supernet], ids=["space", "supernet"])
def test_active_labels_of_repeat_end_at_its_depth(convert):
    space = convert(MixedSpace())
    for sample in every(samples.candidates(space)):
        blocks = {f"op_{n}" for n in range(1, sample["depth"] + 1)}
        assert samples.active_labels(space, sample) == {"depth", "kernel", "inputs"} | blocks


@pytest.mark.parametrize("convert", [lambda space: space, supernet], ids=["space", "supernet"])
def test_active_labels_of_nested_choice_need_its_candidate(convert):
    space = convert(NestedSpace())
    for sample in every(samples.candidates(space)):
        inner = {"inner"} if sample["outer"] == "nested" else set()
        assert samples.active_labels(space, sample) == {"outer", "tail"} | inner


def test_active_labels_leave_the_sample_alone():
    sample = {"outer": "nested", "inner": 2, "tail": 0}
    samples.active_labels(NestedSpace(), sample)
    assert sample == {"outer": "nested", "inner": 2, "tail": 0}
    assert type(sample) is dict


def test_active_labels_ignore_a_wrong_choice_of_an_inactive_label():
    sample = {"outer": "plain", "inner": "no such candidate", "tail": 0}
    assert samples.active_labels(NestedSpace(), sample) == {"outer", "tail"}


def test_active_labels_of_a_foreign_sample_raises():
    with pytest.raises(SampleValidationError, match="not found in"):
        samples.active_labels(NestedSpace(), {"outer": "plain", "tail": 9})


# random samples


def test_random_sample_is_uniform_over_the_product():
    rng = np.random.default_rng(5)
    counts = Counter(frozen(samples.random_sample(CANDIDATES, rng)) for _ in range(4800))
    everything = [frozen(sample) for sample in every(CANDIDATES)]
    assert set(counts) == set(everything)
    assert chisquare([counts[sample] for sample in everything]).pvalue > 1e-3


def test_random_sample_keeps_the_order_of_labels():
    sample = samples.random_sample(CANDIDATES, np.random.default_rng(0))
    assert list(sample) == list(CANDIDATES)


# distance


def test_distance_is_the_hamming_distance():
    for a, b in itertools.product(every(CANDIDATES), repeat=2):
        assert samples.distance(a, b) == sum(a[label] != b[label] for label in a)


def test_distance_does_not_depend_on_the_order_of_labels():
    a = {"p": 0, "q": 1}
    assert samples.distance(a, {"q": 1, "p": 0}) == 0
    assert samples.distance(a, {"q": 0, "p": 0}) == 1


def test_distance_counts_labels_active_in_either_sample():
    space = NestedSpace()

    def describe(sample):
        """What the child is made of: inactive labels left out."""
        left_out = {"inner"} if sample["outer"] == "plain" else set()
        return {label: choice for label, choice in sample.items() if label not in left_out}

    for a, b in itertools.product(every(samples.candidates(space)), repeat=2):
        either = describe(a).keys() | describe(b).keys()
        expected = sum(a[label] != b[label] for label in either)
        found = samples.distance(a, b, lambda sample: samples.active_labels(space, sample))
        assert found == expected
        if describe(a) == describe(b):  # one and the same child
            assert found == 0


def test_distance_between_different_labels_raises():
    with pytest.raises(ValueError, match=r"different labels: \['b', 'c'\]"):
        samples.distance({"a": 0, "b": 0}, {"a": 0, "c": 0})


# neighbours


def test_neighbours_are_all_samples_at_distance_one():
    everything = list(every(CANDIDATES))
    for sample in everything:
        expected = {
            frozen(other)
            for other in everything
            if sum(other[label] != sample[label] for label in sample) == 1
        }
        found = [frozen(other) for other in samples.neighbours(sample, CANDIDATES)]
        assert len(found) == len(set(found)) == sum(len(c) - 1 for c in CANDIDATES.values())
        assert set(found) == expected


def test_neighbours_of_some_labels_change_only_these():
    sample = {"a": 0, "b": "x", "c": [0], "d": "only"}
    changed = [
        {label for label in sample if other[label] != sample[label]}
        for other in samples.neighbours(sample, CANDIDATES, ["b", "a"])
    ]
    assert changed == [{"b"}, {"a"}, {"a"}]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_neighbour_is_uniform_over_samples_at_distance_k(k):
    """All C-1 choices of a label are alike, so classes of labels weigh 1 / prod(C-1)."""
    sample = {"a": 0, "b": "x", "c": [0], "d": "only"}
    expected = {}
    for labels in itertools.combinations("abc", k):
        others = [[choice for choice in CANDIDATES[n] if choice != sample[n]] for n in labels]
        for choices in itertools.product(*others):
            other = frozen({**sample, **dict(zip(labels, choices, strict=True))})
            n_sets = len(list(itertools.combinations("abc", k)))
            expected[other] = 1 / n_sets / np.prod([len(choices) for choices in others])
    rng = np.random.default_rng(k)
    n = 3000
    counts = Counter(frozen(samples.neighbour(sample, CANDIDATES, rng, k)) for _ in range(n))
    assert set(counts) == set(expected)
    observed = [counts[other] for other in expected]
    assert chisquare(observed, [n * p for p in expected.values()]).pvalue > 1e-3
    assert sample == {"a": 0, "b": "x", "c": [0], "d": "only"}


def test_neighbour_changes_only_the_labels_given():
    rng = np.random.default_rng(0)
    sample = {"a": 0, "b": "x", "c": [0], "d": "only"}
    for _ in range(50):
        found = samples.neighbour(sample, CANDIDATES, rng, 2, ["a", "c"])
        assert {n for n in sample if found[n] != sample[n]} == {"a", "c"}


@pytest.mark.parametrize("k", [0, -1, 4])
def test_neighbour_k_out_of_range_raises(k):
    sample = {"a": 0, "b": "x", "c": [0], "d": "only"}
    with pytest.raises(ValueError, match=f"k is {k}; accepted are 1 to 3, the number of labels"):
        samples.neighbour(sample, CANDIDATES, np.random.default_rng(0), k)


def test_neighbour_of_labels_with_one_candidate_raises():
    with pytest.raises(ValueError, match="accepted are 1 to 0"):
        samples.neighbour({"d": "only"}, {"d": ["only"]}, np.random.default_rng(0))


# crossover


def test_crossover_takes_each_label_from_one_parent_with_equal_chance():
    a = {"p": 0, "q": "x", "r": [0]}
    b = {"p": 1, "q": "y", "r": [1]}
    rng = np.random.default_rng(3)
    counts = Counter(frozen(samples.crossover(a, b, rng)) for _ in range(1600))
    mixtures = [frozen(mix) for mix in every({label: [a[label], b[label]] for label in a})]
    assert set(counts) == set(mixtures)
    assert chisquare([counts[mix] for mix in mixtures]).pvalue > 1e-3


def test_crossover_of_equal_parents_is_the_parent():
    a = {"p": 0, "q": "x"}
    assert samples.crossover(a, dict(a), np.random.default_rng(0)) == a


def test_crossover_of_different_labels_raises():
    with pytest.raises(ValueError, match=r"different labels: \['p', 'q'\]"):
        samples.crossover({"p": 0}, {"q": 0}, np.random.default_rng(0))


# digest


def test_digest_is_sixteen_hexadecimal_digits():
    found = samples.digest({"a": 0})
    assert len(found) == 16
    assert set(found) <= set(string.hexdigits.lower())


def test_digest_does_not_depend_on_the_order_of_labels():
    sample = next(itertools.islice(every(CANDIDATES), 7, None))
    shuffled = list(sample.items())
    random.Random(0).shuffle(shuffled)
    assert samples.digest(dict(shuffled)) == samples.digest(sample)


def test_digest_distinguishes_all_samples_of_a_space():
    everything = list(every(samples.candidates(MixedSpace())))
    assert len({samples.digest(sample) for sample in everything}) == len(everything) == 729


def test_digest_is_the_same_in_another_process():
    sample = {"b": "conv", "a": 1, "c": [0, 2], "d": {"kernel": 3, "act": None}}
    code = f"from nni_magic.children.samples import digest; print(digest({sample!r}))"
    assert python(code, PYTHONHASHSEED="77") == samples.digest(sample)


def test_digest_of_numpy_scalars_is_that_of_pythons():
    numpy_sample = {"a": np.int64(3), "b": np.float64(0.5), "c": np.str_("x"), "d": np.bool_(1)}
    assert samples.digest(numpy_sample) == samples.digest({"a": 3, "b": 0.5, "c": "x", "d": True})


def test_digest_survives_json():
    sample = {"a": (3, 3), "b": [0, 1], "c": 0.1, "d": "é"}
    assert samples.digest(json.loads(json.dumps(sample))) == samples.digest(sample)


def test_digest_of_other_values_tells_them_apart():
    assert samples.digest({"a": complex(1, 2)}) != samples.digest({"a": complex(1, 3)})


def test_digest_of_nnis_own_random_sample_is_that_of_ours():
    space = Categorical(["p", "q"], label="op")
    memo = {}
    space.random(memo)
    assert samples.digest(memo) == samples.digest({"op": memo["op"]})


# check_sample


def test_check_sample_accepts_every_sample_of_a_space():
    for sample in every(CANDIDATES):
        samples.check_sample(sample, CANDIDATES)
        samples.check_sample(dict(reversed(sample.items())), CANDIDATES)


@pytest.mark.parametrize(("change", "message"), [
    ({"a": None}, r"of another space: it lacks \['a'\]$"),
    ({"e": 1, "f": 2}, r"of another space: it has unknown labels \['e', 'f'\]$"),
    ({"a": None, "b": None, "e": 1}, r"it lacks \['a', 'b'\]; it has unknown labels \['e'\]$"),
    ({"a": 3}, r"the sample's 'a' is 3; accepted are \[0, 1, 2\]"),
    ({"c": [4]}, r"the sample's 'c' is \[4\]; accepted are \[\[0\], \[1\]"),
])  # fmt: skip
def test_check_sample_names_what_is_wrong(change, message):
    sample = {**next(every(CANDIDATES)), **change}
    sample = {label: choice for label, choice in sample.items() if choice is not None}
    with pytest.raises(ValueError, match=message):
        samples.check_sample(sample, CANDIDATES)
