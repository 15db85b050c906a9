r"""Watch interference while a supernet trains.

.. math:: \frac{1}{|S|} \sum_{o \in S} \cos(\nabla_o L_{pred}(\alpha_{t-1}),
          \nabla_o L_{pred}(\alpha_t)) \quad [Xu2022, Sec. 3]

==================  ===================================================================
:math:`\alpha_t`    the child that the step trained; :math:`\alpha_{t-1}` the one before
:math:`S`           candidates of choice blocks that both hold, run and have weights in; those
                    inside NNI's supernet of a ``Cell`` are left out
:math:`L_{pred}`    loss of the evaluator's ``training_step``, without the method's terms
==================  ===================================================================

SPOS changes most operators from step to step, MAGIC-T one: a higher cosine is less interference.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from nni.mutable import Sample
from nni.nas.oneshot.pytorch.supermodule.sampling import PathSamplingLayer
from torch import Tensor, nn

from ..scoring.evaluator_state import unnoticed
from ..supernet.batches import copy_of
from ..supernet.connection import require_automatic_optimization
from ..supernet.evaluator_steps import call_step, loss_of
from ..supernet.hidden_states import as_anchor
from ..supernet.resume import isolated_randomness, seed_generators
from ..support.errors import check_count
from ..support.snapshot import Snapshot
from .shared_weights import trainable_weights

__all__ = ["LogInterference"]

NEEDED = ("child", "router", "training_module")


class LogInterference(pl.Callback):
    """Lightning callback that logs how well the gradients of adjacent children agree.

    Every so many optimizer steps it logs two metrics, with the trainer's loggers and in its
    ``callback_metrics``:

    ``interference/adjacent_cosine``
        Mean cosine, from -1 to 1, between the gradients that the child just trained and the one
        before give to a candidate which they share. It is left out where it is undefined: they
        share none, or the gradients are zero or not finite, as in float16 before its scale of the
        loss has settled.
    ``interference/shared_candidates``
        How many candidates the mean is taken over.

    Both children meet the step's batch and the weights behind the step, with dropout off and the
    same random numbers. (Where batches are accumulated, the last one is used; over several ranks
    gradients are averaged.) Training is the same with and without the callback: what the
    evaluator's ``training_step`` keeps in attributes, metrics and buffers is put back.

    Parameters
    ----------
    every_n_steps
        Optimizer steps from one measurement to the next. One costs little more than two training
        steps, so that the default of 100 adds about 2 % to the training time.

    Examples
    --------
    ::

        evaluator = Classification(..., callbacks=[LogInterference()])
    """

    def __init__(self, every_n_steps: int = 100) -> None:
        check_count("every_n_steps", every_n_steps)
        self.every_n_steps = every_n_steps
        self._step = -1
        self._previous: Sample | None = None
        self._batch: Any = None

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Make sure, before a fit, that there is something to measure.

        Raises
        ------
        TypeError
            If the module that is trained does not come from one of the strategies.
        ValueError
            If its supernet has no choice block, or the evaluator's module optimizes by hand.
        """
        if stage != "fit":
            return
        if missing := [name for name in NEEDED if not hasattr(pl_module, name)]:
            raise TypeError(
                f"{type(pl_module).__name__} has no {' and no '.join(missing)}: LogInterference "
                "is for the training of a supernet by a strategy of nni_magic"
            )
        why = "LogInterference takes gradients of the loss of its step"
        require_automatic_optimization(pl_module.training_module, why)
        if not any(isinstance(module, PathSamplingLayer) for module in pl_module.modules()):
            raise ValueError(
                f"{type(pl_module.training_module.model).__name__} has no LayerChoice, and so no "
                "candidate whose gradients LogInterference could compare"
            )
        self.load_state_dict({"step": -1, "previous": None})

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the batch, and the child before: the module draws the next one after this."""
        if self._step != trainer.global_step:
            self._step, self._previous = trainer.global_step, pl_module.child
        # As given: the training step may write into it. Whether it is needed shows behind the step.
        due = (trainer.global_step + 1) % self.every_n_steps == 0
        self._batch = copy_of(batch) if due else None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure and log, when the optimizer has stepped and it is time to."""
        step = trainer.global_step
        if step == self._step or step % self.every_n_steps or self._previous is None:
            return
        cosines = _cosines(trainer, pl_module, self._previous, self._batch, batch_idx)
        self._batch = None
        found = {"interference/shared_candidates": float(len(cosines))}
        if cosines:
            found["interference/adjacent_cosine"] = sum(cosines) / len(cosines)
        # Not by ``log``, which writes nothing but in the steps that ``log_every_n_steps`` picks.
        for logger in trainer.loggers:
            logger.log_metrics(found, step=step - 1)
        trainer.callback_metrics.update({name: torch.tensor(found[name]) for name in found})

    def state_dict(self) -> dict[str, Any]:
        """The previous child, in plain types: a run may resume between accumulated batches."""
        return {"step": self._step, "previous": self._previous}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken."""
        self._step, self._previous = state_dict["step"], state_dict["previous"]


def _cosines(
    trainer: pl.Trainer, module: Any, previous: Sample, batch: Any, batch_idx: int
) -> list[float]:
    """Cosines of the candidates that the module's child shares with the previous one."""
    shared = [
        weights
        for block in module.modules()
        if isinstance(block, PathSamplingLayer)
        and previous[block.label] == module.child[block.label]
        and (weights := trainable_weights([block], module.child[block.label]))
    ]
    if not shared:
        return []
    inputs = [weight for weights in shared for weight in weights]
    gradients = []
    with _isolated(module.training_module) as snapshot:
        for child in (previous, module.child):  # the path is then that of the child, as before
            module.router.set(child)
            seed_generators(trainer.global_step)
            snapshot.restore()
            gradients.append(_gradients(trainer, module.training_module, batch, batch_idx, inputs))
    pairs = zip(*gradients, strict=True)
    candidates = [[next(pairs) for _ in weights] for weights in shared]
    cosines = [_cosine(trainer, candidate) for candidate in candidates]
    return [cosine for cosine in cosines if cosine is not None]


