"""Run the turns of a step: the evaluator's own training step of every child, and loss terms."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import nni_bootstrap  # noqa: F401
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.signature_utils import is_param_in_hook_signature
from torch import Tensor, nn

from ..losses.term import LossTerm, TrainingSupernet
from ..samplers.base import Sampler
from ..supernet.connection import require_automatic_optimization
from ..supernet.evaluator_steps import call_step, loss_of
from ..supernet.hidden_states import Call, recorded
from ..supernet.resume import RandomState
from ..supernet.step import Step, Turn, count_rows, parted, rows_of
from .finite import Part
from .probing import BatchProbe

__all__ = ["TurnRunner"]


class TurnRunner:
    """Runs the children of a step one after the other, all with the same random numbers.

    An evaluator that draws (masks, dropout, mixup) draws the same in every turn of a step, so that
    a teacher and its student see the same input.

    By default the losses of all turns are summed, and Lightning runs one backward pass through the
    sum. Turn by turn, Lightning runs the first turn that has a loss and its backward pass, and then
    every other turn is run forward and backward by itself: the gradient is the same, and takes the
    memory of one child. The loss that Lightning hands to callbacks is then that of the first turn;
    ``module.step`` has all. ``on_before_backward`` and ``on_after_backward`` are called for every
    turn, and a term cannot send a gradient into an earlier turn, which is gone.

    Every turn but the last is given a copy of the batch, because the evaluator may write into it.

    An evaluator that optimizes by hand is given one child for every batch, or for all batches until
    one of its optimizers has stepped, however many optimizers there are.

    Parameters
    ----------
    module
        The Lightning module that trains the supernet.
    turn_by_turn
        Whether every turn has a backward pass of its own.

    Attributes
    ----------
    parts : list of Part
        What the losses of the present optimizer step are made of, so far.
    """

    def __init__(self, module: TrainingSupernet, turn_by_turn: bool) -> None:
        self._module = module
        self._turn_by_turn = turn_by_turn
        self._later: list[Turn] = []
        self._going_back = False
        self._logged: dict[str, Tensor] = {}
        self.parts: list[Part] = []

    def check(self, trainer: pl.Trainer, sampler: Sampler) -> None:
        """Make sure that the evaluator's steps and the trainer fit what is to be run.

        An evaluator that optimizes by hand can only be given one child a step and no loss terms.

        Raises
        ------
        ValueError
            If a step optimizes by hand although there is more to go back through than its own
            loss, or reads its batches by itself; or if turns go back one by one under DDP, which
            counts on one backward pass a step.
        """
        evaluator = self._module.training_module
        if terms := [term.name for term in self._module.terms]:
            why = f"{', '.join(terms)} is to be added to the loss of every step"
            require_automatic_optimization(evaluator, why)
        if type(sampler).turns is not Sampler.turns:
            why = f"{type(sampler).__name__} may train or probe several children in a step"
            require_automatic_optimization(evaluator, why)
        if is_param_in_hook_signature(evaluator.training_step, "dataloader_iter", explicit=True):
            raise ValueError(
                f"training_step of {type(evaluator).__name__} takes dataloader_iter; accepted are "
                "steps that take a batch"
            )
        if self._turn_by_turn and isinstance(trainer.strategy, pl.strategies.DDPStrategy):
            raise ValueError(
                "turn_by_turn is True, but the trainer's strategy is DDP, which synchronises "
                "gradients in one backward pass a step; accepted is False: the sum of all turns"
            )

    def drawn(self, sampler: Sampler, inputs: tuple[Any, ...]) -> list[Turn]:
        """Draw the turns of the next step.

        Parameters
        ----------
        sampler
            Gives them.
        inputs
            Arguments of the evaluator's training step, for a sampler that probes children.

        Raises
        ------
        ValueError
            If there are none, or a part of the training's first batch is empty.
        """
        if not (turns := sampler.turns(BatchProbe(self._module, inputs))):
            raise ValueError(f"turns of {type(sampler).__name__} is []; accepted is at least one")
        # Later batches may be an epoch's last, and short.
        if any(turn.part for turn in turns) and self._module.trainer.global_step == 0:
            _check_parts(turns, inputs[0])
        return turns

    def run(self, step: Step, batch: Any, batch_idx: int) -> Any:
        """Run the turns; turn by turn, only up to the first that has a loss.

        Returns
        -------
        Tensor, dict or None
            The evaluator's output in the first turn, with the loss to go back from; as it is, such
            as ``None``, if no turn has a loss.
        """
        self._step, self._inputs = step, (batch, batch_idx)
        self._random = RandomState.capture() if len(step.turns) > 1 else None
        self._logged = {}
        outputs: list[Any] = []
        losses: list[Tensor] = []
        self._later = list(parted(step.turns, batch))
        while self._later and not (self._turn_by_turn and losses):
            output, loss = self._run(self._later.pop(0), again=bool(outputs))
            outputs.append(output)
            losses += [] if loss is None else [loss]
        if not losses:
            return outputs[0]
        first = next(output for output in outputs if output is not None)
        total = sum(losses[1:], losses[0])
        if not self._later:
            self._log()
        return {**first, "loss": total} if isinstance(first, dict) else total

    def run_later(self) -> None:
        """Run the turns that are left, each with its backward pass."""
        if self._going_back or not self._later:  # Lightning's backward comes here again
            return
        trainer, self._going_back = self._module.trainer, True
        try:
            while self._later:
                with trainer.precision_plugin.train_step_context():
                    loss = self._run(self._later.pop(0), again=True)[1]
                if loss is not None:
                    trainer.strategy.backward(loss / trainer.accumulate_grad_batches, None)
        finally:
            self._going_back = False
        self._log()

    def _run(self, turn: Turn, *, again: bool) -> tuple[Any, Tensor | None]:
        """One turn: what the evaluator gives, and the weighted loss with its terms, if any."""
        module, step = self._module, self._step
        if again:
            assert self._random is not None
            self._random.restore()
            torch.clear_autocast_cache()  # casts made without gradient would be taken for its own
        module.router.set(turn.child)
        terms = [term for term in module.terms if term.layers is not None]
        output, calls = self._observed(turn, terms)
        loss = loss_of(output)
        if loss is None:  # the evaluator skips this batch, or optimizes by hand
            return output, None
        step.losses.append(loss.detach())
        step.calls.append(calls)
        weighted = loss if turn.weight == 1 else turn.weight * loss
        self._note("prediction_loss", weighted)
        parts = [("prediction_loss", weighted)] if turn.weight else []
        for term in terms:
            if (value := term(step, turn)) is not None:
                self._note(term.name, value)
                parts.append((term.name, term.weight * value))
        self.parts += [Part(turn.child, name, value.detach()) for name, value in parts]
        if terms:
            module.router.set(turn.child)  # they may have run other children
        losses = [value for _, value in parts]
        return (output, sum(losses[1:], losses[0])) if losses else (None, None)

    def _observed(self, turn: Turn, terms: Sequence[LossTerm]) -> tuple[Any, list[Call]]:
        """Run the evaluator's training step; record the model's calls if a term needs them."""
        batch, index = self._inputs
        training_step, own = self._module.training_module.training_step, rows_of(batch, turn.rows)
        # The last turn may write into the batch, as the only one does in plain training.
        step = partial(call_step, training_step, own, index, own=bool(self._later))
        if not terms:
            return step(), []
        layers: dict[str, nn.Module] = {}
        for term in terms:
            for name, layer in (term.layers or {}).items():
                if layers.setdefault(name, layer) is not layer:
                    raise ValueError(f"layer {name!r} of {term.name} is another term's; rename it")
        with recorded(self._module.model, layers) as calls:
            return step(), calls

    def told(self, step: Step, sampler: Sampler) -> Step:
        """What a sampler is told of a step."""
        if sampler.watches_losses:
            strategy = self._module.trainer.strategy
            step.losses = [strategy.reduce(loss, reduce_op="mean") for loss in step.losses]
        return step

    def _note(self, name: str, value: Tensor) -> None:
        key, value = f"supernet/{name}", value.detach()
        self._logged[key] = self._logged[key] + value if key in self._logged else value

    def _log(self) -> None:
        if self._module.log_is_due:
            self._module.log_dict(self._logged, prog_bar=True)


def _check_parts(turns: Sequence[Turn], batch: Any) -> None:
    """Make sure that a batch has rows for every part."""
    most = max(turn.part[1] for turn in turns if turn.part is not None)
    if (n_rows := count_rows(batch)) < most:
        raise ValueError(
            f"the first batch has {n_rows} rows, which {most} children are to share; accepted are "
            f"batches of at least {most}, so that no part is empty"
        )
