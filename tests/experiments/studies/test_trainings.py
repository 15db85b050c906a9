"""What a study trains: its children and their trainings, and what supernets are given."""

import pytest
from studies import PLAN

from experiments.studies.trainings import Children, Supernets
from nni_magic.children.samples import digest
from nni_magic.strategies import MagicAT
from search_spaces import BertSpace

SPACE = BertSpace(**PLAN["space"])


def test_children_are_different_and_follow_the_seed():
    children = Children(n=8).draw(SPACE)
    assert len({digest(child) for child in children}) == 8
    assert Children(n=8).draw(SPACE) == children
    assert Children(n=8, seed=1).draw(SPACE) != children


def test_more_children_begin_with_the_same():
    assert Children(n=12).draw(SPACE)[:8] == Children(n=8).draw(SPACE)


def test_more_children_than_the_space_has_raises():
    assert len(Children(n=16).draw(SPACE)) == 16  # 2 candidates in each of 4 blocks
    with pytest.raises(ValueError, match=r"n is 17; accepted are up to 16, as the space has hard"):
        Children(n=17).draw(SPACE)


def test_trainings_begin_with_all_children_and_repeat_some():
    trainings = list(Children(n=8, steps=2, repeated=3, seeds=(0, 1, 2)).trainings())
    assert trainings[:8] == [(child, 0) for child in range(8)]
    assert trainings[8:] == [(0, 1), (2, 1), (5, 1), (0, 2), (2, 2), (5, 2)]


@pytest.mark.parametrize(("n", "repeated", "expected"), [
    (60, 10, [0, 7, 12, 19, 24, 31, 36, 43, 48, 55]),  # in strides of 6 all would be even
    (33, 8, [0, 5, 8, 13, 16, 21, 24, 29]),
    (40, 6, [0, 6, 13, 20, 26, 33]),
    (4, 4, [0, 1, 2, 3]),
    (4, 2, [0, 3]),
])  # fmt: skip
def test_repeated_children_are_of_both_halves(n, repeated, expected):
    trainings = list(Children(n=n, steps=2, repeated=repeated, seeds=(0, 1)).trainings())
    assert trainings[n:] == [(child, 1) for child in expected]


def test_repeated_children_are_different_and_of_both_halves_whatever_their_number():
    for n in range(2, 70):
        for repeated in range(2, n + 1):
            trainings = Children(n=n, steps=2, repeated=repeated, seeds=(0, 1)).trainings()
            again = {child for child, seed in trainings if seed == 1}
            assert len(again) == repeated and max(again) < n
            assert {child % 2 for child in again} == {0, 1}


def test_strategy_is_given_the_options_and_what_all_studies_have_in_common():
    options = {"k": 2, "alignment_weight": 1, "anchor": {"layer_1": "ffn"}}
    supernets = Supernets("magic_at", steps=4, seeds=(3,), options=options)
    settings = supernets.settings(3)
    assert (settings.seed, settings.metric, settings.validation_batches) == (3, "val_loss", 8)
    assert (settings.k, settings.alignment_weight, settings.warmup_epochs) == (2, 1.0, None)
    assert settings.anchor == {"layer_1": "ffn"}
    strategy = supernets.make_strategy(3)
    assert type(strategy) is MagicAT
    assert (strategy.seed, strategy.settings.k) == (3, 2)


@pytest.mark.parametrize("seeds", [(), (0, 0), (-1, 0)])
def test_seeds_that_say_nothing_are_refused(seeds):
    with pytest.raises(ValueError, match=r"seeds is \[.*\]; accepted are whole numbers"):
        Supernets("spos", steps=1, seeds=seeds)
