"""Base of all strategies: train a supernet, seeded, a few children a step.

Where NNI's ``RandomOneShot`` draws children without a seed, validates a random mixture and
exports an arbitrary child, the base here is seeded, scores fixed children, and exports the best
one known; its Lightning checkpoint holds all that a run needs to go on as if never stopped.

A strategy is three things: its settings, a sampler (:meth:`SupernetStrategy.make_sampler`) and
loss terms (:meth:`SupernetStrategy.make_terms`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, cast

import nni_bootstrap  # noqa: F401
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import RawFormatModelSpace

from ..children.constraints import as_constraint
from ..losses.term import LossTerm
from ..samplers.base import Sampler
from ..samplers.uniform import UniformSampler
from ..scoring.listing import listed
from ..supernet.conversion import PathSampling
from ..supernet.replay import batches_done, resumable
from .module import SupernetModule
from .seeded import Seeded, check_hooks
from .settings import SupernetSettings
from .shrinking import Shrinking

__all__ = ["SupernetStrategy"]

_logger = logging.getLogger(__name__)


class SupernetStrategy(Seeded, PathSampling):
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
    terms
        Of the loss, beside the method's own, such as
        :class:`nni_magic.losses.teacher.TeacherTerm`.
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
    settings: SupernetSettings
    turn_by_turn = False
    """Whether every turn of a step has a backward pass of its own, before the next turn is run; see
    :class:`nni_magic.strategies.turns.TurnRunner`."""

    def __init__(
        self,
        filter: Any = None,
        *,
        shrinking: Shrinking | None = None,
        mutation_hooks: list[Any] | None = None,
        terms: Sequence[LossTerm] = (),
        **settings: Any,
    ) -> None:
        if shrinking is not None and not isinstance(shrinking, Shrinking):
            raise TypeError(
                f"shrinking is {shrinking!r}; accepted are a ProgressiveShrinking(...) and what "
                "has its methods"
            )
        check_hooks(mutation_hooks)
        super().__init__(filter=as_constraint(filter), mutation_hooks=mutation_hooks)
        self._sampler: Sampler | None = None
        self._settle(settings)
        self.shrinking = shrinking
        self.terms = tuple(terms)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse what 0.3 asked for."""
        super().__init_subclass__(**kwargs)
        if old := [name for name in ("module_class", "module_settings") if name in vars(cls)]:
            raise TypeError(
                f"{cls.__name__} has {old[0]!r}, which 0.3 asked for; accepted are make_sampler, "
                "make_terms and settings_class"
            )
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
            training_module, self._sampler, [*self.make_terms(), *self.terms],
            method=type(self).__name__, settings=self.settings, shrinking=self.shrinking,
            turn_by_turn=self.turn_by_turn,
        )  # fmt: skip
        return self._module

    def train_dataloader(self, train_dataloader_fn: Any, val_dataloader_fn: Any) -> Any:
        module = self._module
        module.training_data = train_dataloader_fn()
        loaders = self.training_loaders(module.training_data)
        return resumable(loaders, lambda: batches_done(module.trainer), module.replay)

    def training_loaders(self, loaders: Any) -> Any:
        """Give the loaders that a training reads, of the evaluator's: here they themselves."""
        return loaders

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
