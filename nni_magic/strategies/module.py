"""The Lightning module that all strategies share: it trains one seeded child model a step.

Two seams are left to a method, and nothing else:

- *which child a step trains*: the sampler that the strategy makes;
- *which terms its loss adds*: :meth:`SupernetModule.loss_terms`.

All methods alike can shrink their space between epochs: see :class:`Shrinking`.
"""

from __future__ import annotations

import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import nni_bootstrap  # noqa: F401
import pytorch_lightning as pl
from nni.mutable import Sample
from nni.nas.oneshot.pytorch.sampling import RandomSamplingLightningModule
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from torch import Tensor, nn

from ..samplers.base import Sampler, UniformSampler
from ..scoring.leaderboard import Leaderboard
from ..scoring.scorer import Mode, Scorer
from ..supernet.calibration import Calibrator, Statistics
from ..supernet.checkpoint import CHECKPOINT_KEY
from ..supernet.distributed import require_choices, require_unused_parameters
from ..supernet.resume import RandomState, Replay

__all__ = ["LossTerm", "Shrinking", "SupernetModule"]

_logger = logging.getLogger(__name__)


class LossTerm(Protocol):
    """A term that a method adds to the evaluator's loss.

    ``observing()`` surrounds the evaluator's training step of the child; the call afterwards gives
    the term, which is logged under ``name`` and added ``weight`` times.
    """

    name: str
    weight: float

    def observing(self) -> contextlib.AbstractContextManager[None]: ...

    def __call__(self, child: Sample) -> Tensor: ...


