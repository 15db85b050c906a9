"""The Lightning module that all strategies share: it trains the children of one step after another.

Two seams are left to a method, and nothing else:

- *which children a step trains*: the sampler that the strategy makes;
- *which terms its loss adds*: the loss terms that the strategy makes.

All methods alike can shrink their space between epochs: see
:class:`nni_magic.strategies.shrinking.Shrinking`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import nni_bootstrap  # noqa: F401
import pytorch_lightning as pl
from nni.mutable import Sample
from torch import nn

from ..losses.term import LossTerm
from ..samplers.base import Sampler
from ..samplers.streams import ChildDraws, Stream
from ..scoring.leaderboard import Leaderboard
from ..scoring.scored import ScoredChild
from ..scoring.scorer import Scorer
from ..supernet.calibration import Calibrator
from ..supernet.checkpoint import CHECKPOINT_KEY
from ..supernet.distributed import require_choices, require_unused_parameters
from ..supernet.epochs import log_is_due
from ..supernet.replay import Replay
from ..supernet.routing import Router
from ..supernet.step import Step, Turn
from .finite import FiniteSteps
from .probing import BatchProbe
from .progress import resume, state_of
from .settings import SupernetSettings
from .shrinking import Shrinking
from .start import announce
from .term_weights import TeachableModule
from .turns import TurnRunner
from .validation import Validation

__all__ = ["SupernetModule"]


class SupernetModule(TeachableModule):
    """Lightning module that trains a step's children; it wraps the evaluator's own module.

    Parameters
    ----------
    training_module
        The evaluator's Lightning module.
    sampler
        Gives the children of every optimizer step.
    terms
        What the method adds to the loss.
    method
        Name of the strategy, which a checkpoint is checked for.
    settings
        Of the strategy, with its seed; rank 0's seed is used on all ranks.
    shrinking
        Deletes candidates after every epoch.
    turn_by_turn
        Whether the backward pass of every turn is run before the next turn's forward pass.

    Attributes
    ----------
    training_data
        The evaluator's loader of training data, as the evaluator made it.
    turns : list of Turn
        The children of the present optimizer step, or of the last one.
    step : Step or None
        What was computed on the present batch, or the last one.
    """

    def __init__(
        self,
        training_module: pl.LightningModule,
        sampler: Sampler,
        terms: Sequence[LossTerm] = (),
        *,
        method: str,
        settings: SupernetSettings,
        shrinking: Shrinking | None = None,
        turn_by_turn: bool = False,
    ) -> None:
        super().__init__(training_module, terms)
        assert settings.seed is not None, "the strategy draws one if none is given"
        self.method = f"{method} with {type(sampler).__name__}"
        self.seed = settings.seed
        self.sampler = sampler
        self.shrinking = shrinking
        self.training_data: Any = None
        self.scorer = Scorer(
            self, metric=settings.metric, mode=settings.mode, n_batches=settings.validation_batches,
            calibrator=Calibrator(self, lambda: self.training_data, settings.calibration_batches),
        )  # fmt: skip
        self.leaderboard = Leaderboard(self.scorer, self.scorer.mode, name=sampler.name)
        self.validation = Validation(self, settings.validation_children)
        self.replay = Replay()
        self._runner = TurnRunner(self, turn_by_turn)
        self.finite = FiniteSteps(self, settings.not_finite, self._runner.parts)
        self._start_over()

    def _start_over(self) -> None:
        """Forget what a training has left, before another one."""
        self.turns: list[Turn] = []
        self.child_step = -1
        self.step: Step | None = None
        self._told = False
        self._batch: tuple[Any, ...] = ()
        self.finite.reset()
        self.validation.reset()
        self.leaderboard.load([])

    # Which children

    def set_model(self, model: nn.Module) -> None:
        super().set_model(model)
        self.router.refresh(model)
        self._draws = ChildDraws(self.model, self.sampler)

    @property
    def router(self) -> Router:
        """Sets the supernet's path, which nothing else does."""
        return Router.of(self.training_module.model)

    @property
    def child(self) -> Sample | None:
        """The child trained last; under way, the step's last child."""
        return self.turns[-1].child if self.turns else None

    def draw_children(self, n: int, stream: Stream, *place: int) -> list[Sample]:
        """Draw valid children uniformly; see :class:`nni_magic.samplers.streams.ChildDraws`."""
        return self._draws(n, self.seed, stream, *place)

    def resample(self) -> Sample:
        """Draw the next children and set the supernet's path to the last of them."""
        self.turns = self._runner.drawn(self.sampler, self._batch)
        self.router.set(self.turns[-1].child)
        return self.turns[-1].child

    def on_train_batch_start(self, batch: Any, batch_idx: int, *args: Any) -> Any:
        """Take the next children if the optimizer has stepped since the present ones were taken."""
        self.replay.finish()  # for loaders that cannot do it
        for term in self.terms:
            term.before_step(batch, batch_idx)
        if self.child_step != self.trainer.global_step:
            self.finite.begin()
            previous, self._batch = self.child, (batch, batch_idx)
            self.resample()
            self.child_step = self.trainer.global_step
            if previous is not None and self.log_is_due:
                distance = self.sampler.distance(previous, self.turns[0].child)
                self.log("supernet/distance", float(distance), prog_bar=True)
            if self.finite.skipped and self.log_is_due:
                self.log("supernet/skipped_steps", float(self.finite.skipped))
        self.router.set(self.turns[-1].child)
        return super().on_train_batch_start(batch, batch_idx, *args)

    # Which loss

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Run the evaluator's training step on every child, and add the method's loss terms."""
        self.step, self._told = Step(self.turns), False
        return self._runner.run(self.step, batch, batch_idx)

    def backward(self, loss: Any, *args: Any, **kwargs: Any) -> None:
        """Run the backward pass, as the evaluator does; turn by turn, then the later turns."""
        super().backward(loss, *args, **kwargs)
        self._runner.run_later()

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> Any:
        self._tell()
        return super().on_train_batch_end(*args, **kwargs)

    def _tell(self) -> None:
        """Tell the sampler and the terms what was trained, once a batch."""
        if self.step is not None and not self._told:
            self._told = True
            self.sampler.tell(self._runner.told(self.step, self.sampler))
            for term in self.terms:
                term.tell(self.step)
            self.step.calls = []  # hidden states would take memory until the next step

    @property
    def log_is_due(self) -> bool:
        """See :func:`nni_magic.supernet.epochs.log_is_due`."""
        return log_is_due(self.trainer)

    # Validation

    def on_validation_start(self) -> None:
        self.validation.begin()
        return super().on_validation_start()

    def on_validation_batch_start(self, *args: Any) -> None:
        """Do nothing: the evaluator's own is called around the step of every child."""

    on_validation_batch_end = on_validation_batch_start

    def validation_step(self, *args: Any) -> Any:
        return self.validation.step(*args)

    def on_validation_end(self) -> None:
        self.validation.end()
        return super().on_validation_end()

    # Which candidates

    def restrict(self, allowed: Mapping[str, Sequence[Any]], ranked: Sequence[ScoredChild]) -> None:
        """Keep only some candidates from now on.

        Parameters
        ----------
        allowed
            Label to the choices that stay.
        ranked
            Children that stay with their present scores, best first; they become the best known.
        """
        self.sampler.restrict(allowed)
        self.validation.reset()
        self.leaderboard.load(ranked[: self.leaderboard.size])
        if any(turn.child[label] not in allowed[label] for turn in self.turns for label in allowed):
            self.turns, self.child_step = [], -1
        for term in self.terms:
            term.restricted(allowed, ranked)

    def on_train_epoch_end(self) -> None:
        if self.shrinking is not None:
            self.shrinking.shrink(self, self.trainer.current_epoch + 1)
        return super().on_train_epoch_end()

    # The best child

    def best_children(self) -> list[ScoredChild]:
        """Known children with their scores, best first; if there are none, the panel's.

        Raises
        ------
        RuntimeError
            If nothing was scored and there is no trainer with data to score on.
        """
        if not self.leaderboard.ranked():
            if self._trainer is None:
                raise RuntimeError("the strategy has not been run: no child has a score yet")
            self.leaderboard.rescore(self.validation.panel)
        return self.leaderboard.ranked()

    def export(self) -> Sample:
        """The best child known, by its score with the latest weights scored."""
        return self.best_children()[0].sample

    # Start, stop, resume

    @property
    def resumes(self) -> bool:
        """Whether a checkpoint was loaded whose training goes on."""
        return self.replay.pending

    def on_fit_start(self) -> None:
        if not self.resumes:
            self.seed = self.trainer.strategy.broadcast(self.seed)
            self.sampler.reset(self.seed)
            self._start_over()
        self.scorer.reset()
        announce(self)
        require_unused_parameters(self.trainer.strategy)
        require_choices(self, self.router.by_label)
        self._runner.check(self.trainer, self.sampler)
        for term in self.terms:
            term.begin(self)
        return super().on_fit_start()

    def on_train_start(self) -> None:
        for term in self.terms:
            term.started()
        self.scorer(self.validation.panel[0])  # shows a wrong metric name or missing data now
        if self.shrinking is not None:
            self.shrinking.begin(self)
        return super().on_train_start()

    def on_fit_end(self) -> None:
        # Also of a run resumed when it is over.
        self.sampler.end(BatchProbe(self, ()))
        self.leaderboard.rescore(self.validation.panel)
        self.validation.fill_in_metrics()
        return super().on_fit_end()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._tell()  # callbacks save before the module's own end of the batch
        checkpoint[CHECKPOINT_KEY] = state_of(self)
        super().on_save_checkpoint(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        resume(self, checkpoint)
        super().on_load_checkpoint(checkpoint)
