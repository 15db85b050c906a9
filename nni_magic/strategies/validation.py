"""Validate the same children on every batch, so that the validation metrics mean something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nni.mutable import Sample

from ..losses.term import TrainingSupernet
from ..samplers.streams import Stream
from ..supernet.calibration import Statistics
from ..supernet.evaluator_steps import validate_batch
from ..supernet.resume import RandomState

__all__ = ["Validation"]


class Validation:
    """Validates a few children, always the same, without moving what training draws from.

    A validation advances neither the sampler nor the global random generators.

    Every batch is validated by one child of the panel after another, each with the evaluator's
    hooks of the batch around its step. Metrics that are logged are means over the panel, and what
    the evaluator gathers over the epoch holds the rows of all children, batch by batch: hooks at
    the end of the epoch see the panel. (A score is of a validation of one child, see
    :meth:`nni_magic.scoring.scorer.Scorer.validate`.)

    Parameters
    ----------
    module
        The Lightning module that trains the supernet.
    n_children
        Size of the panel.
    """

    def __init__(self, module: TrainingSupernet, n_children: int) -> None:
        self._module = module
        self._n_children = n_children
        self._before: RandomState | None = None
        self._validated: list[tuple[Sample, Statistics]] = []
        self.reset()

    def reset(self, panel: Sequence[Sample] = ()) -> None:
        """Draw another panel when it is needed, or take this one."""
        self._panel = list(panel)
        self._drawn_from = self._module.sampler.children
        self._before = None

    @property
    def panel(self) -> list[Sample]:
        """A few valid children, distinct where the space allows, drawn once by the seed.

        Or once more, where the sampler has chosen the only children that it trains.
        """
        if not self._panel or self._drawn_from is not self._module.sampler.children:
            self._drawn_from = self._module.sampler.children
            self._panel = self._module.draw_children(self._n_children, Stream.PANEL)
        return self._panel

    @property
    def children(self) -> Sequence[Sample]:
        """The children over which metrics are averaged: those that a term names, or the panel."""
        named = (term.validated() for term in self._module.terms)
        return next((children for children in named if children is not None), self.panel)

    @property
    def generators(self) -> RandomState:
        """The state of the generators from which training goes on."""
        # Callbacks save at the end of a validation before the generators are put back.
        return self._before or RandomState.capture()

    def begin(self) -> None:
        """Take the BatchNorm statistics of the children, before the first batch."""
        self._before = RandomState.capture()
        self._validated = [(child, self._statistics(child)) for child in self.children]

    def step(self, batch: Any, *place: int) -> Any:
        """Run the evaluator's validation step, and its hooks of the batch, for each child.

        Parameters
        ----------
        batch
            The batch; all children but the last are given a copy.
        place
            Number of the batch and, where there are several loaders, of the loader.

        Returns
        -------
        object
            What the step returns for the last child.
        """
        output = None
        for n_left, (child, statistics) in zip(
            reversed(range(len(self._validated))), self._validated, strict=True
        ):
            self._module.router.set(child)
            with statistics:
                evaluator = self._module.training_module
                output = validate_batch(evaluator, batch, *place, own=n_left > 0)
        count = float(len(self._validated))
        self._module.log("supernet/validated_children", count, batch_size=1)
        return output

    def end(self) -> None:
        """Put the generators back to where they were when the validation began."""
        self.generators.restore()
        self._before = None

    def _statistics(self, child: Sample) -> Statistics:
        """Take a child's BatchNorm statistics; none in Lightning's check before training.

        There are no training data yet to take them on.
        """
        if self._module.trainer.sanity_checking:
            return Statistics([])
        with self._module.scorer.session():
            self._module.router.set(child)
            return self._module.scorer.statistics()
