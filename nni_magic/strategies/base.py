"""Base of all strategies: train a supernet, seeded, a few children a step.

Where NNI's ``RandomOneShot`` draws children without a seed, validates a random mixture and
exports an arbitrary child, the base here is seeded, scores fixed children, and exports the best
one known; its Lightning checkpoint holds all that a run needs to go on as if never stopped.

A strategy is three things: its settings, a sampler (:meth:`SupernetStrategy.make_sampler`) and
loss terms (:meth:`SupernetStrategy.make_terms`).
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
import secrets
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, cast

import nni_bootstrap  # noqa: F401
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import RawFormatModelSpace

from ..children.constraints import as_constraint
from ..losses.term import LossTerm
from ..samplers.base import Sampler
from ..samplers.uniform import UniformSampler
from ..scoring.listing import listed
from ..supernet.checkpoint import guard
from ..supernet.conversion import PathSampling
from ..supernet.distributed import require_own_process
from ..supernet.loaders import VALIDATION, late
from ..supernet.ranks import ending_together
from ..supernet.replay import batches_done, resumable
from .module import SupernetModule
from .settings import SupernetSettings
from .shrinking import Shrinking

__all__ = ["SupernetStrategy"]

_logger = logging.getLogger(__name__)


class SupernetStrategy(PathSampling):
    """Base of the strategies; see the module's docstring for what a subclass provides.

    Parameters
    ----------
    filter
        Constraint on children, as in NNI's ``RandomOneShot``: a callable, or the arguments of a
        ``RangeProfilerFilter`` in a dict.
    shrinking
        Deletes candidates after every epoch until one child is left:
        :class:`nni_magic.search.ProgressiveShrinking`.
    mutation_hooks
        As in NNI's ``OneShotStrategy``.
    **settings
        Those of :attr:`settings_class`, by name.

    Attributes
    ----------
    settings : SupernetSettings
        The settings, with the seed that was given or drawn.

    Raises
    ------
    TypeError
        If there is no such setting, or the filter, the shrinking or a hook is something else.
    ValueError
        If a setting is out of range, or no child is inside a budget of the filter.
    """

    settings_class: ClassVar[type[SupernetSettings]] = SupernetSettings
    turn_by_turn = False
    """Whether every turn of a step has a backward pass of its own, before the next turn is run; see
    :class:`nni_magic.strategies.turns.TurnRunner`."""

    def __init__(
        self,
        filter: Any = None,
        *,
        shrinking: Shrinking | None = None,
        mutation_hooks: list[Any] | None = None,
        **settings: Any,
    ) -> None:
        if shrinking is not None and not isinstance(shrinking, Shrinking):
            raise TypeError(
                f"shrinking is {shrinking!r}; accepted are a ProgressiveShrinking(...) and what "
                "has its methods"
            )
        hooks = mutation_hooks
        if hooks is not None and not (isinstance(hooks, list) and all(map(callable, hooks))):
            raise TypeError(f"mutation_hooks is {hooks!r}; accepted are lists of functions")
        super().__init__(filter=as_constraint(filter), mutation_hooks=hooks)
        self._sampler: Sampler | None = None
        known = [field.name for field in dataclasses.fields(self.settings_class)]
        if unknown := [name for name in settings if name not in known]:
            accepted = ", ".join(inspect.signature(type(self)).parameters)
            raise TypeError(
                f"{type(self).__name__} has no setting {unknown[0]!r}; accepted are {accepted}"
            )
        self.settings = self.settings_class(**settings)
        if self.settings.seed is None:
            self.settings = dataclasses.replace(self.settings, seed=secrets.randbits(32))
            _logger.warning("No seed is given; drew %d, which repeats this run", self.seed)
        self.shrinking = shrinking

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let the signature show the settings with their defaults."""
        super().__init_subclass__(**kwargs)
        if old := [name for name in ("module_class", "module_settings") if name in vars(cls)]:
            raise TypeError(
                f"{cls.__name__} has {old[0]!r}, which 0.3 asked for; accepted are make_sampler, "
                "make_terms and settings_class"
            )
        named = {
            name: parameter
            for owner in reversed(cls.__mro__)
            if issubclass(owner, SupernetStrategy)
            for name, parameter in inspect.signature(owner.__init__).parameters.items()
            if name != "self" and parameter.kind is not parameter.VAR_KEYWORD
        }
        shown = inspect.signature(cls.settings_class).parameters.values()
        cls.__signature__ = inspect.Signature([*named.values(), *shown])

    @property
    def seed(self) -> int:
        """The seed that was given or drawn."""
        return cast(int, self.settings.seed)

    def make_sampler(self, space: ModelSpace) -> Sampler:
        """Create what decides which children a step trains: here one, uniform and independent."""
        return UniformSampler(space, seed=self.seed, filter=self.filter)

    def make_terms(self) -> Sequence[LossTerm]:
        """Create what is added to the loss: here nothing."""
        return ()

    def mutate_model(self, model: Any) -> Any:
        self._sampler = self.make_sampler(model)
        return super().mutate_model(model)

    def configure_oneshot_module(self, training_module: Any) -> SupernetModule:
        if self._sampler is None:
            raise RuntimeError(
                "configure_oneshot_module is called before mutate_model, which gives the space "
                "that children are drawn from; call mutate_model first, as NNI does"
            )
        self._module = SupernetModule(
            training_module, self._sampler, self.make_terms(), method=type(self).__name__,
            settings=self.settings, shrinking=self.shrinking, turn_by_turn=self.turn_by_turn,
        )  # fmt: skip
        return self._module

    def mutate_evaluator(self, evaluator: Any) -> Any:
        if isinstance(evaluator, Lightning):
            require_own_process(evaluator.trainer.strategy)
            _check_trains(evaluator.trainer)
            self._datamodule = evaluator.datamodule
        mutated = super().mutate_evaluator(evaluator)
        guard(mutated.trainer.strategy)
        self._trainer = mutated.trainer
        return mutated

    def _run(self) -> None:
        try:
            with ending_together(self._trainer):
                super()._run()
        finally:
            # NNI puts the strategy's loaders over those of a DataModule, which is the user's.
            if self._datamodule is not None:
                for name in ("train_dataloader", "val_dataloader"):
                    vars(self._datamodule).pop(name, None)

    def train_dataloader(self, train_dataloader_fn: Any, val_dataloader_fn: Any) -> Any:
        module = self._module
        module.training_data = train_dataloader_fn()
        loaders = self.training_loaders(module.training_data)
        return resumable(loaders, lambda: batches_done(module.trainer), module.replay)

    def training_loaders(self, loaders: Any) -> Any:
        """Give the loaders that a training reads, of the evaluator's: here they themselves."""
        return loaders

    def val_dataloader(self, train_dataloader_fn: Any, val_dataloader_fn: Any) -> Any:
        # Not to continue, as validation always starts over, but to be iterated late: inside the
        # block in which the global random generators are kept.
        return late(val_dataloader_fn(), VALIDATION)

    def list_models(
        self, sort: bool = True, limit: int | None = 1
    ) -> Iterator[RawFormatModelSpace]:
        """Give the best children seen, best first, each with its score as ``metric``.

        Their models have copies of the weights, and the BatchNorm statistics, that they were scored
        with. They are made when they are asked for.

        Parameters
        ----------
        sort
            Must be true, as in NNI's one-shot strategies.
        limit
            How many; ``None`` gives all that are known.
        """
        if not sort:
            raise ValueError("sort is False; accepted is True: one-shot strategies list the best")
        self.oneshot_module.set_model(self.supernet)
        module = cast(SupernetModule, self.oneshot_module)
        best = module.best_children()
        if limit is not None and limit > len(best):
            _logger.warning("%d models are requested, but %d are known", limit, len(best))
        space = cast(RawFormatModelSpace, self.model_space)
        for child in best[:limit]:
            yield listed(space, child.sample, child.score, module.scorer.child)


def _check_trains(trainer: Any) -> None:
    """Make sure that there is a training: without one no child has a score."""
    for name in ("max_epochs", "max_steps", "limit_train_batches"):
        if getattr(trainer, name) == 0:
            raise ValueError(
                f"{name} of the evaluator's trainer is 0; accepted are others, as the supernet "
                "would not be trained"
            )
