"""What a supernet asks of distributed training, and of the modules that it trains."""

import pytest
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from spaces import ConvSpace, supernet
from torch import nn

from nni_magic.supernet.distributed import require_choices, require_unused_parameters


def test_ddp_must_expect_unused_parameters():
    require_unused_parameters(DDPStrategy(find_unused_parameters=True))
    require_unused_parameters(SingleDeviceStrategy())
    for given in ({}, {"find_unused_parameters": False}):
        with pytest.raises(ValueError, match="pass strategy='ddp_find_unused_parameters_true'"):
            require_unused_parameters(DDPStrategy(**given))


def choices(net):
    found = {}
    for module in net.modules():
        if isinstance(module, BaseSuperNetModule):
            for label in module.simplify():
                found.setdefault(label, []).append(module)
    return found


def test_a_module_that_chose_and_is_gone_is_named():
    net = supernet(ConvSpace())
    by_label = choices(net)
    assert len(by_label) > 1
    require_choices(net, by_label)
    name = next(name for name, module in net.named_modules() if module is by_label["block_2"][0])
    parent, _, attribute = name.rpartition(".")
    setattr(net.get_submodule(parent), attribute, nn.Identity())
    with pytest.raises(ValueError, match=r"replaced modules that choose \['block_2'\].*=False"):
        require_choices(net, by_label)