@contextmanager
def _isolated(evaluator: pl.LightningModule) -> Iterator[Snapshot]:
    """Switch dropout off and log nothing; afterwards the evaluator and generators are put back."""
    modules = list(evaluator.modules())
    with isolated_randomness(), as_anchor(modules), unnoticed(evaluator) as snapshot:
        yield snapshot


def _gradients(
    trainer: pl.Trainer,
    evaluator: pl.LightningModule,
    batch: Any,
    batch_idx: int,
    weights: Sequence[nn.Parameter],
) -> Sequence[Tensor | None]:
    """Gradients on the path that is set; none where the path does not lead through a weight."""
    precision: Any = trainer.precision_plugin
    with precision.train_step_context():
        output: Any = call_step(evaluator.training_step, batch, batch_idx)
    loss = loss_of(output)
    if loss is None:  # the evaluator skips this batch
        return [None] * len(weights)
    if getattr(precision, "scaler", None) is not None:  # in half precision gradients would vanish
        loss = precision.scaler.scale(loss)
    # Not ``backward``: it would write ``.grad``, and under DDP start to reduce.
    return torch.autograd.grad(loss, weights, allow_unused=True)


def _cosine(
    trainer: pl.Trainer, pairs: Sequence[tuple[Tensor | None, Tensor | None]]
) -> float | None:
    """Cosine between two lists of gradients, over the weights that both children run."""
    both = [(a.flatten(), b.flatten()) for a, b in pairs if a is not None and b is not None]
    if not both:
        return None
    flat = (torch.cat(side).double() for side in zip(*both, strict=True))
    a, b = (trainer.strategy.reduce(side, reduce_op="mean") for side in flat)
    length = (a.norm() * b.norm()).item()
    return (a @ b).item() / length if 0 < length < math.inf else None
