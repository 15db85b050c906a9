import pytest

from nni_magic.scoring.scores import check_direction, checked_scores

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

    check_direction(score, "min")
    score.mode = "max"
    check_direction(score, "max")
    with pytest.raises(ValueError, match="mode is 'min', but that of the score is 'max'"):
        check_direction(score, "min")
