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
from nni.nas.oneshot.pytorch.strategy import is_supernet
from pytorch_lightning.plugins.precision import DoublePrecision, HalfPrecision, Precision
from pytorch_lightning.trainer.states import TrainerStatus
from pytorch_lightning.utilities.model_helpers import is_overridden

from .conversion import to_supernet
from .distributed import require_own_process
from .evaluator_hooks import EvaluatorHooks

__all__ = [
    "as_supernet", "callbacks_of", "check_evaluator", "connect", "connected", "converted",
    "held_out_data", "hooks_called_by", "kept_attachments", "on_device", "prepare",
    "require_automatic_optimization", "training_data",
]  # fmt: skip


def as_supernet(space: ModelSpace) -> ModelSpace:
    """The space itself if it is a supernet already, else a copy of it that is one."""
    return space if is_supernet(space) else to_supernet(copy.deepcopy(space))


def check_evaluator(evaluator: Any) -> None:
    """Make sure that children can be run with an evaluator, in this process.

    Raises
    ------
    TypeError
        If it is not NNI's ``Lightning`` or derived from it.
    ValueError
        If its trainer has several devices, or a precision that replaces the layers of a model.
    """
    if not isinstance(evaluator, Lightning):
        raise TypeError(
            f"evaluator is a {type(evaluator).__name__}; accepted are NNI's Lightning and what is "
            "derived from it, such as Classification"
        )
    require_own_process(evaluator.trainer.strategy)
    if (size := evaluator.trainer.world_size) > 1:
        raise ValueError(
            f"devices of the evaluator's trainer is {size}; accepted is 1, as children are run in "
            "one process"
        )
    plugin = evaluator.trainer.precision_plugin
    if _converts(plugin) and not isinstance(plugin, (DoublePrecision, HalfPrecision)):
        raise ValueError(
            f"precision of the evaluator's trainer is that of {type(plugin).__name__}, which "
            "replaces layers of the supernet; accepted are those that leave them as they are"
        )


def require_automatic_optimization(module: pl.LightningModule, why: str) -> None:
    """Make sure that Lightning runs the backward pass and the optimizer, and not the step itself.

    Parameters
    ----------
    module
        The evaluator's module.
    why
        What cannot be done otherwise, for the message.

    Raises
    ------
    ValueError
        If the module optimizes by hand.
    """
    if not module.automatic_optimization:
        raise ValueError(
            f"automatic_optimization of {type(module).__name__} is False; accepted is True: {why}"
        )


def connect(module: EvaluatorHooks, supernet: ModelSpace, evaluator: Lightning) -> None:
    """Attach a supernet, an evaluator and its data to each other and to the trainer.

    Parameters
    ----------
    module
        The wrapper of the evaluator's module.
    supernet, evaluator
        What to attach; the supernet is then on the trainer's device.
    """
    trainer, data = evaluator.trainer, evaluator.datamodule
    module.set_model(supernet)
    module.trainer = evaluator.module.trainer = trainer
    trainer.strategy.connect(module)
    trainer._data_connector.attach_data(
        module, datamodule=data,
        train_dataloaders=evaluator.train_dataloaders if data is None else None,
        val_dataloaders=evaluator.val_dataloaders if data is None else None,
    )  # fmt: skip
    device = trainer.strategy.root_device
    if any(parameter.device != device for parameter in islice(module.parameters(), 1)):
        module.to(device)  # slow even where there is nothing to move


def prepare(module: EvaluatorHooks, supernet: ModelSpace, evaluator: Lightning) -> None:
    """:func:`connect`, and call what a trainer calls once before it runs; not while it runs.

    That is ``prepare_data`` and ``setup`` of a DataModule, and ``configure_model`` too of a module
    that no trainer has had before: one that was trained is set up, and may hold weights.
    """
    trainer, data = evaluator.trainer, evaluator.datamodule
    running = trainer.state.status == TrainerStatus.RUNNING
    new = evaluator.module._trainer is None
    connect(module, supernet, evaluator)
    if running:
        return
    owners = [] if data is None else [data]
    for owner in [*owners, module] if new else owners:
        owner.prepare_data()
        owner.setup("fit")
    if new and is_overridden("configure_model", module):
        with trainer.strategy.tensor_init_context(), trainer.precision_plugin.module_init_context():
            module.configure_model()
        module.to(trainer.strategy.root_device)


