"""What a mixture's training must not be, and what its steps must not do."""

from types import SimpleNamespace

import pytest
import torch
from mixtures import TRAINED, Odd, make, regression
from spaces import FlatSpace
from training import train

from nni_magic.strategies.differentiable.guards import check_trainer


@pytest.mark.parametrize("bilevel", [True, False])
def test_loss_of_the_weights_that_is_not_finite_stops_before_any_step(bilevel):
    strategy = make("gaea", bilevel=bilevel)
    message = "optimizer step 1, in epoch 0, is not finite: the loss of the mixture is nan"
    with pytest.raises(ValueError, match=message):
        train(strategy, FlatSpace(), regression(Odd(TRAINED)))
    assert all(torch.isfinite(each).all() for each in strategy.mixture.parameters())


def test_trainers_that_scale_gradients_or_have_several_devices_are_refused():
    plain = SimpleNamespace(
        world_size=1, precision_plugin=SimpleNamespace(), precision="16-mixed"
    )
    check_trainer(plain, bilevel=True)
    plain.precision_plugin.scaler = object()
    with pytest.raises(ValueError, match="precision is '16-mixed'; accepted are those without a"):
        check_trainer(plain, bilevel=True)
    plain.world_size = 2
    with pytest.raises(ValueError, match="devices of the trainer is 2 in all; accepted is 1"):
        check_trainer(plain, bilevel=True)
