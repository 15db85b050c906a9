"""Bring a supernet and an evaluator together outside of training, as a trainer would inside."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytorch_lightning as pl
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.oneshot.pytorch.base_lightning import BaseOneShotLightningModule
from nni.nas.oneshot.pytorch.strategy import RandomOneShot
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule

__all__ = [
    "as_supernet", "check_evaluator", "connect", "connected", "on_device",
    "require_automatic_optimization",
]  # fmt: skip


def as_supernet(space: ModelSpace) -> ModelSpace:
    """The space itself if it is a supernet already, else a copy of it that is one."""
    if any(isinstance(module, BaseSuperNetModule) for module in space.modules()):
        return space
    return RandomOneShot().mutate_model(copy.deepcopy(space))


def check_evaluator(evaluator: Any) -> None:
    """Make sure that children can be run with an evaluator, in this process.

    Raises
    ------
    TypeError
        If it is not NNI's ``Lightning`` or derived from it.
    ValueError
        If its trainer has several devices.
    """
    if not isinstance(evaluator, Lightning):
        raise TypeError(
            f"evaluator is a {type(evaluator).__name__}; accepted are NNI's Lightning and what is "
            "derived from it, such as Classification"
        )
    if (size := evaluator.trainer.world_size) > 1:
        raise ValueError(
            f"devices of the evaluator's trainer is {size}; accepted is 1, as children are run in "
            "one process"
        )


def require_automatic_optimization(module: pl.LightningModule) -> None:
    """Lightning must run the optimizer, because a strategy's terms go into the loss of each step.

    Raises
    ------
    ValueError
        If the evaluator's module optimizes by hand.
    """
    if not module.automatic_optimization:
        raise ValueError(
            f"automatic_optimization of {type(module).__name__} is False; accepted is True: the "
            "strategy gives Lightning the loss of each step"
        )


def connect(module: BaseOneShotLightningModule, supernet: ModelSpace, evaluator: Lightning) -> None:
    """Attach a supernet and an evaluator to each other and to the trainer, without running it.

    Parameters
    ----------
    module
        NNI's wrapper of the evaluator's module.
    supernet, evaluator
        What to attach; the supernet is then on the trainer's device.
    """
    trainer = evaluator.trainer
    module.set_model(supernet)
    module.trainer = evaluator.module.trainer = trainer
    trainer.strategy.connect(module)
    trainer._data_connector.attach_data(module, val_dataloaders=evaluator.val_dataloaders)
    device = trainer.strategy.root_device
    if any(parameter.device != device for parameter in islice(module.parameters(), 1)):
        module.to(device)  # slow even where there is nothing to move


@contextlib.contextmanager
def connected(
    module: BaseOneShotLightningModule, supernet: ModelSpace, evaluator: Lightning
) -> Iterator[None]:
    """:func:`connect` while the block runs.

    Evaluator, trainer and data then go back to what they were attached to, even to another supernet
    that they are training, and what the block sets on the evaluator's module is undone. The
    supernet stays on the trainer's device.
    """
    places = _attachments(evaluator)
    held = [getattr(owner, name, _NOTHING) for owner, name in places]
    own = dict(vars(evaluator.module))
    try:
        connect(module, supernet, evaluator)
        yield
    finally:
        for (owner, name), value in zip(places, held, strict=True):
            if value is not _NOTHING:
                setattr(owner, name, value)
            elif hasattr(owner, name):
                delattr(owner, name)
        for name in vars(evaluator.module).keys() - own.keys():
            delattr(evaluator.module, name)
        vars(evaluator.module).update(own)


_NOTHING = object()


def _attachments(evaluator: Lightning) -> list[tuple[Any, str]]:
    """Owners and names of the attributes that :func:`connect` sets."""
    trainer, fit = evaluator.trainer, evaluator.trainer.fit_loop
    loops = [fit, fit.epoch_loop.val_loop, trainer.validate_loop, trainer.test_loop,
             trainer.predict_loop]  # fmt: skip
    modules = [m for m in evaluator.module.modules() if isinstance(m, pl.LightningModule)]
    return [
        (evaluator.module, "_model"),
        *((module, "_trainer") for module in modules),
        (trainer.strategy, "_lightning_module"), (trainer.strategy, "_model"),
        (trainer._data_connector, "_datahook_selector"),
        *((loop, "_combined_loader") for loop in loops),
        *((loop._data_source, "instance") for loop in loops),
    ]  # fmt: skip


def on_device(module: pl.LightningModule, batch: Any, dataloader_idx: int = 0) -> Any:
    """Bring a batch of a loader to where the model is, with the hooks that the trainer calls."""
    trainer = module.trainer
    batch = trainer.precision_plugin.convert_input(batch)
    batch = module._on_before_batch_transfer(batch, dataloader_idx=dataloader_idx)
    return trainer.strategy.batch_to_device(batch, dataloader_idx=dataloader_idx)
