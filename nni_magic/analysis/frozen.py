"""Run an evaluator's training step on a supernet that stays as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from pytorch_lightning.utilities.data import extract_batch_size
from torch import Tensor, nn

from ..scoring.evaluator_state import logged_to, untouched
from ..supernet.connection import (
    as_supernet,
    check_evaluator,
    connected,
    converted,
    kept_attachments,
    on_device,
    prepare,
    require_automatic_optimization,
)
from ..supernet.evaluator_hooks import EvaluatorHooks
from ..supernet.evaluator_steps import call_step, loss_of
from ..supernet.hidden_states import Call, as_anchor, capture_call
from ..supernet.resume import isolated_randomness, seed_generators
from ..supernet.routing import Router
from ..supernet.stages import in_training

__all__ = ["FrozenTraining"]

FLOAT16 = ("16-mixed", "16-true")


class FrozenTraining:
    """Training steps on fixed batches, of which nothing remains but the loss.

    Parameters
    ----------
    supernet, evaluator, batches
        As for :class:`nni_magic.analysis.gradients.SharedGradients`.

    Attributes
    ----------
    model : ModelSpace
        The supernet.
    n_batches : int
        Number of micro-batches.
    """

    def __init__(self, supernet: ModelSpace, evaluator: Lightning, batches: Sequence[Any]) -> None:
        check_evaluator(evaluator)
        require_automatic_optimization(evaluator.module, "a gradient is taken of its step's loss")
        if (precision := evaluator.trainer.precision) in FLOAT16:
            raise ValueError(
                f"the evaluator's trainer has precision {precision!r}, in which small gradients "
                "are lost; accepted are others, such as '32-true' and 'bf16-mixed'"
            )
        if not isinstance(batches, (list, tuple)):
            raise TypeError(
                f"batches is a {type(batches).__name__}; accepted are lists of micro-batches, "
                "such as [batch]"
            )
        if not batches:
            raise ValueError("batches is empty; accepted are lists of at least one micro-batch")
        self.model = as_supernet(supernet)
        self.n_batches = len(batches)
        self._evaluator = evaluator
        self._module = EvaluatorHooks(evaluator.module)
        with kept_attachments(evaluator):
            prepare(self._module, self.model, evaluator)
        with self._connected():
            self._batches = [on_device(self._module, batch) for batch in batches]

    @contextlib.contextmanager
    def session(self, weights: Sequence[nn.Parameter]) -> Iterator[None]:
        """Gradients for these weights only, dropout off, norms by the batch's statistics.

        Modes, ``requires_grad``, the supernet's path, random generators, attributes and metrics of
        the evaluator, and what it and its trainer are attached to come back afterwards.
        """
        with self._connected(), converted(self._module), self._frozen(weights):
            yield

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        """As the trainer trains, for hooks of batches and steps that ask."""
        with connected(self._module, self.model, self._evaluator), in_training(self._module):
            yield

    @contextlib.contextmanager
    def _frozen(self, weights: Sequence[nn.Parameter]) -> Iterator[None]:
        modules, parameters = list(self._module.modules()), list(self._module.parameters())
        modes = [module.training for module in modules]
        trained = [parameter.requires_grad for parameter in parameters]
        supernet_modules = [m for m in modules if isinstance(m, BaseSuperNetModule)]
        routed = [getattr(module, "sampling_policy", module) for module in supernet_modules]
        paths = [module._sampled for module in routed]
        with isolated_randomness(), torch.enable_grad():
            try:
                self._module.train().requires_grad_(False)
                for weight in weights:
                    weight.requires_grad_(True)
                evaluator = self._evaluator.module
                with as_anchor(modules), untouched(evaluator) as self._snapshot:
                    yield
            finally:
                for module, mode in zip(modules, modes, strict=True):
                    module.training = mode
                for parameter, own in zip(parameters, trained, strict=True):
                    parameter.requires_grad_(own)
                for module, path in zip(routed, paths, strict=True):
                    module._sampled = path
                Router.of(self.model).forget()

    def precision(self) -> contextlib.AbstractContextManager[None]:
        """The trainer's autocast."""
        return self._evaluator.trainer.precision_plugin.train_step_context()

    def call(self, index: int) -> Call:
        """How the training step of a micro-batch calls the model, on whatever path."""
        return capture_call(self.model, lambda: self._training_step(index))

    def loss(self, index: int) -> tuple[Tensor, float]:
        """Loss of a micro-batch on the path that is set, and its weight among the others.

        Raises
        ------
        ValueError
            If the training step does not give a tensor with one element.
        """
        output, logged = self._training_step(index)
        loss = loss_of(output)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            given = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
            raise ValueError(
                f"training_step of {type(self._evaluator.module).__name__} gives a loss of {given};"
                " accepted are tensors with one element"
            )
        if self.n_batches == 1:
            return loss, 1.0
        sizes = [size for value, size in logged if size is not None and value == loss.item()]
        return loss, float(sizes[0] if sizes else extract_batch_size(self._batches[index]))

    def _training_step(self, index: int) -> tuple[Any, list[tuple[float, int | None]]]:
        """What the evaluator's step returns, and the values that it logs with their sizes.

        Random numbers and attributes of the evaluator depend on nothing but the index.
        """
        logged = []

        def log(name: str, value: Any, *args: Any, **options: Any) -> None:
            value = value.item() if isinstance(value, Tensor) else value
            if isinstance(value, float):  # and not a torchmetrics object
                logged.append((value, options.get("batch_size")))

        seed_generators(index)
        self._snapshot.restore()
        with logged_to(self._evaluator.module, log):
            step = self._evaluator.module.training_step
            return call_step(step, self._batches[index], index), logged
