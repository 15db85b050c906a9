r"""DARTS with a choice by perturbation in place of the largest weights [Wang2021].

The mixture is trained as by DARTS. Then, block by block in an order that the seed tells,

.. math::
    o^\star = \arg\max_o\; \ell(\theta \text{ without } o)

the candidate is chosen whose removal hurts the mixture most on held-out data, and the others leave
the block; the mixture is trained on for ``tune_epochs`` before the next block. A weight of the
mixture says how much a candidate is used in it, which need not be how much it is needed.

==================  ====================================================================
:math:`\ell`        ``metric``, by default the validation loss, of the mixture as it is,
                    with BatchNorm statistics of its own
==================  ====================================================================

The choices take the last epochs of the training, ``tune_epochs`` for every block.

Differences from the paper: the removed candidate's weight is set to zero, and the others keep
theirs, as in the authors' code. They tune with a tenth of the learning rate; here the evaluator's
schedule goes on. The authors choose by accuracy, which ``metric`` can say. Operators of a ``Cell``
whose inputs are chosen, too, are not there: the authors then choose edges in a second round.

[Wang2021] Wang et al., Rethinking Architecture Selection in Differentiable NAS, ICLR 2021.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any, cast

import nni_bootstrap  # noqa: F401
import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ...scoring.scorer import better
from ...supernet.epochs import epochs_in_all
from .base import Differentiable
from .mixture_score import MixtureScorer
from .module import MixtureModule
from .ordered import check_covers
from .sampling import Stream, generator_of
from .settings import DartsPTSettings

__all__ = ["Chosen", "DartsPT"]

_logger = logging.getLogger(__name__)


class Chosen(nn.Module):
    """Softmax, without the candidate that is removed, and of chosen ones nothing else.

    Attributes
    ----------
    chosen : dict of str to int
        Label to the index of the chosen candidate.
    removed : tuple of str and int, or None
        Label and index of the candidate that is left out for now.
    """

    def __init__(self) -> None:
        super().__init__()
        self.chosen: dict[str, int] = {}
        self.removed: tuple[str, int] | None = None
        self._labels: dict[int, str] = {}

    def name(self, parameters: Mapping[str, Tensor]) -> None:
        """Take the labels of all parameters."""
        self._labels = {id(parameter): label for label, parameter in parameters.items()}

    def forward(self, parameter: Tensor) -> Tensor:
        label = self._labels.get(id(parameter), "")
        if label in self.chosen:
            index = torch.tensor(self.chosen[label], device=parameter.device)
            return one_hot(index, len(parameter)).to(parameter.dtype)
        theta = parameter.softmax(-1)
        if self.removed is not None and self.removed[0] == label:
            left = torch.arange(len(parameter), device=parameter.device) != self.removed[1]
            theta = theta * left
        return theta

    def progress(self) -> dict[str, int]:
        """What was chosen, for a checkpoint."""
        return dict(self.chosen)

    def resume(self, progress: Mapping[str, int]) -> None:
        """Go on from there."""
        self.chosen = dict(progress)


class DartsPT(Differentiable):
    """Train a mixture, and choose block by block the candidate whose removal hurts it most.

    Parameters are those of :class:`nni_magic.strategies.differentiable.base.Differentiable`, with
    :class:`nni_magic.strategies.differentiable.settings.DartsPTSettings`.

    Raises
    ------
    ValueError
        If there is a filter, as a block's candidate is chosen without regard to other blocks'; or
        the trainer's epochs are not known or too few for all blocks.
    """

    settings_class = DartsPTSettings
    settings: DartsPTSettings

    def __init__(self, filter: Any = None, **settings: Any) -> None:
        if filter is not None:
            raise ValueError(
                f"filter is {filter!r}; accepted is None, as DartsPT chooses block by block"
            )
        super().__init__(None, **settings)

    def mutate_model(self, model: Any) -> Any:
        self._mixing = Chosen()
        supernet = super().mutate_model(model)
        check_covers(self.architecture.weights(), self._candidates, "strategy is DartsPT")
        self._mixing.name(self.architecture.by_label)
        return supernet

    def configure_softmax(self) -> nn.Module:
        return self._mixing  # one for all choices

    def read(self, parameter: Tensor) -> Tensor:
        return cast(Tensor, self._mixing(parameter))

    def allowed(self, sample: Any) -> bool:
        """Any child may be exported: the most probable one is of the chosen candidates."""
        return True

    def configure_oneshot_module(self, training_module: Any) -> MixtureModule:
        module = super().configure_oneshot_module(training_module)
        module.kept = self._mixing
        return module

    def train_dataloader(self, train_dataloader_fn: Any, val_dataloader_fn: Any) -> Any:
        self._scorer_in_training = MixtureScorer(
            self._module, train_dataloader_fn, val_dataloader_fn, self.settings
        )
        return super().train_dataloader(train_dataloader_fn, val_dataloader_fn)

    def before_step(self, module: MixtureModule) -> None:
        """Choose what is due in this epoch."""
        order = self._order(module.seed)
        for label in order[len(self._mixing.chosen) : self._due(module.trainer)]:
            scores = self._scores(label)
            self._mixing.chosen[label] = index = worst(scores, self._scorer_in_training.mode)
            candidate = self._candidates[label][index]
            rank_zero_info(f"{label!r} is {candidate!r}; without each candidate: {scores}")

    def _run(self) -> None:
        super()._run()
        if left := [each for each in self.architecture.by_label if each not in self._mixing.chosen]:
            _logger.warning(
                "The training ended early: the candidates of %s are those of the largest weights, "
                "and not chosen by perturbation",
                ", ".join(left),
            )

    def _order(self, seed: int) -> list[str]:
        labels = list(self.architecture.by_label)
        drawn = torch.randperm(len(labels), generator=generator_of(seed, Stream.ORDER))
        return [labels[i] for i in drawn.tolist()]

    def _due(self, trainer: Any) -> int:
        """How many blocks are to be chosen by now."""
        blocks, tune = len(self.architecture.by_label), self.settings.tune_epochs
        epochs = epochs_in_all(trainer)
        if not blocks * tune < epochs < math.inf:
            raise ValueError(
                f"max_epochs of the trainer is {trainer.max_epochs}, and max_steps "
                f"{trainer.max_steps}, which makes {epochs} epochs; accepted are more than "
                f"{blocks * tune}, the {blocks} blocks times tune_epochs, which is {tune}"
            )
        first = int(epochs) - blocks * tune
        return max(0, (trainer.current_epoch - first) // tune + 1)

    def _scores(self, label: str) -> list[float]:
        """Metric of the mixture without each candidate of a block."""
        scores = []
        try:
            for index in range(len(self._candidates[label])):
                self._mixing.removed = (label, index)
                scores.append(self._scorer_in_training.score())
        finally:
            self._mixing.removed = None
        return scores


def worst(scores: list[float], mode: Any) -> int:
    """Index of the worst score, the first of equal ones.

    >>> worst([0.2, 0.7, 0.7], "min"), worst([0.2, 0.7, 0.7], "max")
    (1, 0)
    """
    found = 0
    for index, score in enumerate(scores):
        if better(scores[found], score, mode):
            found = index
    return found
