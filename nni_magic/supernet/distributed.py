"""What a supernet asks of Lightning's distributed training, checked before it begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytorch_lightning as pl
from pytorch_lightning.strategies.launchers import _MultiProcessingLauncher
from torch import nn

__all__ = ["require_choices", "require_own_process", "require_unused_parameters"]


def require_unused_parameters(strategy: pl.strategies.Strategy) -> None:
    """Make sure that DDP expects parameters without gradient: the candidates not on the path.

    Raises
    ------
    ValueError
        If it does not.
    """
    if not isinstance(strategy, pl.strategies.DDPStrategy):
        return
    if not strategy._ddp_kwargs.get("find_unused_parameters", False):
        raise ValueError(
            "find_unused_parameters is False under DDP; accepted is True, as a step trains one "
            "child and leaves the other candidates unused: "
            "pass strategy='ddp_find_unused_parameters_true'"
        )


def require_own_process(strategy: pl.strategies.Strategy) -> None:
    """Make sure that training runs in the calling process, which then holds what was trained.

    Raises
    ------
    ValueError
        If the trainer's strategy starts other processes by ``multiprocessing``: the weights come
        back from these, and the scores of children do not.
    """
    if isinstance(strategy.launcher, _MultiProcessingLauncher):
        raise ValueError(
            "strategy of the trainer is one that trains in other processes, as ddp_spawn, ddp_fork "
            "and ddp_notebook do, from which no scores come back; accepted are those that train in "
            "the calling process: 'auto' on one device, 'ddp_find_unused_parameters_true' on more"
        )


def require_choices(module: nn.Module, by_label: Mapping[str, Iterable[nn.Module]]) -> None:
    """Make sure that no BatchNorm of variable width has become a SyncBatchNorm of one width.

    Parameters
    ----------
    module
        The Lightning module, as it is trained.
    by_label
        Label to the modules that chose by it when the supernet was made.

    Raises
    ------
    ValueError
        If one of these is not in the module any more.
    """
    present = {id(part) for part in module.modules()}
    lost = [label for label, parts in by_label.items() if not present.issuperset(map(id, parts))]
    if lost:
        raise ValueError(
            "sync_batchnorm is True; accepted is False, as torch's SyncBatchNorm has no variable "
            f"width, and the trainer has replaced modules that choose {lost}"
        )
