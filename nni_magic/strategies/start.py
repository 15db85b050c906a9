"""What a run says when it starts."""

from __future__ import annotations

from typing import Any

from pytorch_lightning.utilities import rank_zero_info

from ..scoring.user_hooks import warn_of_callbacks

__all__ = ["announce"]


def announce(module: Any) -> None:
    """Say, in the line of every run, what its seed covers, and by what children are ranked.

    Callbacks that would have a part in a validation, and have none in scores, are warned of.

    Parameters
    ----------
    module
        The Lightning module that trains the supernet.
    """
    scorer = module.scorer
    metric = "the validation loss" if scorer.metric is None else scorer.metric
    rank_zero_info(
        f"{module.method}: seed {module.seed} draws the children (weights, shuffling and dropout "
        f"follow seed_everything); they are ranked by {metric}, mode {scorer.mode}"
    )
    warn_of_callbacks(module.trainer.callbacks)
