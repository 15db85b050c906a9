"""Tell the hooks of users from those of Lightning and NNI, and who is not asked for a score."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pytorch_lightning.callbacks import Callback, WeightAveraging
from pytorch_lightning.utilities import rank_zero_warn

__all__ = ["is_users", "warn_of_callbacks"]

_LIBRARIES = ("pytorch_lightning", "nni")
_HOOKS = (
    "on_validation_start", "on_validation_epoch_start", "on_validation_batch_start",
    "on_validation_batch_end", "on_validation_epoch_end", "on_validation_end",
)  # fmt: skip


def is_users(hook: Any) -> bool:
    """Tell whether a hook is a user's: Lightning's do nothing, and NNI's report to a tuner."""
    # Any callable can be a hook, and not every one says where it is from.
    return _package(hook) not in _LIBRARIES


def warn_of_callbacks(callbacks: Iterable[Callback]) -> None:
    """Warn of callbacks with hooks of a validation: scores are taken without a trainer's callbacks.

    Those of Lightning, NNI and this package only watch; but Lightning's ``WeightAveraging``
    validates other weights.
    """
    if names := list(dict.fromkeys(type(one).__name__ for one in callbacks if _acts(one))):
        rank_zero_warn(
            f"callbacks {', '.join(names)} do not act on the scores of children: of the hooks of a "
            "validation those of the evaluator's module alone are called for them, so that "
            "weights that a callback changes, or metrics that it logs, are not in a score"
        )


def _acts(callback: Callback) -> bool:
    if isinstance(callback, WeightAveraging):
        return True
    hooks = [getattr(callback, name) for name in _HOOKS]
    return any(is_users(hook) and _package(hook) != "nni_magic" for hook in hooks)


def _package(hook: Any) -> str:
    return (getattr(hook, "__module__", None) or "").partition(".")[0]
