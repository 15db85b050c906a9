import pytest

from nni_magic.scoring.scores import checked_scores, direction

SAMPLES = [{"op": "conv"}, {"op": "skip"}]


def test_scores_become_floats_in_the_order_given():
    found = checked_scores(SAMPLES, iter([3, True]))
    assert found == [3.0, 1.0]
    assert [type(score) for score in found] == [float, float]


@pytest.mark.parametrize("scores", [[1.0], [1.0, 2.0, 3.0]])
def test_more_or_fewer_scores_than_samples_are_refused(scores):
    with pytest.raises(ValueError, match=f"there are {len(scores)} scores for 2 samples"):
        checked_scores(SAMPLES, scores)


def test_score_of_the_other_direction_is_refused():
    def score(samples):
        raise AssertionError

    assert direction(score, "min") == "min"
    assert direction(score, "max") == "max"
    score.mode = "max"
    assert direction(score, "max") == "max"
    with pytest.raises(ValueError, match="mode is 'min', but that of the score is 'max'"):
        direction(score, "min")


def test_direction_is_by_default_that_of_the_score():
    def score(samples):
        raise AssertionError

    assert direction(score, None) == "min"
    score.mode = "max"
    assert direction(score, None) == "max"