class Shrinking(Protocol):
    """What deletes candidates while a supernet trains; see ``nni_magic.search``.

    ``begin()`` is called before the first step, also that of a resumed run; ``shrink()`` when
    ``epochs`` are over. Both may call :meth:`SupernetModule.restrict`.
    """

    def begin(self, module: SupernetModule) -> None: ...

    def shrink(self, module: SupernetModule, epochs: int) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class SupernetModule(RandomSamplingLightningModule):
    """Lightning module that trains one child a step; it wraps the evaluator's own module.

    Parameters
    ----------
    training_module
        The evaluator's Lightning module.
    sampler
        Gives the child of every optimizer step.
    seed
        Seeds the sampler and the panel; rank 0's is used on all ranks.
    metric, mode, validation_batches, calibration_batches
        How children are scored; see :class:`nni_magic.scoring.scorer.Scorer` and
        :class:`nni_magic.supernet.calibration.Calibrator`.
    validation_children
        Size of the panel: children drawn once, by the seed, that validation scores.
    shrinking
        Deletes candidates after every epoch.

    Attributes
    ----------
    training_data
        The evaluator's loader of training data, as the evaluator made it.
    """

    def __init__(
        self,
        training_module: pl.LightningModule,
        sampler: Sampler,
        *,
        seed: int,
        metric: str | None,
        mode: Mode,
        validation_batches: int,
        calibration_batches: int,
        validation_children: int,
        shrinking: Shrinking | None = None,
    ) -> None:
        super().__init__(training_module)
        self.shrinking = shrinking
        self.training_data: Any = None
        self.sampler = sampler
        self.seed = seed
        self.scorer = Scorer(
            self, self.route, metric=metric, mode=mode, n_batches=validation_batches,
            calibrator=Calibrator(self, lambda: self.training_data, calibration_batches),
        )  # fmt: skip
        self.validation_children = validation_children
        self.child: Sample | None = None
        self.child_step = -1
        self.leaderboard = Leaderboard(self.scorer, mode, name=self.sampler.name)
        self.replay = Replay()
        self._panel: list[Sample] = []
        self._before_validation: RandomState | None = None
        self._validated: list[tuple[Sample, Statistics]] = []
        self._routed: Sample = {}
        self._by_label: dict[str, list[BaseSuperNetModule]] = {}

    # Which child

    def route(self, sample: Sample) -> None:
        """Set the supernet's path to a sample; only the modules that change are touched."""
        for label, choice in sample.items():
            if label not in self._routed or self._routed[label] != choice:
                for module in self._by_label[label]:
                    module.resample(sample)
        self._routed = dict(sample)

    def resample(self) -> Sample:
        """Draw the next child and set the supernet's path to it."""
        child = self.sampler.next()
        self.route(child)
        return child

    def set_model(self, model: nn.Module) -> None:
        super().set_model(model)
        self._routed, self._by_label = {}, defaultdict(list)
        for module in self.supernet_modules():
            labels = list(module.simplify())
            for label in labels:
                self._by_label[str(label)].append(module)
            if not labels:  # NNI's operations of fixed shape want it too, once
                module.resample({})

    def on_train_batch_start(self, batch: Any, batch_idx: int, *args: Any) -> Any:
        """Take the next child if the optimizer has stepped since the present one was taken."""
        self.replay.finish()  # for loaders that cannot do it
        if self.child_step != self.trainer.global_step:
            previous = self.child
            self.child = self.resample()
            self.child_step = self.trainer.global_step
            if previous is not None and self.log_is_due:
                self.log("supernet/distance", float(self.sampler.distance(previous, self.child)))
        else:
            self.route(cast(Sample, self.child))
        return super().on_train_batch_start(batch, batch_idx, *args)

    # Which loss

    def loss_terms(self) -> Sequence[LossTerm]:
        """Terms that the method adds to the loss of this step."""
        return ()

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Run the evaluator's training step on the child, and add the method's loss terms."""
        terms = self.loss_terms()
        with contextlib.ExitStack() as stack:
            for term in terms:
                stack.enter_context(term.observing())
            output = self.training_module.training_step(*args, **kwargs)
        loss = output["loss"] if isinstance(output, dict) else output
        if loss is None:  # the evaluator skips this batch
            return None
        logged = {"supernet/prediction_loss": loss.detach()}
        for term in terms:
            value = term(cast(Sample, self.child))
            logged[f"supernet/{term.name}"] = value.detach()
            loss = loss + term.weight * value
        if self.log_is_due:
            self.log_dict(logged)
        return {**output, "loss": loss} if isinstance(output, dict) else loss

    @property
    def log_is_due(self) -> bool:
        """Whether what this step logs is read: by the logger, or at the end of the epoch.

        A logged value costs Lightning time whether it is written or not, and in a small model's
        step that shows.
        """
        every = self.trainer.log_every_n_steps
        written = every > 0 and (self.trainer.global_step + 1) % every == 0
        return written or self.trainer.is_last_batch

    # Validation: the same children on every batch, so that the metric means something

    def validated_children(self) -> Sequence[Sample]:
        """Children whose mean the validation metrics are."""
        return self.panel

    @property
    def panel(self) -> list[Sample]:
        """A few valid children, distinct where the space allows, drawn once by the seed."""
        if not self._panel:
            self._panel = self.draw_children(self.validation_children, 1)
        return self._panel

    def draw_children(self, n: int, *stream: int) -> list[Sample]:
        """Draw valid children uniformly, from a stream of randomness of their own."""
        space = self.training_module.model
        sampler = UniformSampler(space, seed=[self.seed, *stream], filter=self.sampler.filter)
        sampler.restrict(self.sampler.candidates)
        drawn: dict[str, Sample] = {}
        for _ in range(10 * n):
            child = sampler.next()
            drawn.setdefault(sampler.name(child), child)
            if len(drawn) == n:
                break
        return list(drawn.values())

    def validation_step(self, *args: Any, **kwargs: Any) -> None:
        """Run the evaluator's validation step on each of the validated children."""
        for child, statistics in self._validated:
            self.route(child)
            with statistics:
                self.training_module.validation_step(*args, **kwargs)
        self.log("supernet/validated_children", float(len(self._validated)), batch_size=1)

    def _statistics(self, child: Sample) -> Statistics:
        """A child's BatchNorm statistics; Lightning's check before training has no data for it."""
        if self.trainer.sanity_checking:
            return Statistics([])
        with self.scorer.session():
            self.route(child)
            return self.scorer.statistics()

    # Which candidates

    def restrict(
        self, allowed: Mapping[str, Sequence[Any]], ranked: Sequence[tuple[Sample, float]]
    ) -> None:
        """Keep only some candidates from now on.

        Parameters
        ----------
        allowed
            Label to the choices that stay.
        ranked
            Children that stay with their present scores, best first; they become the best known.
        """
        self._routed = {}  # children were scored on paths that were set without this module
        self.sampler.restrict(allowed)
        self._panel = []
        self.leaderboard.load(ranked[: self.leaderboard.size])
        if self.child is not None and any(self.child[b] not in allowed[b] for b in allowed):
            self.child, self.child_step = None, -1

    def on_train_epoch_end(self) -> None:
        if self.shrinking is not None:
            self.shrinking.shrink(self, self.trainer.current_epoch + 1)
        return super().on_train_epoch_end()

    # The best child

    def best_children(self) -> list[tuple[Sample, float]]:
        """Known children with their scores, best first; if there are none, the panel's.

        Raises
        ------
        RuntimeError
            If nothing was scored and there is no trainer with data to score on.
        """
        if not self.leaderboard.ranked():
            if self._trainer is None:
                raise RuntimeError("the strategy has not been run: no child has a score yet")
            self.leaderboard.rescore(self.panel)
        return self.leaderboard.ranked()

    def export(self) -> Sample:
        """The best child known, by its score with the latest weights scored."""
        return self.best_children()[0][0]

    # Start, stop, resume

    def on_fit_start(self) -> None:
        if not self.replay.pending:
            self.seed = self.trainer.strategy.broadcast(self.seed)
            self.sampler.reset(self.seed)
            self.child, self.child_step = None, -1
            self._panel = []
            self.leaderboard.load([])
        self._before_validation = None
        self.scorer.reset()
        _logger.info("%s, seed %d", self.method, self.seed)
        require_unused_parameters(self.trainer.strategy)
        require_choices(self, self._by_label)
        return super().on_fit_start()

    def on_train_start(self) -> None:
        # The first score shows a wrong metric name or missing data now and not an epoch later.
        self.scorer(self.panel[0])
        if self.shrinking is not None:
            self.shrinking.begin(self)
        return super().on_train_start()

    def on_fit_end(self) -> None:
        # A run that is resumed when it is over never reaches the end of training.
        self.leaderboard.rescore(self.panel)
        return super().on_fit_end()

    def on_validation_start(self) -> None:
        self._before_validation = RandomState.capture()
        self._validated = [(child, self._statistics(child)) for child in self.validated_children()]
        return super().on_validation_start()

    def on_validation_end(self) -> None:
        cast(RandomState, self._before_validation).restore()
        self._before_validation = None
        return super().on_validation_end()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[CHECKPOINT_KEY] = self.state()
        self.training_module.on_save_checkpoint(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if CHECKPOINT_KEY not in checkpoint:
            raise ValueError(
                "the checkpoint holds no state of nni_magic: it was not written by one of its "
                f"strategies; its keys are {sorted(checkpoint)}"
            )
        self.load_state(checkpoint[CHECKPOINT_KEY])
        self.training_module.on_load_checkpoint(checkpoint)

    @property
    def method(self) -> str:
        """What tells a method from others: its module and its sampler."""
        return f"{type(self).__name__} with {type(self.sampler).__name__}"

    def state(self) -> dict[str, Any]:
        """All that Lightning does not know, in plain types and tensors."""
        # Callbacks save at the end of a validation before the generators are put back.
        generators = self._before_validation or RandomState.capture()
        return {
            "method": self.method,
            "seed": self.seed,
            "sampler": self.sampler.state_dict(),
            "child": self.child,
            "child_step": self.child_step,
            "panel": self.panel,
            "leaderboard": self.leaderboard.ranked(),
            "replay": self.replay.state_dict(generators),
            "shrinking": None if self.shrinking is None else self.shrinking.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state` was taken.

        Raises
        ------
        ValueError
            If the state is of another method or another space.
        """
        if state["method"] != self.method:
            raise ValueError(
                f"the checkpoint was written by {state['method']}, "
                f"and {self.method} cannot continue it"
            )
        self.sampler.load_state_dict(state["sampler"])
        self.seed, self._panel = state["seed"], state["panel"]
        self.child, self.child_step = state["child"], state["child_step"]
        self.leaderboard.load(state["leaderboard"])
        self.replay.load_state_dict(state["replay"])
        if self.shrinking is not None and state["shrinking"] is not None:
            self.shrinking.load_state_dict(state["shrinking"])


def _forward(name: str) -> Callable[..., Any]:
    def hook(self: SupernetModule, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.training_module, name)(*args, **kwargs)

    hook.__name__ = name
    return hook


# NNI's base class hands a part of Lightning's hooks on to the evaluator. An evaluator that clips
# gradients, schedules or moves batches in its own way would lose that without a word.
for _name in (
    "configure_gradient_clipping", "lr_scheduler_step", "on_after_batch_transfer",
    "on_before_batch_transfer", "on_before_optimizer_step", "on_before_zero_grad",
    "on_validation_batch_end", "on_validation_batch_start", "on_validation_epoch_end",
    "on_validation_epoch_start", "optimizer_step", "optimizer_zero_grad",
    "transfer_batch_to_device",
):  # fmt: skip
    setattr(SupernetModule, _name, _forward(_name))
