"""Forward Lightning's hooks to the evaluator's module.

NNI's base class forwards some of them, and the class here the others: an evaluator that clips
gradients, schedules or moves batches in its own way would otherwise lose that without a word.
"""

from __future__ import annotations

from typing import Any

from nni.nas.oneshot.pytorch.sampling import RandomSamplingLightningModule

__all__ = ["EvaluatorHooks"]


class EvaluatorHooks(RandomSamplingLightningModule):
    """Wraps the evaluator's module; Lightning trains the wrapper as if it were that module."""

    @property
    def automatic_optimization(self) -> bool:
        return self.training_module.automatic_optimization

    # Batches

    def on_before_batch_transfer(self, *args: Any, **kwargs: Any) -> Any:
        return self.training_module.on_before_batch_transfer(*args, **kwargs)

    def transfer_batch_to_device(self, *args: Any, **kwargs: Any) -> Any:
        return self.training_module.transfer_batch_to_device(*args, **kwargs)

    def on_after_batch_transfer(self, *args: Any, **kwargs: Any) -> Any:
        return self.training_module.on_after_batch_transfer(*args, **kwargs)

    # Backward, optimizer and schedule

    def backward(self, *args: Any, **kwargs: Any) -> None:
        self.training_module.backward(*args, **kwargs)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self.training_module.optimizer_step(*args, **kwargs)

    def optimizer_zero_grad(self, *args: Any, **kwargs: Any) -> None:
        self.training_module.optimizer_zero_grad(*args, **kwargs)

    def on_before_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self.training_module.on_before_optimizer_step(*args, **kwargs)

    def on_before_zero_grad(self, *args: Any, **kwargs: Any) -> None:
        self.training_module.on_before_zero_grad(*args, **kwargs)

    def configure_gradient_clipping(self, *args: Any, **kwargs: Any) -> None:
        self.training_module.configure_gradient_clipping(*args, **kwargs)

    def lr_scheduler_step(self, *args: Any, **kwargs: Any) -> None:
        self.training_module.lr_scheduler_step(*args, **kwargs)

    # Validation

    def on_validation_batch_start(self, *args: Any, **kwargs: Any) -> None:
        self.training_module.on_validation_batch_start(*args, **kwargs)

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.training_module.on_validation_batch_end(*args, **kwargs)

    def on_validation_epoch_start(self, *args: Any, **kwargs: Any) -> None:
        self.training_module.on_validation_epoch_start(*args, **kwargs)

    def on_validation_epoch_end(self, *args: Any, **kwargs: Any) -> None:
        self.training_module.on_validation_epoch_end(*args, **kwargs)
