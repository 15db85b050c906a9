"""The leaderboard, against sorted()."""

import math
import random

import pytest
import torch

from nni_magic.scoring.leaderboard import Leaderboard


def child(number):
    return {"op": number}


def numbers(board):
    return [sample["op"] for sample, _ in board.ranked()]


def scored(values, mode="min", size=32):
    board = Leaderboard(lambda sample: values[sample["op"]], mode, size)
    for number in values:
        board.score(child(number))
    return board


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("seed", range(5))
def test_ranked_is_sorted_with_ties_in_the_order_of_scoring(mode, seed):
    rng = random.Random(seed)
    values = {n: rng.choice([0.0, 0.5, 1.0, math.nan, math.inf, -math.inf]) for n in range(20)}
    sign = 1 if mode == "min" else -1

    def order(number):
        value = values[number]
        return (math.isnan(value), 0 if math.isnan(value) else sign * value)

    board = scored(values, mode)
    assert numbers(board) == sorted(values, key=order)
    for sample, score in board.ranked():
        assert score == pytest.approx(values[sample["op"]], nan_ok=True)


def test_score_gives_the_score():
    board = Leaderboard(lambda sample: sample["op"] / 4, "min")
    assert board.score(child(3)) == 0.75


def test_score_again_replaces_the_score():
    values = {0: 0.0, 1: 1.0}
    board = scored(values)
    values[0] = 2.0
    board.score(child(0))
    assert board.ranked() == [(child(1), 1.0), (child(0), 2.0)]


def test_score_knows_a_child_whatever_the_order_of_its_labels():
    board = Leaderboard(lambda sample: 0.0, "min")
    board.score({"p": 0, "q": 1})
    board.score({"q": 1, "p": 0})
    assert len(board.ranked()) == 1


@pytest.mark.parametrize("mode", ["min", "max"])
def test_size_is_bounded_and_the_best_are_kept(mode):
    rng = random.Random(0)
    values = {n: rng.random() for n in range(200)}
    board = Leaderboard(lambda sample: values[sample["op"]], mode, size=4)
    for number in values:
        board.score(child(number))
        assert len(board.ranked()) <= 8
    best = sorted(values, key=values.get, reverse=mode == "max")
    assert numbers(board)[:4] == best[:4]


def test_rescore_scores_everything_with_the_new_weights():
    values = {n: float(n) for n in range(5)}
    asked = []

    def score(sample):
        asked.append(sample["op"])
        return values[sample["op"]]

    board = Leaderboard(score, "min")
    for number in values:
        board.score(child(number))
    asked.clear()
    values.update({n: 10.0 - n for n in range(6)})
    board.rescore([child(5), child(2)])
    assert sorted(asked) == [0, 1, 2, 3, 4, 5]  # each once
    assert board.ranked() == [(child(n), 10.0 - n) for n in (5, 4, 3, 2, 1, 0)]


def test_rescore_keeps_no_more_than_the_best_by_old_scores_and_the_others():
    values = {n: float(n) for n in range(6)}
    board = scored(values, size=3)
    board.rescore([child(5)])
    assert numbers(board) == [0, 1, 2, 5]


def test_rescore_of_an_empty_board_scores_the_others():
    board = Leaderboard(lambda sample: float(sample["op"]), "max")
    board.rescore([child(1), child(2)])
    assert board.ranked() == [(child(2), 2.0), (child(1), 1.0)]
    board = Leaderboard(lambda sample: 0.0, "max")
    board.rescore()
    assert board.ranked() == []


def test_load_takes_over_what_ranked_gave(tmp_path):
    board = scored({0: 0.3, 1: 0.1, 2: 0.2})
    torch.save([tuple(known) for known in board.ranked()], tmp_path / "board.pt")
    other = scored({7: 0.0})
    other.load(torch.load(tmp_path / "board.pt", weights_only=True))
    assert other.ranked() == board.ranked() == [(child(1), 0.1), (child(2), 0.2), (child(0), 0.3)]


def test_ties_stay_in_order_when_a_board_was_taken_over():
    values = {0: 0.1, 1: 0.2}  # the order of becoming known is not that of the scores
    board = Leaderboard(lambda sample: values[sample["op"]], "max", 32)
    for number in values:
        board.score(child(number))
    other = Leaderboard(lambda sample: values[sample["op"]], "max", 32)
    other.load([tuple(known) for known in board.known()])
    values[0] = 0.2
    for each in (board, other):
        each.score(child(0))
        assert numbers(each) == [0, 1]


def test_ranked_is_a_copy():
    board = scored({0: 0.3, 1: 0.1})
    board.ranked().clear()
    assert numbers(board) == [1, 0]
