"""Base of all strategies: train a supernet, one seeded child model a step.

Where NNI's ``RandomOneShot`` draws children without a seed, validates a random mixture and
exports an arbitrary child, the base here is seeded, scores fixed children, and exports the best
one known; its Lightning checkpoint holds all that a run needs to go on as if never stopped.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from typing import Any, cast

import nni_bootstrap  # noqa: F401
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.oneshot.pytorch.strategy import RandomOneShot
from nni.nas.space import RawFormatModelSpace
from torch.utils._pytree import tree_map

from ..samplers.base import Sampler, UniformSampler
from ..scoring.listing import listed
from ..scoring.scorer import Mode
from ..supernet.resume import batches_done, resumable
from ..support.errors import check_count
from .module import Shrinking, SupernetModule

__all__ = ["SupernetStrategy"]

_logger = logging.getLogger(__name__)


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
    calibration_batches
        Training batches on which a child's BatchNorm statistics are taken anew before it is
        scored or validated; with 0 the supernet's are used as they are, which fit no child. Of no
        meaning without BatchNorm.
    validation_children
        Children on a fixed, seeded panel whose mean the validation metrics are.
    shrinking
        Deletes candidates after every epoch until one child is left:
        :class:`nni_magic.search.ProgressiveShrinking`.
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
        calibration_batches: int = 4,
        validation_children: int = 8,
        shrinking: Shrinking | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(filter=filter, **kwargs)
        if mode not in ("min", "max"):
            raise ValueError(f"mode is {mode!r}; accepted are 'min' and 'max'")
        check_count("validation_batches", validation_batches)
        check_count("validation_children", validation_children)
        if seed is None:
            seed = secrets.randbits(32)
            _logger.warning("No seed is given; drew %d, which repeats this run", seed)
        self.seed = seed
        self.shrinking = shrinking
        self.scoring: dict[str, Any] = {
            "metric": metric,
            "mode": mode,
            "validation_batches": validation_batches,
            "calibration_batches": calibration_batches,
            "validation_children": validation_children,
        }

    def make_sampler(self, space: ModelSpace) -> Sampler:
        """Create what decides which child a step trains: here uniform and independent."""
        return UniformSampler(space, seed=self.seed, filter=self.filter)

    def module_settings(self) -> dict[str, Any]:
        """Keyword arguments for the Lightning module."""
        return {"seed": self.seed, "shrinking": self.shrinking, **self.scoring}

    def mutate_model(self, model: Any) -> Any:
        self._sampler = self.make_sampler(model)
        return super().mutate_model(model)

    def configure_oneshot_module(self, training_module: Any) -> SupernetModule:
        self._module = self.module_class(training_module, self._sampler, **self.module_settings())
        return self._module

    def train_dataloader(self, train_dataloader_fn: Any, val_dataloader_fn: Any) -> Any:
        module = self._module
        module.training_data = train_dataloader_fn()
        return resumable(
            module.training_data, lambda: batches_done(module.trainer), module.replay
        )

    def val_dataloader(self, train_dataloader_fn: Any, val_dataloader_fn: Any) -> Any:
        # Not to continue, as validation always starts over, but to be iterated late: inside the
        # block in which the global random generators are kept.
        return tree_map(resumable, val_dataloader_fn())

    def list_models(
        self, sort: bool = True, limit: int | None = 1
    ) -> Iterator[RawFormatModelSpace]:
        """Give the best children seen, best first, each with its score as ``metric``.

        With BatchNorm their models have the statistics that they were scored with, and weights of
        their own; else they share theirs with the supernet.

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
        module = cast(SupernetModule, self.oneshot_module)
        best = module.best_children()
        if limit is not None and limit > len(best):
            _logger.warning("%d models are requested, but %d are known", limit, len(best))
        space = cast(RawFormatModelSpace, self.model_space)
        for sample, score in best[:limit]:
            yield listed(space, sample, score, module.scorer.child)
