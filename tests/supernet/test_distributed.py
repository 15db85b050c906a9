"""What is asked of distributed training; two processes are run in ``strategies/test_ddp.py``."""

import pytest
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from spaces import FlatSpace, WidthSpace, supernet
from torch import nn

from nni_magic.supernet.distributed import require_choices, require_unused_parameters
from nni_magic.supernet.routing import Router

REFUSAL = (
    "find_unused_parameters is False under DDP; accepted is True, "
    ".*pass strategy='ddp_find_unused_parameters_true'"
)


@pytest.mark.parametrize(
    "strategy", [SingleDeviceStrategy(), DDPStrategy(find_unused_parameters=True)]
)
def test_strategies_that_do_with_unused_parameters(strategy):
    require_unused_parameters(strategy)


@pytest.mark.parametrize("settings", [{}, {"find_unused_parameters": False}])
def test_ddp_that_expects_every_gradient_is_refused(settings):
    with pytest.raises(ValueError, match=REFUSAL):
        require_unused_parameters(DDPStrategy(**settings))


def test_supernet_that_was_left_alone_has_its_choices():
    net = supernet(FlatSpace())
    require_choices(nn.Sequential(net), Router(net).by_label)


def test_sync_batchnorm_in_place_of_one_of_variable_width_is_refused():
    net = supernet(WidthSpace())
    by_label = Router(net).by_label
    net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert type(net.norm) is nn.SyncBatchNorm
    with pytest.raises(ValueError, match=r"sync_batchnorm is True; accepted is False.*\['width'\]"):
        require_choices(net, by_label)
