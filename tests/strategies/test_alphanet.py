"""AlphaNet: a step against the same step by hand."""

import torch
from regressions import Headed, assert_same_weights, run
from sandwiches import by_hand
from training import make


def adaptive(student, teacher):
    """The larger of the two divergences, row by row; the ratios here are below the clip."""
    q, p = student.double().softmax(-1), teacher.double().softmax(-1)
    low = (q * (q / p - 1)).sum(-1) / 2  # α = -1: (p / q)^-1, α (α - 1) = 2
    high = (p * (p / q).log()).sum(-1)
    return torch.maximum(low, high).mean().float()


def test_step_is_that_by_hand():
    space = run(make("alphanet", ratio_clip=1e6), None, Headed)
    assert_same_weights(space, by_hand(adaptive))


def test_settings_reach_the_divergence():
    [term] = make("alphanet", alpha_min=-2.0, alpha_max=0.5, ratio_clip=3.0).make_terms()
    assert term.divergence.keywords == {"alpha_min": -2.0, "alpha_max": 0.5, "ratio_clip": 3.0}
