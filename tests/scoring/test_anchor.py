"""The anchor: the better of two children, both scored at the same moment."""

import itertools
import math

import pytest
import torch
from scipy.stats import rankdata

from nni_magic.scoring.anchor import Anchor

NAN = float("nan")


class Scores:
    """A score function: a table of scores that can change, and a record of what was asked."""

    def __init__(self, **table):
        self.table = table
        self.asked = []

    def __call__(self, sample):
        self.asked.append(sample["op"])
        return self.table[sample["op"]]


def child(name):
    return {"op": name}


def elected(scores, names, mode="min"):
    anchor = Anchor(scores, mode)
    anchor.elect(map(child, names))
    return anchor


@pytest.mark.parametrize("mode, sign", [("min", 1), ("max", -1)])
def test_elect_takes_the_best_and_of_equals_the_first(mode, sign):
    for values in itertools.product([0.0, 1.0, 2.0, NAN], repeat=3):
        scores = Scores(**dict(zip("pqr", values, strict=True)))
        order = [math.inf if math.isnan(value) else sign * value for value in values]
        best = int(rankdata(order, method="ordinal").argmin())
        anchor = elected(scores, "pqr", mode)
        assert anchor.sample == child("pqr"[best])
        assert anchor.last_score == pytest.approx(values[best], nan_ok=True)
        assert scores.asked == list("pqr")


def test_elect_again_forgets_the_old_anchor():
    scores = Scores(p=1.0, q=2.0)
    anchor = elected(scores, "p")
    anchor.elect([child("q")])
    assert (anchor.sample, anchor.last_score) == (child("q"), 2.0)


def test_elect_among_none_raises():
    with pytest.raises(ValueError, match="children is empty"):
        elected(Scores(), "")


def test_anchor_before_the_election_is_empty():
    anchor = Anchor(Scores(), "min")
    assert anchor.sample is None
    assert math.isnan(anchor.last_score)
    assert anchor.replacements == 0


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("old", [1.0, NAN, math.inf, -math.inf])
@pytest.mark.parametrize("new", [0.5, 1.0, 2.0, NAN, math.inf, -math.inf])
def test_challenge_replaces_only_by_a_strictly_better_child(mode, old, new):
    anchor = elected(Scores(p=old, q=new), "p", mode)
    wins = not math.isnan(new) and (math.isnan(old) or (new < old if mode == "min" else new > old))
    assert anchor.challenge(child("q")) == wins
    assert anchor.sample == child("q" if wins else "p")
    assert anchor.last_score == pytest.approx(new if wins else old, nan_ok=True)
    assert anchor.replacements == wins


def test_challenge_scores_both_at_that_moment():
    """The anchor's old score, 0.1, must not be compared: the weights have moved since."""
    scores = Scores(p=0.1, q=9.0)
    anchor = elected(scores, "p")
    scores.table.update(p=0.8, q=0.7)
    scores.asked.clear()
    assert anchor.challenge(child("q"))
    assert scores.asked == ["p", "q"]
    scores.table.update(p=0.2, q=0.3)  # q's 0.7 would lose as well, so ask for the numbers
    assert anchor.challenge(child("p"))
    assert anchor.last_score == 0.2
    assert anchor.replacements == 2


def test_challenge_lost_updates_the_score_of_the_anchor():
    scores = Scores(p=0.1, q=9.0)
    anchor = elected(scores, "p")
    scores.table["p"] = 0.4
    assert not anchor.challenge(child("q"))
    assert anchor.last_score == 0.4


def test_challenge_by_the_anchor_itself_replaces_nothing():
    values = iter([0.5, 0.4, 0.3])
    anchor = Anchor(lambda sample: next(values), "min")
    anchor.elect([child("p")])
    assert not anchor.challenge(child("p"))
    assert anchor.replacements == 0
    assert anchor.last_score == 0.4
    assert list(values) == [0.3]  # scored once


# The anchor at a percentile


def scored(n, mode="min"):
    """Children 0 to n - 1, best first, and their scores."""
    scores = Scores(**{str(i): float(i if mode == "min" else -i) for i in range(n)})
    return scores, [child(str(i)) for i in range(n)]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(
    ("percentile", "place"), [(0, 0), (1, 0), (10, 2), (50, 10), (99, 19), (100, 19)]
)
def test_elect_at_takes_the_child_with_that_share_ahead(percentile, place, mode):
    scores, children = scored(20, mode)
    anchor = Anchor(scores, mode)
    assert anchor.elect_at(percentile, children[::-1], tolerance=10)
    assert anchor.sample == children[place]
    assert abs(anchor.last_score) == place
    assert anchor.replacements == 0


@pytest.mark.parametrize("mode, sign", [("min", 1), ("max", -1)])
@pytest.mark.parametrize("ahead", range(11))
def test_elect_at_keeps_an_anchor_within_the_tolerance(ahead, mode, sign):
    scores, children = scored(10, mode)
    scores.table["old"] = sign * (ahead - 0.5)
    anchor = Anchor(scores, mode)
    anchor.elect([child("old")])
    stays = abs(10 * ahead - 30) <= 20
    assert anchor.elect_at(30, children, tolerance=20) != stays
    assert anchor.sample == (child("old") if stays else children[3])
    assert anchor.last_score == (scores.table["old"] if stays else sign * 3)
    assert anchor.replacements == (not stays)


def test_elect_at_compares_with_the_anchors_present_score():
    scores, children = scored(10)
    scores.table["old"] = 99.0
    anchor = Anchor(scores, "min")
    anchor.elect([child("old")])
    scores.table["old"] = 0.5
    assert not anchor.elect_at(10, children, tolerance=0)
    assert anchor.last_score == 0.5


def test_elect_at_puts_what_has_no_score_last():
    scores, children = scored(4)
    scores.table["1"] = NAN
    order = []
    for percentile in (0, 25, 50, 75):
        anchor = Anchor(scores, "min")
        anchor.elect_at(percentile, children, tolerance=0)
        order.append(anchor.sample["op"])
    assert order == ["0", "2", "3", "1"]


def test_elect_at_that_finds_the_anchor_again_counts_no_replacement():
    scores, children = scored(3)
    anchor = Anchor(scores, "min")
    anchor.elect(children[1:2])
    assert not anchor.elect_at(50, children, tolerance=0)  # 33 %, and nearer there is none
    assert (anchor.sample, anchor.replacements) == (children[1], 0)


def test_elect_at_scores_anchor_and_children_together_where_it_can():
    asked = []
    anchor = Anchor(Scores(old=0.0), "min")
    anchor.elect([child("old")])
    anchor.elect_at(
        0, [child("p"), child("q")], tolerance=0,
        score_all=lambda children: asked.append(children) or [2, 1, 0],
    )  # fmt: skip
    assert asked == [[child("old"), child("p"), child("q")]]
    assert (anchor.sample, anchor.last_score) == (child("q"), 0.0)


def test_elect_at_among_none_raises():
    with pytest.raises(ValueError, match="children is empty"):
        Anchor(Scores(), "min").elect_at(0, [], tolerance=0)


def test_state_round_trip(tmp_path):
    anchor = elected(Scores(p=2.0, q=1.0), "p")
    anchor.challenge(child("q"))
    torch.save(anchor.state_dict(), tmp_path / "anchor.pt")
    other = Anchor(Scores(q=1.0, r=0.0), "min")
    other.load_state_dict(torch.load(tmp_path / "anchor.pt", weights_only=True))
    assert (other.sample, other.last_score, other.replacements) == (child("q"), 1.0, 1)
    assert other.challenge(child("r"))
    assert other.replacements == 2