def callbacks_of(module: pl.LightningModule) -> list[pl.Callback]:
    """The trainer's callbacks, and those that the evaluator would give it for a run."""
    trainer: Any = module.trainer
    own = module.configure_callbacks()
    return [*trainer.callbacks, *([own] if isinstance(own, pl.Callback) else own)]


def training_data(evaluator: Lightning) -> Any:
    """Loaders of training data: of the DataModule, those given, or the module's; or none.

    The evaluator is connected.
    """
    return _loaders(evaluator.trainer.fit_loop)


def held_out_data(evaluator: Lightning) -> Any:
    """Loaders of validation data, likewise."""
    return _loaders(evaluator.trainer.validate_loop)


def _loaders(loop: Any) -> Any:
    source = loop._data_source
    return source.dataloader() if source.is_defined() else None


def _converts(plugin: Precision) -> bool:
    return type(plugin).convert_module is not Precision.convert_module


@contextlib.contextmanager
def converted(module: pl.LightningModule) -> Iterator[None]:
    """The weights in the precision of the module's trainer, such as 64-true, while the block runs.

    Then they are those that they were, to the bit. In a fit Lightning has converted them before.
    """
    plugin = module.trainer.precision_plugin
    if not _converts(plugin):
        yield
        return
    weights = [(parameter, parameter.data) for parameter in module.parameters()]
    buffers = [(part, dict(part._buffers)) for part in module.modules() if part._buffers]
    plugin.convert_module(module)
    try:
        yield
    finally:
        for parameter, own in weights:
            if parameter.dtype != own.dtype:
                parameter.data = own
        for part, held in buffers:
            part._buffers.update(held)


@contextlib.contextmanager
def connected(
    module: EvaluatorHooks, supernet: ModelSpace, evaluator: Lightning
) -> Iterator[None]:
    """:func:`connect` while the block runs.

    Evaluator, trainer and data then go back to what they were attached to, even to another supernet
    that they are training, and what the block sets on the evaluator's module is undone. The
    supernet stays on the trainer's device.
    """
    own = dict(vars(evaluator.module))
    with kept_attachments(evaluator):
        try:
            connect(module, supernet, evaluator)
            yield
        finally:
            for name in vars(evaluator.module).keys() - own.keys():
                delattr(evaluator.module, name)
            vars(evaluator.module).update(own)


@contextlib.contextmanager
def kept_attachments(evaluator: Lightning) -> Iterator[None]:
    """Put back what evaluator, trainer and data are attached to when the block ends."""
    places = _attachments(evaluator)
    held = [getattr(owner, name, _NOTHING) for owner, name in places]
    try:
        yield
    finally:
        for (owner, name), value in zip(places, held, strict=True):
            if value is not _NOTHING:
                setattr(owner, name, value)
            elif hasattr(owner, name):
                delattr(owner, name)


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
        (trainer._data_connector, "_datahook_selector"), (trainer, "datamodule"),
        *([] if evaluator.datamodule is None else [(evaluator.datamodule, "trainer")]),
        *((loop, "_combined_loader") for loop in loops),
        *((loop._data_source, "instance") for loop in loops),
    ]  # fmt: skip


def on_device(module: pl.LightningModule, batch: Any, dataloader_idx: int = 0) -> Any:
    """Bring a batch of a loader to where the model is, with the hooks that the trainer calls."""
    trainer = module.trainer
    batch = trainer.precision_plugin.convert_input(batch)
    module = trainer.lightning_module or module  # maybe another wrapper of the same evaluator
    with hooks_called_by(module):
        batch = module._on_before_batch_transfer(batch, dataloader_idx=dataloader_idx)
        return trainer.strategy.batch_to_device(batch, dataloader_idx=dataloader_idx)


@contextlib.contextmanager
def hooks_called_by(module: pl.LightningModule | None) -> Iterator[None]:
    """Let a module call its hooks of batches, whichever module the trainer is attached to.

    Lightning takes what is attached for a DataModule if it is not of the caller's class: for a step
    of the evaluator that calls ``to_onnx``, the wrapper; for a wrapper, another one of the same
    evaluator.
    """
    trainer = None if module is None else vars(module).get("_trainer")
    selector = None if trainer is None else trainer._data_connector._datahook_selector
    if selector is None:
        yield
        return
    own, selector.model = selector.model, module
    try:
        yield
    finally:
        selector.model = own
