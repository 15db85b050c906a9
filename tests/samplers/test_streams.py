"""Random children beside those that are trained: which, and always the same."""

import pytest
from nni.mutable import Categorical
from spaces import ConvSpace, FlatSpace, NestedSpace
from walks import flat, is_even, key, walk

from nni_magic.samplers import GradualSampler, UniformSampler
from nni_magic.samplers.streams import ChildDraws, Stream


def test_numbers_of_the_streams_never_change():
    """They are part of every seeded run; new ones may be added."""
    assert {stream.name: stream.value for stream in Stream} == {
        "PANEL": 1, "ANCHOR": 2, "COVERING": 3, "SHRINKING": 4, "PERCENTILE": 5, "AVERAGE": 6,
        "BASELINES": 7, "ROWS": 8,
    }  # fmt: skip


def draws(space=None, filter=None):
    space = space or FlatSpace(6, 4)
    trained = GradualSampler(space, seed=0, filter=filter)
    return ChildDraws(space, trained), trained


def by_hand(n, seed, space=None, filter=None, allowed=None):
    """Different children of a uniform sampler, in the order in which they come."""
    sampler = UniformSampler(space or FlatSpace(6, 4), seed=seed, filter=filter)
    sampler.restrict(allowed or {})
    found = []
    while len(found) < n:
        child = sampler.next()
        if child not in found:
            found.append(child)
    return found


@pytest.mark.parametrize("stream", Stream)
@pytest.mark.parametrize("place", [(), (0,), (3,), (3, 1)])
def test_children_are_those_of_a_fresh_uniform_sampler(stream, place):
    draw, _ = draws()
    assert draw(8, 5, stream, *place) == by_hand(8, [5, stream.value, *place])


def test_children_do_not_depend_on_what_was_drawn_or_trained_before():
    draw, trained = draws()
    first = draw(4, 5, Stream.PANEL)
    draw(7, 5, Stream.ANCHOR)
    walk(trained, 3)
    assert draw(4, 5, Stream.PANEL) == first
    assert draws()[0](4, 5, Stream.PANEL) == first


def test_drawing_leaves_the_training_alone():
    draw, trained = draws()
    walk(trained, 3)
    before = trained.state_dict()
    draw(5, 1, Stream.ANCHOR)
    assert trained.state_dict() == before


def test_streams_seeds_and_places_give_different_children():
    draw, _ = draws()
    found = [
        draw(3, seed, stream, *place)
        for seed in (0, 1)
        for stream in (Stream.PANEL, Stream.AVERAGE)
        for place in ((), (0,), (1,))
    ]
    # Without a place is like the place 0: numpy pads a seed's words with zeros.
    assert len({str(children) for children in found}) == 8
    assert found[0] == found[1] != found[2]


def test_children_are_distinct_and_meet_the_filter():
    space = flat(3, 4)
    trained = GradualSampler(space, seed=0, filter=is_even)
    found = ChildDraws(space, trained)(20, 2, Stream.SHRINKING, 1)
    assert len({key(child) for child in found}) == 20
    assert all(map(is_even, found))
    assert found == by_hand(20, [2, 4, 1], space, is_even)


def test_space_that_has_no_more_gives_those_it_has():
    draw, _ = draws(FlatSpace(1, 3))
    assert sorted(child["block_1"] for child in draw(10, 0, Stream.PANEL)) == [0, 1, 2]


def test_samples_of_one_child_count_once():
    """``inner`` does not matter where ``outer`` is plain: 2 such children and 6 others."""
    draw, trained = draws(NestedSpace())
    found = draw(40, 0, Stream.PANEL)
    assert len(found) == len({trained.name(child) for child in found}) == 8


def test_deleted_candidates_are_not_drawn():
    space = ConvSpace()
    trained = GradualSampler(space, seed=0)
    draw = ChildDraws(space, trained)
    draw(4, 1, Stream.PANEL)
    allowed = {"block_1": ["conv1", "skip"], "block_4": ["drop"]}
    trained.restrict(allowed)
    found = draw(12, 1, Stream.PANEL)
    assert {child["block_1"] for child in found} == {"conv1", "skip"}
    assert {child["block_4"] for child in found} == {"drop"}
    assert found == by_hand(12, [1, 1], ConvSpace(), allowed=allowed)


def test_sampler_is_made_anew_only_when_other_candidates_are_left(monkeypatch):
    made = []

    class Counted(UniformSampler):
        def __init__(self, *args, **kwargs):
            made.append(self)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr("nni_magic.samplers.streams.UniformSampler", Counted)
    draw, trained = draws()
    for epoch in range(3):
        draw(2, 0, Stream.AVERAGE, epoch)
    assert len(made) == 1
    trained.restrict({"block_1": [0, 1]})
    draw(2, 0, Stream.AVERAGE, 3)
    draw(2, 0, Stream.AVERAGE, 4)
    assert len(made) == 2
    trained.restrict({"block_1": [0, 1]})
    draw(2, 0, Stream.AVERAGE, 5)
    assert len(made) == 2


def test_labels_of_a_simplified_space_will_do():
    space = {"op": Categorical(["a", "b"], label="op")}
    found = ChildDraws(space, UniformSampler(space, seed=0))(2, 0, Stream.PANEL)
    assert sorted(child["op"] for child in found) == ["a", "b"]


def test_children_are_of_those_that_are_trained_alone():
    draw, trained = draws()
    pool = trained.children = by_hand(7, 1)
    found = draw(3, 5, Stream.PANEL)
    assert len({key(child) for child in found}) == 3
    assert all(child in pool and child is not pool[pool.index(child)] for child in found)
    assert draw(3, 5, Stream.PANEL) == found
    assert draw(3, 5, Stream.PANEL, 1) != found
    assert sorted(map(key, draw(9, 5, Stream.PANEL))) == sorted(map(key, pool))
