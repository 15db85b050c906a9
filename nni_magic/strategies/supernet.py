"""What all strategies share: train a supernet, one seeded child model a step.

Two seams are left to a method, and nothing else:

- *which child a step trains*: the strategy's ``make_sampler``;
- *which terms its loss adds*: the Lightning module's ``loss_terms``.

Where NNI's ``RandomOneShot`` draws children without a seed, validates a random mixture and
exports an arbitrary child, the base here is seeded, scores fixed children, and exports the best
one known; its Lightning checkpoint holds all that a run needs to go on as if never stopped.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol, cast

import pytorch_lightning as pl
import torch
from nni.mutable import Sample
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.oneshot.pytorch.sampling import RandomSamplingLightningModule
from nni.nas.oneshot.pytorch.strategy import RandomOneShot
from nni.nas.space import RawFormatModelSpace
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ..resume import RandomState, resumable
from ..samples import digest
from ..sampling import Sampler, UniformSampler
from ..scoring import Mode, Scorer, better

__all__ = ["LossTerm", "SupernetModule", "SupernetStrategy"]

_logger = logging.getLogger(__name__)

CHECKPOINT_KEY = "nni_magic"
N_KNOWN = 32


class LossTerm(Protocol):
    """A term that a method adds to the evaluator's loss.

    ``observing()`` surrounds the evaluator's training step of the child; the call afterwards gives
    the term, which is logged under ``name`` and added ``weight`` times.
    """

    name: str
    weight: float

    def observing(self) -> contextlib.AbstractContextManager[None]: ...

    def __call__(self, child: Sample) -> Tensor: ...


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
    metric, mode, validation_batches
        How children are scored; see :class:`nni_magic.scoring.Scorer`.
    validation_children
        Size of the panel: children drawn once, by the seed, that validation scores.
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
        validation_children: int,
    ) -> None:
        super().__init__(training_module)
        self.sampler = sampler
        self.seed = seed
        self.scorer = Scorer(
            self, self.route, metric=metric, mode=mode, n_batches=validation_batches
        )
        self.validation_children = validation_children
        self.child: Sample | None = None
        self.child_step = -1
        self.known: dict[str, tuple[Sample, float]] = {}
        self._panel: list[Sample] = []
        self._route: list[Callable[[Sample], Any]] = []
        self._resumed: dict[str, Any] | None = None
        self._epoch_start: dict[str, Any] = {}

    # Which child

    def route(self, sample: Sample) -> None:
        """Set the supernet's path to a sample."""
        for resample in self._route:
            resample(sample)

    def resample(self) -> Sample:
        """Draw the next child and set the supernet's path to it."""
        child = self.sampler.next()
        self.route(child)
        return child

    def set_model(self, model: nn.Module) -> None:
        super().set_model(model)
        self._route = [module.resample for module in self.supernet_modules()]

    def on_train_batch_start(self, batch: Any, batch_idx: int, *args: Any) -> Any:
        """Take the next child if the optimizer has stepped since the present one was taken."""
        self.epoch_started()  # for loaders that do not tell
        if self.child_step != self.trainer.global_step:
            previous = self.child
            self.child = self.resample()
            self.child_step = self.trainer.global_step
            if previous is not None:
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
        self.log_dict(logged)
        return {**output, "loss": loss} if isinstance(output, dict) else loss

    # Validation: the same children on every batch, so that the metric means something

    def validated_children(self) -> Sequence[Sample]:
        """Children whose mean the validation metrics are."""
        return self.panel

    @property
    def panel(self) -> list[Sample]:
        """A few valid children, distinct where the space allows, drawn once by the seed."""
        if not self._panel:
            self._panel = self.draw_children(self.validation_children, stream=1)
        return self._panel

    def draw_children(self, n: int, stream: int) -> list[Sample]:
        """Draw valid children uniformly, from a stream of randomness of their own."""
        space = self.training_module.model
        sampler = UniformSampler(space, seed=[self.seed, stream], filter=self.sampler.filter)
        sampler.restrict(self.sampler.candidates)
        drawn: dict[str, Sample] = {}
        for _ in range(10 * n):
            child = sampler.next()
            drawn.setdefault(digest(child), child)
            if len(drawn) == n:
                break
        return list(drawn.values())

    def validation_step(self, *args: Any, **kwargs: Any) -> None:
        """Run the evaluator's validation step on each of the validated children."""
        children = self.validated_children()
        for child in children:
            self.route(child)
            self.training_module.validation_step(*args, **kwargs)
        self.log("supernet/validated_children", float(len(children)), batch_size=1)

    # The best child

    def remember(self, sample: Sample, score: float) -> None:
        """Keep a scored child among the best known."""
        self.known[digest(sample)] = (sample, score)
        if len(self.known) > 2 * N_KNOWN:
            self.known = {digest(s): (s, score) for s, score in self._ranked()[:N_KNOWN]}

    def score(self, sample: Sample) -> float:
        """Score a child with the weights as they are now, and remember it."""
        score = self.scorer(sample)
        self.remember(sample, score)
        return score

    def rescore(self) -> None:
        """Score the best known children, and the panel, with the weights as they are now."""
        children = {digest(sample): sample for sample in self.panel}
        children.update({name: sample for name, (sample, _) in self.known.items()})
        self.known = {}
        for child in children.values():
            self.score(child)

    def best_children(self) -> list[tuple[Sample, float]]:
        """Known children with their scores, best first; if there are none, the panel's.

        Raises
        ------
        RuntimeError
            If nothing was scored and there is no data to score on.
        """
        if not self.known:
            if getattr(self, "_trainer", None) is None:
                raise RuntimeError("the strategy has not been run: no child has a score yet")
            self.rescore()
        return self._ranked()

    def _ranked(self) -> list[tuple[Sample, float]]:
        ranked: list[tuple[Sample, float]] = []
        for candidate in self.known.values():
            place = next(
                (i for i, r in enumerate(ranked) if better(candidate[1], r[1], self.scorer.mode)),
                len(ranked),
            )
            ranked.insert(place, candidate)
        return ranked

    def export(self) -> Sample:
        """The best child known, by its score with the latest weights scored."""
        return self.best_children()[0][0]

    # Start, stop, resume

    def on_fit_start(self) -> None:
        if self._resumed is None:
            self.seed = self.trainer.strategy.broadcast(self.seed)
            self.sampler.reset(self.seed)
            self.child, self.child_step = None, -1
            self.known, self._panel = {}, []
        self.scorer.reset()
        _logger.info("%s trains with seed %d", type(self).__name__, self.seed)
        _require_unused_parameters(self.trainer.strategy)
        return super().on_fit_start()

    def on_train_start(self) -> None:
        # The first score shows a wrong metric name or missing data now and not an epoch later.
        self.scorer(self.panel[0])
        return super().on_train_start()

    def on_train_end(self) -> None:
        self.rescore()
        return super().on_train_end()

    def on_validation_start(self) -> None:
        self._before_validation = RandomState.capture()
        return super().on_validation_start()

    def on_validation_end(self) -> None:
        self._before_validation.restore()
        return super().on_validation_end()

    # NNI's base class forwards a part of Lightning's hooks; evaluators also use these two.

    def on_validation_epoch_start(self) -> None:
        self.training_module.on_validation_epoch_start()

    def on_validation_epoch_end(self) -> None:
        self.training_module.on_validation_epoch_end()

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

    def state(self) -> dict[str, Any]:
        """All that Lightning does not know, in plain types and tensors."""
        return {
            "module": type(self).__name__,
            "seed": self.seed,
            "sampler": self.sampler.state_dict(),
            "child": self.child,
            "child_step": self.child_step,
            "panel": self.panel,
            "known": list(self.known.values()),
            "random": RandomState.capture().state,
            "epoch_start": self._epoch_start,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state` was taken.

        Raises
        ------
        ValueError
            If the state is of another method or another space.
        """
        if state["module"] != type(self).__name__:
            raise ValueError(
                f"the checkpoint was written by {state['module']}, "
                f"and {type(self).__name__} cannot continue it"
            )
        self.sampler.load_state_dict(state["sampler"])
        self.seed, self._panel = state["seed"], state["panel"]
        self.child, self.child_step = state["child"], state["child_step"]
        self.known = {digest(sample): (sample, score) for sample, score in state["known"]}
        self._resumed = {"random": state["random"], "epoch_start": state["epoch_start"]}

    def batches_done(self) -> int:
        """Batches of this epoch that were trained on before it (re)starts."""
        return self.trainer.fit_loop.epoch_loop.batch_progress.current.ready

    def epoch_starts(self, loader: Any, done: int) -> None:
        """Put the generators where the epoch's iterator found them at first."""
        if self._resumed is not None and done:
            self._epoch_start = self._resumed["epoch_start"]
            RandomState(self._epoch_start["random"]).restore()
            if loader.generator is not None:
                loader.generator.set_state(self._epoch_start["loader"])
        else:
            self.epoch_started()
            own = None if loader.generator is None else loader.generator.get_state()
            self._epoch_start = {"random": RandomState.capture().state, "loader": own}

    def epoch_started(self) -> None:
        """Put the generators where they were when the checkpoint was written."""
        if self._resumed is not None:
            RandomState(self._resumed["random"]).restore()
            self._resumed = None


class SupernetStrategy(RandomOneShot):
    """Base of the strategies; see the module's docstring for what a subclass gives.

    Parameters
    ----------
    seed
        Makes a run repeatable: same seed, same children. ``None`` draws one and logs it.
    filter
        Constraint on children, as in NNI's ``RandomOneShot``: a callable, or the arguments of a
        ``RangeProfilerFilter`` in a dict.
    metric
        Name of the metric, as the evaluator logs it in validation, by which children are scored;
        by default the evaluator's validation loss.
    mode
        ``min`` if a smaller metric is better, ``max`` if a larger one is.
    validation_batches
        Batches of the validation data on which a child is scored.
    validation_children
        Children on a fixed, seeded panel whose mean the validation metrics are.
    **kwargs
        Those of NNI's ``OneShotStrategy``, e.g. ``mutation_hooks``.
    """

    module_class: type[SupernetModule] = SupernetModule

    def __init__(
        self,
        *,
        seed: int | None = None,
        filter: Any = None,
        metric: str | None = None,
        mode: Mode = "min",
        validation_batches: int = 4,
        validation_children: int = 8,
        **kwargs: Any,
    ) -> None:
        super().__init__(filter=filter, **kwargs)
        if mode not in ("min", "max"):
            raise ValueError(f"mode is {mode!r}; accepted are 'min' and 'max'")
        check_positive(
            validation_batches=validation_batches, validation_children=validation_children
        )
        self.seed = secrets.randbits(32) if seed is None else seed
        self.scoring = {
            "metric": metric,
            "mode": mode,
            "validation_batches": validation_batches,
            "validation_children": validation_children,
        }

    def make_sampler(self, space: ModelSpace) -> Sampler:
        """Create what decides which child a step trains: here uniform and independent."""
        return UniformSampler(space, seed=self.seed, filter=self.filter)

    def module_settings(self) -> dict[str, Any]:
        """Keyword arguments for the Lightning module."""
        return {"seed": self.seed, **self.scoring}

    def mutate_model(self, model: Any) -> Any:
        self._sampler = self.make_sampler(model)
        return super().mutate_model(model)

    def configure_oneshot_module(self, training_module: Any) -> SupernetModule:
        self._module = self.module_class(training_module, self._sampler, **self.module_settings())
        return self._module

    def train_dataloader(self, train_dataloader_fn: Any, val_dataloader_fn: Any) -> Any:
        module = self._module
        return resumable(
            train_dataloader_fn(), module.batches_done, module.epoch_starts, module.epoch_started
        )

    def val_dataloader(self, train_dataloader_fn: Any, val_dataloader_fn: Any) -> Any:
        # Not to continue, as validation always starts over, but to be iterated late: inside the
        # block in which the global random generators are kept.
        return tree_map(partial(resumable, completed=lambda: 0), val_dataloader_fn())

    def list_models(
        self, sort: bool = True, limit: int | None = 1
    ) -> Iterator[RawFormatModelSpace]:
        """Give the best children seen, best first, each with its score as ``metric``.

        Parameters
        ----------
        sort
            Must be true, as in NNI's one-shot strategies.
        limit
            How many; ``None`` gives all that are known.
        """
        if not sort:
            raise ValueError("sort is False; one-shot strategies list their best models only")
        self.oneshot_module.set_model(self.supernet)
        best = cast(SupernetModule, self.oneshot_module).best_children()
        if limit is not None and limit > len(best):
            _logger.warning("%d models are requested, but %d are known", limit, len(best))
        for sample, score in best[:limit]:
            model = cast(RawFormatModelSpace, self.model_space).freeze(sample)
            model.metrics.final = score
            yield model


def check_positive(**settings: int) -> None:
    """Raise a ``ValueError`` for a setting that is not a whole number of at least 1."""
    for name, value in settings.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1")


def _require_unused_parameters(strategy: pl.strategies.Strategy) -> None:
    """DDP must expect parameters without gradient: those of the candidates not on the path."""
    if not isinstance(strategy, pl.strategies.DDPStrategy):
        return
    if not strategy._ddp_kwargs.get("find_unused_parameters", False):
        raise ValueError(
            "the trainer's strategy is DDP without find_unused_parameters, but a step trains one "
            "child and leaves the other candidates unused: "
            "pass strategy='ddp_find_unused_parameters_true'"
        )
