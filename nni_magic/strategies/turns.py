"""Run the turns of a step: the evaluator's own training step of every child, and loss terms."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import nni_bootstrap  # noqa: F401
import pytorch_lightning as pl
import torch
from nni.mutable import Sample
from torch import Tensor

from ..losses.term import LossTerm, TrainingSupernet
from ..scoring.evaluator_state import kept_metrics, logged_to
from ..supernet.hidden_states import Call, as_anchor, recorded
from ..supernet.resume import RandomState, isolated_randomness
from ..supernet.step import Step, Turn, rows_of

__all__ = ["TurnRunner"]


class TurnRunner:
    """Runs the children of a step one after the other, all with the same random numbers.

    An evaluator that draws (masks, dropout, mixup) draws the same in every turn of a step, so that
    a teacher and its student see the same input.

    By default the losses of all turns are summed, and Lightning runs one backward pass through the
    sum. Turn by turn, Lightning runs the first turn and its backward pass, and then every other
    turn is run forward and backward by itself: the gradient is the same, and takes the memory of
    one child. The loss that Lightning hands to callbacks is then that of the first turn;
    ``module.step`` has all.

    Parameters
    ----------
    module
        The Lightning module that trains the supernet.
    turn_by_turn
        Whether every turn has a backward pass of its own.
    """

    def __init__(self, module: TrainingSupernet, turn_by_turn: bool) -> None:
        self._module = module
        self._turn_by_turn = turn_by_turn
        self._later: list[Turn] = []
        self._logged: dict[str, Tensor] = {}

    def check(self, trainer: pl.Trainer) -> None:
        """Make sure that the trainer can go back turn by turn, if it is to.

        Raises
        ------
        ValueError
            If its strategy is DDP, which counts on one backward pass a step.
        """
        if self._turn_by_turn and isinstance(trainer.strategy, pl.strategies.DDPStrategy):
            raise ValueError(
                "turn_by_turn is True, but the trainer's strategy is DDP, which synchronises "
                "gradients in one backward pass a step; accepted is False: the sum of all turns"
            )

    def run(self, step: Step, batch: Any, *args: Any) -> Any:
        """Run the turns, or the first one.

        Returns
        -------
        Tensor, dict or None
            The evaluator's output in the first turn, with the loss to go back from; ``None`` if the
            batch is skipped.
        """
        self._step, self._inputs = step, (batch, *args)
        self._random = RandomState.capture() if len(step.turns) > 1 else None
        self._logged = {}
        now = step.turns[:1] if self._turn_by_turn else step.turns
        self._later = step.turns[len(now) :]
        ran = [self._run(turn, again=n > 0) for n, turn in enumerate(now)]
        losses = [loss for _, loss in ran if loss is not None]
        if not losses:
            return None
        first, total = ran[0][0], sum(losses[1:], losses[0])
        if not self._later:
            self._log()
        return {**first, "loss": total} if isinstance(first, dict) else total

    def run_later(self) -> None:
        """Run the turns that are left, each with its backward pass."""
        later, self._later = self._later, []
        trainer = self._module.trainer
        for turn in later:
            with trainer.precision_plugin.train_step_context():
                loss = self._run(turn, again=True)[1]
            if loss is not None:
                trainer.strategy.backward(loss / trainer.accumulate_grad_batches, None)
        if later:
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
        loss = output["loss"] if isinstance(output, dict) else output
        if loss is None:  # the evaluator skips this batch
            return None, None
        step.losses.append(loss.detach())
        step.calls.append(calls)
        weighted = loss if turn.weight == 1 else turn.weight * loss
        self._note("prediction_loss", weighted)
        parts = [weighted] if turn.weight else []
        for term in terms:
            if (value := term(step, turn)) is not None:
                self._note(term.name, value)
                parts.append(term.weight * value)
        if terms:
            module.router.set(turn.child)  # they may have run other children
        return output, sum(parts[1:], parts[0]) if parts else None

    def _observed(self, turn: Turn, terms: Sequence[LossTerm]) -> tuple[Any, list[Call]]:
        """Run the evaluator's training step; record the model's calls if a term needs them."""
        batch, *args = self._inputs
        step = partial(self._module.training_module.training_step, rows_of(batch, turn.rows), *args)
        if not terms:
            return step(), []
        layers = {name: layer for term in terms for name, layer in (term.layers or {}).items()}
        with recorded(self._module.model, layers) as calls:
            return step(), calls

    def probe(self, inputs: tuple[Any, ...], sample: Sample) -> float:
        """Loss of a child on a batch, with the weights as they are; it leaves no trace.

        Parameters
        ----------
        inputs
            Arguments of the evaluator's training step.
        sample
            The child. The supernet's path is then its path.
        """
        module = self._module
        evaluator, precision = module.training_module, module.trainer.precision_plugin
        module.router.set(sample)
        with (
            isolated_randomness(), torch.no_grad(), precision.train_step_context(),
            kept_metrics(evaluator), logged_to(evaluator, lambda *args, **options: None),
            as_anchor(list(module.model.modules())),
        ):  # fmt: skip
            output = evaluator.training_step(*inputs)
        return float(output["loss"] if isinstance(output, dict) else output)

    def _note(self, name: str, value: Tensor) -> None:
        key, value = f"supernet/{name}", value.detach()
        self._logged[key] = self._logged[key] + value if key in self._logged else value

    def _log(self) -> None:
        if self._module.log_is_due:
            self._module.log_dict(self._logged)
