"""Be to Lightning what the evaluator's module is.

NNI's base class forwards some of Lightning's hooks, and the class here all of them, with the
attributes that Lightning reads: an evaluator that clips gradients, schedules, configures callbacks
or moves batches in its own way would otherwise lose that without a word.
"""

from __future__ import annotations

import inspect
from typing import Any

from nni.nas.oneshot.pytorch.sampling import RandomSamplingLightningModule
from pytorch_lightning.core.hooks import CheckpointHooks, DataHooks, ModelHooks

from .hyper_parameters import keep_loadable

__all__ = ["ATTRIBUTES", "HOOKS", "EvaluatorHooks"]

OF_THE_MODULE = (  # of LightningModule itself; its hook classes have the others
    "backward", "configure_callbacks", "configure_gradient_clipping", "forward",
    "lr_scheduler_step", "optimizer_step", "optimizer_zero_grad",
)  # fmt: skip

HOOKS = (
    *OF_THE_MODULE,
    *(
        name
        for owner in (ModelHooks, DataHooks, CheckpointHooks)
        for name, member in vars(owner).items()
        if inspect.isfunction(member) and not name.startswith("__")
    ),
)
"""Methods that Lightning calls; steps and optimizers are NNI's to forward."""

ATTRIBUTES = (
    "_current_fx_name",  # the hook that is running, by which ``self.log`` has its defaults
    "_hparams_name", "_log_hyperparams", "hparams", "hparams_initial",
    "allow_zero_length_dataloader_with_multiple_devices", "automatic_optimization",
    "example_input_array", "prepare_data_per_node", "strict_loading",
)  # fmt: skip
"""What Lightning reads from a module, and sets."""


class _Evaluators:
    """An attribute of the evaluator's module, looked up whenever it is read.

    A hook is so the evaluator's own bound method, and Lightning's question whether it is overridden
    gets the evaluator's answer.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, module: Any, owner: type) -> Any:
        return self if module is None else getattr(_evaluators_module(module), self._name)


class _EvaluatorsToSet(_Evaluators):
    """One that can be set, too."""

    def __set__(self, module: Any, value: Any) -> None:
        # Until the evaluator's module is there, what is set are the defaults of a constructor.
        if "training_module" not in module.__dict__.get("_modules", {}):
            return
        evaluators = _evaluators_module(module)
        if self._name in evaluators.__dict__:
            # Lightning names the hook that is running 40 times a step: what torch asks whenever an
            # attribute of a module is set, whether it is a parameter or a module, takes its time.
            evaluators.__dict__[self._name] = value
        else:
            setattr(evaluators, self._name, value)


def _evaluators_module(module: Any) -> Any:
    """The wrapped module, without torch's search for what a module has not."""
    found = module.__dict__["_modules"].get("training_module")
    return module.training_module if found is None else found


class EvaluatorHooks(RandomSamplingLightningModule):
    """Wraps the evaluator's module; Lightning runs the wrapper as if it were that module."""

    # NNI's ``setup`` would put the wrapper's ``log`` over the evaluator's own. With the name of the
    # running hook in common, the evaluator's works as it is.
    vars().update({name: _Evaluators() for name in HOOKS})
    vars().update({name: _EvaluatorsToSet() for name in ATTRIBUTES})

    def load_state_dict(self, state_dict: Any, *arguments: Any, **options: Any) -> Any:
        """Load weights, and name the checkpoint whose do not fit."""
        try:
            return super().load_state_dict(state_dict, *arguments, **options)
        except RuntimeError as error:
            if self._trainer is None or (path := self._trainer.ckpt_path) is None:
                raise
            raise ValueError(f"ckpt_path {str(path)!r}: {error}") from error

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        keep_loadable(checkpoint)
        self.training_module.on_save_checkpoint(checkpoint)
