"""The Lightning module of the differentiable strategies: it trains a mixture of all candidates.

Before every optimizer step of the weights *w*, the architecture parameters make a step of their
own:

- *bilevel*: along the gradient of the loss of a validation batch, and then the weights along that
  of a training batch, as in DARTS of first order;
- *single-level*: along the gradient of the same training batch as the weights.

NNI's module optimizes by hand. Here Lightning optimizes the weights as in any training, so that
clipping, accumulation, schedules and counts of steps are the evaluator's own, and the gradient of
the architecture alone is asked of torch.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import nni_bootstrap  # noqa: F401
import pytorch_lightning as pl
import torch
from nni.mutable import Sample
from nni.nas.oneshot.pytorch.base_lightning import BaseOneShotLightningModule
from nni.nas.oneshot.pytorch.differentiable import DartsLightningModule
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor, nn
from torch.optim import Optimizer

from ...scoring.evaluator_state import unnoticed
from ...supernet.connection import require_automatic_optimization
from ...supernet.epochs import log_is_due
from ...supernet.evaluator_steps import call_step, loss_of
from ...supernet.replay import Replay
from ...supernet.resume import RandomState
from ..finite import GuardedModule, Part
from .architecture import Architecture
from .guards import MixtureSteps, check_trainer, validation_loss, without_a_trace
from .ordered import most_probable
from .progress import resume, save
from .settings import DifferentiableSettings

__all__ = ["TRAIN", "VAL", "MixtureModule"]

TRAIN, VAL = "train", "val"
"""Parts of a batch of a bilevel training, as NNI names them."""

_logger = logging.getLogger(__name__)


class MixtureModule(GuardedModule, DartsLightningModule):
    """Lightning module that trains a mixture; it wraps the evaluator's own module.

    Parameters
    ----------
    training_module
        The evaluator's Lightning module.
    mixture
        The supernet of NNI's ``DARTS``.
    architecture
        Its architecture parameters.
    optimizer
        Of these.
    method
        Name of the strategy, which a checkpoint is checked for.
    settings
        Of the strategy.
    prepare
        Called before every step with the module, such as to draw samples.
    candidates
        Label to its choices, which a checkpoint keeps.
    allowed
        Whether a child may be exported; by default all may.
    partial_channels
        K, of which one part of the channels is mixed, which a checkpoint keeps.

    Attributes
    ----------
    kept
        What else of the strategy a checkpoint keeps, by its ``progress`` and ``resume``.
    architecture_step : int
        The optimizer step before which the architecture was trained last.
    logged_before : dict of str to Tensor
        What was logged before the run was resumed.
    """

    def __init__(
        self,
        training_module: pl.LightningModule,
        mixture: nn.Module,
        architecture: Architecture,
        optimizer: Optimizer,
        *,
        method: str,
        settings: DifferentiableSettings,
        prepare: Any,
        candidates: dict[str, list[Any]],
        allowed: Callable[[Sample], bool] | None = None,
        partial_channels: int | None = None,
    ) -> None:
        super().__init__(training_module)
        assert settings.seed is not None, "the strategy draws one if none is given"
        self.method, self.settings, self.seed = method, settings, settings.seed
        self._mixture = (mixture,)  # the evaluator's module registers it
        self.architecture, self.arc_optimizer = architecture, optimizer
        self._prepare, self.candidates, self._allowed = prepare, candidates, allowed
        self.partial_channels = partial_channels
        self.kept: Any = None
        self._parted = True
        self.step = None
        self.replay = Replay()
        self._parts: list[Part] = []
        self.finite = MixtureSteps(self, settings.not_finite, self._parts)
        self._before: RandomState | None = None
        self.architecture_step = self._begun = -1
        self.logged_before: dict[str, Tensor] = {}

    def set_model(self, model: nn.Module) -> None:
        """Train the mixture, whatever NNI takes for the model."""
        super().set_model(self._mixture[0])

    # Optimizers

    def arch_parameters(self) -> list[nn.Parameter]:
        return self.architecture.parameters

    def configure_optimizers(self) -> Any:
        """The evaluator's, without the architecture parameters."""
        return self.postprocess_weight_optimizers(self.training_module.configure_optimizers())

    # Training

    @property
    def trains_architecture(self) -> bool:
        """Whether the warm-up of the weights is over."""
        return bool(self.trainer.current_epoch >= self.settings.arc_warmup_epochs)

    def on_train_batch_start(self, batch: Any, batch_idx: int, *args: Any) -> Any:
        self.replay.finish()  # for loaders that cannot do it
        step = self.trainer.global_step
        if self._begun != step:  # also where a resumed run goes on within a step
            self.finite.begin()
            self._prepare(self)
        self._new = self.architecture_step != step
        self.architecture_step = self._begun = step
        return super().on_train_batch_start(self._train(batch), batch_idx, *args)

    def on_train_batch_end(self, outputs: Any, batch: Any, *args: Any) -> Any:
        return super().on_train_batch_end(outputs, self._train(batch), *args)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Train the architecture, if bilevel, and give the loss of the weights."""
        if self.settings.bilevel and self._new:
            if self.trains_architecture:
                self._step(self._gradients_of(batch, batch_idx))
            elif self.trainer.global_step == 0:
                with without_a_trace(self.training_module):  # errors show before the warm-up
                    self._gradients_of(batch, batch_idx)
        self.architecture.require_gradient(self._learns_along)
        step = self.training_module.training_step
        output = call_step(step, self._train(batch), batch_idx, own=False)
        if (loss := loss_of(output)) is not None:
            self._parts.append(Part({}, "prediction_loss", loss.detach()))
        if log_is_due(self.trainer):
            summary = self.architecture.summary()
            self.log_dict({f"architecture/{name}": value for name, value in summary.items()})
        return output

    @property
    def _learns_along(self) -> bool:
        """Whether the architecture learns from the batch of the weights."""
        return not self.settings.bilevel and self.trains_architecture

    def _train(self, batch: Any) -> Any:
        return batch[TRAIN] if self.settings.bilevel else batch

    def _gradients_of(self, batch: Any, batch_idx: int) -> Sequence[Tensor | None]:
        """Gradient of the architecture on the validation data, without a trace in the evaluator."""
        evaluator = self.training_module
        with self.architecture.learning(), unnoticed(evaluator):
            loss = validation_loss(evaluator, batch[VAL], batch[TRAIN], batch_idx)
            parameters = self.architecture.parameters
            gradients: Sequence[Tensor | None] = [None] * len(parameters)
            if loss is not None:
                gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        torch.clear_autocast_cache()  # its casts belong to a graph that is gone
        return gradients

    def _step(self, gradients: Sequence[Tensor | None]) -> None:
        """Make a step along gradients that are finite."""
        if (found := self.architecture.not_finite(gradients)) is not None:
            where = f"architecture step {self.trainer.global_step + 1}"
            if self.settings.not_finite == "stop":
                raise ValueError(
                    f"{where}, in epoch {self.trainer.current_epoch}, is not finite: {found}. "
                    "not_finite is 'stop'; accepted is 'skip', too, which leaves such steps out"
                )
            _logger.warning("Left out %s, which is not finite: %s", where, found)
            return
        for parameter, gradient in zip(self.architecture.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.arc_optimizer.step()
        self.arc_optimizer.zero_grad()

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Check the gradients of the weights, and let the architecture step along with them."""
        skipped = self.finite.skipped
        super().configure_gradient_clipping(optimizer, *args, **kwargs)
        if self._learns_along:
            gradients = [parameter.grad for parameter in self.architecture.parameters]
            self.arc_optimizer.zero_grad()
            if self.finite.skipped == skipped:
                self._step(gradients)

    # Both parts of a batch pass the evaluator's hooks

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return self._each(super().on_before_batch_transfer, batch, dataloader_idx)

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        return self._each(super().transfer_batch_to_device, batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return self._each(super().on_after_batch_transfer, batch, dataloader_idx)

    def _each(self, hook: Any, batch: Any, *place: Any) -> Any:
        if self._parted and self.settings.bilevel and self.trainer.training:
            return {name: hook(part, *place) for name, part in batch.items()}
        return hook(batch, *place)

    @contextlib.contextmanager
    def whole_batches(self) -> Iterator[None]:
        """Take batches that are of one loader, and not of two, while the block runs."""
        self._parted = False
        try:
            yield
        finally:
            self._parted = True

    # Validation, of the mixture

    def on_validation_start(self) -> None:
        self._before = RandomState.capture()
        return super().on_validation_start()

    def validation_step(self, *args: Any) -> Any:
        return call_step(self.training_module.validation_step, *args, own=False)

    def on_validation_end(self) -> None:
        self.generators.restore()
        self._before = None
        return super().on_validation_end()

    @property
    def generators(self) -> RandomState:
        """The state of the generators from which training goes on."""
        return self._before or RandomState.capture()

    # The child, start, stop, resume

    def resample(self) -> Sample:
        """Do nothing: a mixture has no path."""
        return {}

    def export(self) -> Sample:
        """The child of the candidates with the largest weights, of those that are allowed."""
        if self._allowed is None:
            return BaseOneShotLightningModule.export(self)
        return most_probable(self.architecture.weights(), self.candidates, self._allowed)

    def on_fit_start(self) -> None:
        require_automatic_optimization(self.training_module, "the strategy adds its own steps")
        check_trainer(self.trainer, bilevel=self.settings.bilevel)
        self._begun = -1
        if not self.replay.pending:
            self.architecture_step = -1
            self.finite.reset()
        rank_zero_info(f"{self.method}: seed {self.seed} begins the architecture parameters")
        return super().on_fit_start()

    def on_fit_end(self) -> None:
        # A run that is resumed when it is over validates no more, and NNI's evaluators report
        # their last validation.
        logged = self.trainer.callback_metrics
        logged.update({name: v for name, v in self.logged_before.items() if name not in logged})
        return super().on_fit_end()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        save(self, checkpoint)
        super().on_save_checkpoint(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        resume(self, checkpoint)
        super().on_load_checkpoint(checkpoint)
