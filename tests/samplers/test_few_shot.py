"""The split of a space into parts: which, when, and how their turns come."""

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from scipy.stats import chisquare
from spaces import ConstrainedSpace, ConvSpace, FlatSpace
from walks import every

from nni_magic.samplers import UniformSampler
from nni_magic.samplers.few_shot import FewShotSampler


class Likeness:
    """Stands for a probe: candidates of ``block_2`` are alike by their parity, others all are."""

    def __init__(self, progress=1.0):
        self.progress, self.asked = progress, []

    def gradient(self, child):
        self.asked.append(child)
        odd = child["block_2"] % 2
        return [torch.tensor([1.0, 4.0 * odd, 0.1 * child["block_1"]])]

    def dimensions(self, child):
        self.asked.append(child)
        return {"x": 10.0 * (child["block_2"] % 2) + 0.1 * child["block_1"], "y": 1.0}


def sampler_of(make=FlatSpace, n_candidates=4, **more):
    splits = []
    space = make() if make is ConvSpace else make(n_candidates=n_candidates)
    sampler = FewShotSampler(
        space, **{"seed": 0, "on_split": lambda *split: splits.append(split), **more}
    )
    return sampler, splits


def children(sampler, n, progress):
    probe = Likeness(progress)
    return [sampler.turns(probe)[0].child for _ in range(n)]


def test_before_the_split_it_is_spos():
    sampler, splits = sampler_of(seed=3)
    spos = UniformSampler(FlatSpace(n_candidates=4), seed=3)
    assert children(sampler, 20, 0.49) == [spos.next() for _ in range(20)]
    assert splits == []


@pytest.mark.parametrize(("parts", "groups"), [
    (2, [[0, 1], [2, 3]]), (3, [[0, 1], [2], [3]]), (4, [[0], [1], [2], [3]]),
])  # fmt: skip
def test_groups_partition_the_candidates_and_their_turns_come_one_by_one(parts, groups):
    sampler, splits = sampler_of(n_parts=parts)
    children(sampler, 7, 0.2)
    trained = children(sampler, 1200, 0.5)
    assert splits == [("block_1", groups)] == [sampler.split]
    for t, child in enumerate(trained):
        assert child["block_1"] in groups[t % parts]
    for group in groups:
        own = Counter(str(child) for child in trained if child["block_1"] in group)
        assert len(own) == len(group) * 16
        assert chisquare(list(own.values())).pvalue > 1e-3


@pytest.mark.parametrize("by", ["gradients", "lid"])
def test_block_and_groups_are_those_that_are_alike_the_least(by):
    sampler, splits = sampler_of(by=by)
    probe = Likeness()
    sampler.turns(probe)
    assert splits == [("block_2", [[0, 2], [1, 3]])]
    assert len(probe.asked) == 3 * 4 * 4  # blocks, candidates, random children
    alone, of_one = sampler_of(by=by, label="block_1")
    alone.turns(Likeness())
    assert of_one[0][0] == "block_1"


def test_children_that_are_compared_are_valid():
    sampler, _ = sampler_of(ConstrainedSpace, n_candidates=4, by="gradients", label="block_3")
    sampler.turns(probe := Likeness())
    assert all(map(sampler.allows, probe.asked))
    assert [child["block_3"] for child in probe.asked[:4]] == [0, 1, 2, 3]
    never, _ = sampler_of(ConstrainedSpace, n_candidates=4, by="gradients", label="block_2")
    with pytest.raises(RuntimeError, match="no children that differ in 'block_2' alone in 1000 tr"):
        never.turns(Likeness())


def test_filter_holds_in_every_part():
    sampler, _ = sampler_of(filter=lambda child: child["block_3"] != child["block_1"])
    assert all(child["block_3"] != child["block_1"] for child in children(sampler, 100, 0.9))


@pytest.mark.parametrize("steps", [3, 4])
def test_goes_on_from_its_state(steps):
    (sampler, splits), (again, others) = sampler_of(n_parts=3), sampler_of(n_parts=3, seed=1)
    children(sampler, 5, 0.3)
    children(sampler, steps, 0.8)
    again.load_state_dict(sampler.state_dict())
    assert children(again, 8, 0.9) == children(sampler, 8, 0.9)
    assert (len(splits), len(others)) == (1, 0)  # weights bring their split along
    again.reset(1)
    assert again.split is None


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"n_parts": 1}, "parts is 1; accepted are whole numbers of at least 2"),
        ({"n_parts": 5}, "parts is 5, and the numbers of candidates are {'block_1': 4, 'block_2'"),
        ({"label": "block_9"}, "split_label is 'block_9'; accepted are 'block_1', 'block_2', 'bl"),
        ({"by": "cut"}, "by is 'cut'; accepted are 'order', 'gradients', 'lid'"),
        ({"after": 1}, "split_after is 1; accepted are"),
        ({"n_children": 0}, "split_children is 0; accepted are whole numbers of at least 1"),
        ({"n_candidates": 24, "by": "lid", "n_parts": 4}, "parts is 4, and .* with 100,000 ways t"),
        ({"filter": lambda child: child["block_1"] < 2},
         r"the part of 'block_1' with \[2, 3\] has no valid child in 1000 tries: filter .* rejec"),
    ],
)  # fmt: skip
def test_what_cannot_be_split_is_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        sampler_of(**setting)


def test_block_with_too_few_candidates_is_passed_over():
    sampler, _ = sampler_of(ConvSpace, n_parts=4)
    probe = SimpleNamespace(progress=1.0)
    sampler.turns(probe)
    assert sampler.split == ("block_1", [[choice] for choice in sampler.candidates["block_1"]])
    assert len(list(every(sampler.candidates))) == 4**4
