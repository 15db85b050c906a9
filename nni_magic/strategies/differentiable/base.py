"""Base of the differentiable strategies, on NNI's ``DARTS``: seeded, resumable, scored as all.

The given space becomes a path-sampling supernet, as with every strategy here. What is trained is a
second supernet, NNI's mixture of all candidates, which holds the *same* weights: whatever searches,
scores or exports children finds them trained.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, cast

import nni_bootstrap  # noqa: F401
import torch
from nni.mutable import Categorical, CategoricalMultiple, Sample
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.oneshot.pytorch.strategy import DARTS
from nni.nas.space import RawFormatModelSpace
from torch import Tensor, nn
from torch.optim import Optimizer

from ...children.constraints import as_constraint
from ...children.samples import candidates
from ...scoring.listing import listed
from ...scoring.scorer import Scorer
from ...supernet.calibration import Calibrator
from ...supernet.connection import connected, held_out_data, training_data
from ...supernet.conversion import KeptSettings, to_supernet
from ...supernet.evaluator_hooks import EvaluatorHooks
from ...supernet.partial_channels import partial_channels
from ...supernet.replay import batches_done, resumable
from ..seeded import Seeded, check_hooks
from .architecture import Architecture
from .guards import check_kernels, validation_loader
from .module import TRAIN, VAL, MixtureModule
from .ordered import check_covers
from .partial_cell import PartialMixedCell
from .settings import DifferentiableSettings
from .shared_inputs import refuse_writes

__all__ = ["Differentiable"]

_logger = logging.getLogger(__name__)


class Differentiable(Seeded, KeptSettings, DARTS):
    """Base of the differentiable strategies.

    A subclass says what is between parameters and weights (:meth:`configure_softmax` and
    :meth:`read`), where the parameters begin (:meth:`begin`) and how they are trained
    (:meth:`make_optimizer`).

    Parameters
    ----------
    filter
        Constraint on the child that is chosen, as in NNI's ``RandomOneShot``: the most probable one
        that it allows is taken. The mixture is of all candidates.
    shrinking
        That of other strategies, which a mixture has no place for; accepted is ``None``.
    mutation_hooks
        As in NNI's ``OneShotStrategy``.
    terms
        Those of other strategies, for one child at a time; accepted are none.
    **settings
        Those of :attr:`settings_class`, by name.

    Attributes
    ----------
    settings : DifferentiableSettings
        The settings, with the seed that was given or drawn.
    supernet : ModelSpace
        The path-sampling supernet: the space that was given.
    mixture : ModelSpace
        What is trained; its weights are the supernet's.

    Raises
    ------
    TypeError
        If there is no such setting, or the filter or a hook is something else.
    ValueError
        If a setting is out of range, no child is inside a budget of the filter, or there is a
        shrinking or a term.
    """

    settings_class: ClassVar[type[DifferentiableSettings]] = DifferentiableSettings
    settings: DifferentiableSettings
    finds_child = True

    def __init__(
        self,
        filter: Any = None,
        *,
        shrinking: None = None,
        mutation_hooks: list[Any] | None = None,
        terms: Sequence[Any] = (),
        **settings: Any,
    ) -> None:
        if terms:
            raise ValueError(
                f"terms is {[term.name for term in terms]}; accepted are none, as "
                f"{type(self).__name__} trains all candidates together"
            )
        if shrinking is not None:
            raise ValueError(
                f"shrinking is {shrinking!r}; accepted is None, as {type(self).__name__} trains "
                "all candidates together"
            )
        check_hooks(mutation_hooks)
        super().__init__(mutation_hooks=mutation_hooks)
        self.filter = as_constraint(filter)
        self._settle(settings)

    # What a method says

    def read(self, parameter: Tensor) -> Tensor:
        """Weights of the candidates, which sum to 1, by an architecture parameter: softmax."""
        return parameter.softmax(-1)

    def begin(self, parameter: Tensor, generator: torch.Generator) -> None:
        """Set an architecture parameter to where it begins: near zero, as NNI does."""
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.copy_(1e-3 * noise)

    def make_optimizer(self, parameters: Sequence[nn.Parameter]) -> Optimizer:
        """Optimizer of the architecture parameters: Adam, with DARTS's settings."""
        rate = self.settings.arc_learning_rate
        return torch.optim.Adam(parameters, rate, betas=(0.5, 0.999), weight_decay=1e-3)

    @property
    def partial_channels(self) -> int | None:
        """K, of which one part of the channels is mixed; by default all are."""
        return None

    def before_step(self, module: MixtureModule) -> None:
        """Called before every step, with the module that makes it: does nothing."""

    @property
    def allowed(self) -> Callable[[Sample], bool] | None:
        """Which children may be chosen; by default all, or those that the filter allows."""
        return self.filter

    # What NNI asks

    def default_mutation_hooks(self) -> list[Any]:
        hooks = super().default_mutation_hooks()
        return hooks if self.partial_channels is None else [PartialMixedCell.mutate, *hooks]

    def mutate_model(self, model: Any) -> Any:
        _check_space(model)
        if self.partial_channels is not None and isinstance(model, ModelSpace):
            partial_channels(model, self.partial_channels)
        self._candidates = candidates(model)
        self.mixture = super().mutate_model(copy.deepcopy(model))
        check_kernels(self.mixture)
        refuse_writes(self.mixture)
        self.architecture = Architecture(self.mixture, self.read)
        if not self.architecture.parameters:
            raise ValueError(
                f"{type(model).__name__} has no choice that can be mixed; accepted are spaces with "
                "a LayerChoice, an InputChoice, a Cell, a Repeat or choices of layers' arguments"
            )
        if self.filter is not None:
            check_covers(self.architecture.weights(), self._candidates, "filter is given")
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            for parameter in self.architecture.parameters:
                self.begin(parameter, generator)
        self.architecture.require_gradient(not self.settings.bilevel)
        supernet = to_supernet(model)
        self._share(supernet)
        return supernet

    def _share(self, supernet: ModelSpace) -> None:
        """Let the supernet hold the mixture's weights and buffers: the same tensors, no copies."""
        own = set(self.architecture.names)
        held = self.mixture.state_dict(keep_vars=True)
        weights = {name: value for name, value in held.items() if name not in own}
        supernet.load_state_dict(weights, assign=True)

    def configure_oneshot_module(self, training_module: Any) -> MixtureModule:
        self._module = MixtureModule(
            training_module, self.mixture, self.architecture,
            self.make_optimizer(self.architecture.parameters), method=type(self).__name__,
            settings=self.settings, prepare=self.before_step, candidates=self._candidates,
            allowed=self.allowed, partial_channels=self.partial_channels,
        )  # fmt: skip
        return self._module

    def train_dataloader(self, train_dataloader_fn: Any, val_dataloader_fn: Any) -> Any:
        module, loaders = self._module, train_dataloader_fn()
        if self.settings.bilevel:
            loaders = {TRAIN: loaders, VAL: validation_loader(loaders, val_dataloader_fn())}
        return resumable(loaders, lambda: batches_done(module.trainer), module.replay)

    def _run(self) -> None:
        try:
            super()._run()
        finally:
            self._share(self.supernet)  # a trainer that moves weights makes buffers anew

    def list_models(
        self, sort: bool = True, limit: int | None = 1
    ) -> Iterator[RawFormatModelSpace]:
        """Give the child of the candidates with the largest weights, with its score as ``metric``.

        Its model has a copy of the weights, and the BatchNorm statistics, that it was scored with.

        Parameters
        ----------
        sort
            Must be true, as in NNI's one-shot strategies.
        limit
            How many; one is known.

        Raises
        ------
        RuntimeError
            If the strategy has not been run.
        """
        if not sort:
            raise ValueError("sort is False; accepted is True: one-shot strategies list the best")
        if limit is not None and limit > 1:
            _logger.warning("%d models are requested, but 1 is known", limit)
        space = cast(RawFormatModelSpace, self.model_space)
        evaluator = cast(Any, space.evaluator)
        if not evaluator.trainer.fit_loop.epoch_progress.current.ready:
            raise RuntimeError("the strategy has not been run: no child has a score yet")
        child, wrapper = self.oneshot_module.export(), EvaluatorHooks(evaluator.module)
        with connected(wrapper, self.supernet, evaluator):
            scorer = self._scorer(wrapper, evaluator)
            score, model = scorer(child), scorer.child(child)
        yield listed(space, child, score, lambda _: model)

    def _scorer(self, wrapper: EvaluatorHooks, evaluator: Any) -> Scorer:
        settings = self.settings
        calibrator = Calibrator(
            wrapper, lambda: training_data(evaluator), settings.calibration_batches
        )
        return Scorer(
            wrapper, metric=settings.metric, mode=settings.mode, calibrator=calibrator,
            n_batches=settings.validation_batches, loaders=held_out_data(evaluator),
        )  # fmt: skip


def _check_space(space: Any) -> None:
    """Make sure that a space has choices, and that all of them can be mixed."""
    if not isinstance(space, ModelSpace):
        return  # NNI says what it takes
    for label, mutable in space.simplify().items():
        if not isinstance(mutable, (Categorical, CategoricalMultiple)):
            raise ValueError(
                f"{label!r} of {type(space).__name__} is a {type(mutable).__name__}; accepted are "
                "spaces of choices among candidates, each independent of the others"
            )
