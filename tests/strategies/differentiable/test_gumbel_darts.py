"""DARTS with sampled weights: soft and hard samples, and their gradient."""

import math

import pytest
import torch
from mixtures import make, run
from spaces import FlatSpace

from nni_magic.strategies.differentiable.simplex import SampledSoftmax

torch.set_num_threads(1)


def test_soft_sample_is_nnis_formula():
    alpha = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    sampled = SampledSoftmax(hard=False)
    sampled.temperature = 0.7
    sampled.draw([alpha], torch.Generator().manual_seed(1))
    uniform = torch.empty(3, dtype=torch.float64).exponential_(
        generator=torch.Generator().manual_seed(1)
    )
    raised = [
        math.exp((float(a) - math.log(float(e))) / 0.7) for a, e in zip(alpha, uniform, strict=True)
    ]
    assert sampled(alpha).tolist() == pytest.approx([each / sum(raised) for each in raised])
    assert sampled.eval()(alpha).tolist() == pytest.approx(torch.softmax(alpha, 0).tolist())


@pytest.mark.parametrize("hard", [False, True])
def test_mixture_has_the_samples_of_the_setting(hard):
    strategy = make("gumbel_darts", hard=hard)
    strategy.mutate_model(FlatSpace())
    [first, *_] = parameters = strategy.architecture.parameters
    strategy._mixing.draw(parameters, torch.Generator().manual_seed(0))
    sample = strategy._mixing(first)
    assert float(sample.sum()) == pytest.approx(1)
    assert (sample.max() > 0.999) == hard


def test_child_is_of_the_largest_weights_and_not_of_a_sample():
    strategy, _ = run("gumbel_darts", trainer={"epochs": 1}, hard=True, arc_learning_rate=0.5)
    [model] = strategy.list_models()
    for label, theta in strategy.architecture.theta().items():
        assert strategy._candidates[label][int(theta.argmax())] == model.sample[label]
        assert theta.max() > 0.3
