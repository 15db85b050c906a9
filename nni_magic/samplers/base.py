r"""What all path samplers share: which child model a training step trains.

A sampler is an endless, seeded sequence of samples. It owns its random generator, so that
global seeds, data loading and validation cannot disturb it, and its whole state goes into a
checkpoint.

A method derives from :class:`Sampler` and says how a sample is proposed; constraints, restriction
and state are the base class's. A method that trains several children a step, or weighs them, gives
:meth:`Sampler.turns` as well, and one that learns from what was trained :meth:`Sampler.tell`.
"""

from __future__ import annotations

import abc
import itertools
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from nni.mutable import LabeledMutable, Mutable, Sample
from nni.mutable.annotation import MutableAnnotation

from ..children import samples
from ..children.budgeted import BudgetedDraws, draws_inside
from ..children.conditional import is_conditional
from ..children.constraints import Constraint, as_constraint, check_budgets
from ..children.samples import Candidates
from ..supernet.step import Step, Turn
from ..support.errors import check_choice, check_seed
from .probe import Probe

__all__ = ["Probe", "Sampler"]

_logger = logging.getLogger(__name__)

class Sampler(abc.ABC):
    """A seeded sequence of samples; subclasses implement :meth:`propose`.

    Parameters
    ----------
    space
        A model space (plain or already a supernet), or what its ``simplify()`` returns. In the
        second form the structure is unknown and every label counts as active.
    seed
        Seeds the sampler's own generator.
    filter
        Constraint on samples, in any form of :func:`nni_magic.children.constraints.as_constraint`.
        Constraints that the space itself holds are always kept.

    Attributes
    ----------
    current : dict or None
        The sample given last.
    candidates : dict
        What each label may take; see :meth:`restrict`.
    reseated : int
        How often the current sample had to be replaced because a candidate of it was deleted.

    Raises
    ------
    ValueError
        If the seed is negative, or a budget of the filter is of another space.
    """

    children: Sequence[Sample] | None = None
    """The only children that are trained, where they are counted; others are not scored either."""

    watches_gradients = False
    """Whether :meth:`tell` needs ``gradient_norm``, which costs a pass over all gradients."""

    watches_losses = False
    """Whether :meth:`tell` needs losses that are means over the processes of DDP."""

    tries = 1000
    """Proposals rejected in a row after which :meth:`next` gives up."""

    def __init__(
        self,
        space: Mutable | Mapping[str, LabeledMutable],
        *,
        seed: int | Sequence[int],
        filter: Any = None,
    ) -> None:
        self._all = samples.candidates(space)
        self.candidates: dict[str, list[Any]] = dict(self._all)
        self.filter: Constraint | None = as_constraint(filter)
        check_budgets(self.filter, self._all)
        self._draws: tuple[Candidates, BudgetedDraws | None] | None = None
        self.current: Sample | None
        self._space = space if isinstance(space, Mutable) else None
        self._conditional = is_conditional(space)
        self._active: tuple[Sample, list[str]] = {}, []
        mutables = space.simplify() if isinstance(space, Mutable) else space
        self._annotations = [m for m in mutables.values() if isinstance(m, MutableAnnotation)]
        self.reset(seed)

    def reset(self, seed: int | Sequence[int]) -> None:
        """Start again from a seed: the same seed gives the same samples. Restrictions stay."""
        check_seed("seed", seed)
        self._rng = np.random.default_rng(seed)
        self.current = None
        self.reseated = 0

    def draw(self, candidates: Candidates) -> Sample:
        """Draw a uniform sample, within the filter's budget if it has one.

        See :mod:`nni_magic.children.budgeted`. Other constraints may still reject the sample.
        """
        if self._draws is None or self._draws[0] is not candidates:
            self._draws = candidates, draws_inside(self.filter, candidates)
        inside = self._draws[1]
        return samples.random_sample(candidates, self._rng) if inside is None else inside(self._rng)

    @abc.abstractmethod
    def propose(self) -> Sample:
        """Draw a sample from ``candidates`` with ``self._rng``, whether allowed or not."""

    def next(self) -> Sample:
        """Draw the next sample that meets all constraints.

        Where candidates were deleted and none is found from the current sample, one is drawn from
        scratch, which is counted in :attr:`reseated` and logged.

        Returns
        -------
        dict
            A choice for every label of the space; the caller's to keep.

        Raises
        ------
        RuntimeError
            If :attr:`tries` proposals in a row are rejected.
        """
        while True:
            for _ in range(self.tries):
                proposal = self.propose()
                if self.allows(proposal):
                    self.current = proposal
                    return dict(proposal)
            if self.current is None or self.candidates == self._all:
                break
            _logger.info("Deleted candidates left no way on from the current child: begun anew")
            self.current = None
            self.reseated += 1
        start = "from scratch" if self.current is None else f"from the sample {self.current}"
        raise RuntimeError(
            f"no valid sample in {self.tries} tries {start}: {self._constraint()} rejected all of "
            f"them, the last one {proposal}; loosen it"
        )

    def turns(self, probe: Probe) -> list[Turn]:
        """Children that the next optimizer step trains, one at least; here the next one alone.

        Parameters
        ----------
        probe
            Looks at children on the step's first batch.
        """
        return [Turn(self.next())]

    def tell(self, step: Step) -> None:
        """Called after every batch with what was trained on it, for methods that learn from it."""

    def end(self, probe: Probe) -> None:
        """Called when the training is over, before the children known are scored anew.

        Parameters
        ----------
        probe
            Scores children on the validation data; there is no batch any more.
        """

    def _constraint(self) -> str:
        return "the space's constraint" if self.filter is None else f"filter {self.filter!r}"

    def allows(self, sample: Sample) -> bool:
        """Tell whether a sample meets the constraints of the space and the filter."""
        # Each has a copy, as NasBench101's constraint writes to it.
        return all(annotation.contains(dict(sample)) for annotation in self._annotations) and (
            self.filter is None or bool(self.filter(dict(sample)))
        )

    def active_labels(self, sample: Sample) -> Collection[str]:
        """Labels that shape the child model of a sample; all of them in most spaces."""
        if not self._conditional:
            return sample.keys()
        asked, labels = self._active  # a walk asks again for every proposal that is rejected
        if asked != sample:
            assert self._space is not None
            active = samples.active_labels(self._space, sample)
            labels = [label for label in sample if label in active]  # a set has no stable order
            self._active = dict(sample), labels
        return labels

    def distance(self, a: Sample, b: Sample) -> int:
        """Count the active labels in which two samples differ."""
        return samples.distance(a, b, self.active_labels if self._conditional else None)

    def name(self, sample: Sample) -> str:
        """Digest of the child model: of the active labels and their choices."""
        return samples.digest({label: sample[label] for label in self.active_labels(sample)})

    def restrict(self, allowed: Mapping[str, Collection[Any]]) -> None:
        """Keep only some candidates, as progressive shrinking does.

        When the current sample holds a deleted candidate, it is replaced at once: the labels
        concerned are drawn anew, or all labels if that gives no valid sample. This is counted in
        :attr:`reseated` and logged.

        Parameters
        ----------
        allowed
            Label to the choices that stay. Labels not named keep what they have.

        Raises
        ------
        ValueError
            If a label is unknown or would be left without a candidate.
        TypeError
            If choices are a string, which would keep every candidate that is a part of it.
        RuntimeError
            If no valid sample is found to replace the current one; nothing is deleted then.
        """
        kept = dict(self.candidates)
        for label, choices in allowed.items():
            check_choice("label", label, kept)
            if isinstance(choices, str):
                raise TypeError(
                    f"allowed[{label!r}] is {choices!r}; accepted are collections of choices"
                )
            kept[label] = [choice for choice in kept[label] if choice in choices]
            if not kept[label]:
                raise ValueError(
                    f"allowed[{label!r}] is {list(choices)!r}; accepted are choices that leave one "
                    f"at least of {self.candidates[label]}"
                )
        self._reseat(kept)
        self.candidates = kept

    def _reseat(self, kept: Candidates) -> None:
        gone = {
            label: choices
            for label, choices in kept.items()
            if self.current is not None and self.current[label] not in choices
        }
        if not gone:
            return
        assert self.current is not None
        near = (
            {**self.current, **samples.random_sample(gone, self._rng)} for _ in range(self.tries)
        )
        anywhere = (self.draw(kept) for _ in range(self.tries))
        replacement = next(filter(self.allows, itertools.chain(near, anywhere)), None)
        if replacement is None:
            raise RuntimeError(
                f"deleting candidates of {sorted(gone)} leaves no valid sample, neither near "
                f"{self.current} nor elsewhere, in {self.tries} tries each: {self._constraint()} "
                "rejected them"
            )
        _logger.info("Deleted candidates of %s were in the current child: replaced", sorted(gone))
        self.current = replacement
        self.reseated += 1

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next sample depends on, in plain types and tensors."""
        return {
            "generator": self._rng.bit_generator.state,
            "current": None if self.current is None else dict(self.current),
            "candidates": {label: list(choices) for label, choices in self.candidates.items()},
            "reseated": self.reseated,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken.

        Raises
        ------
        ValueError
            If the state is of a space with other labels or choices.
        """
        if state["candidates"].keys() != self.candidates.keys():
            raise ValueError(
                "the state is of another model space; labels that differ: "
                f"{sorted(state['candidates'].keys() ^ self.candidates.keys())}"
            )
        for label, choices in state["candidates"].items():
            if foreign := [choice for choice in choices if choice not in self._all[label]]:
                raise ValueError(
                    f"the state is of another model space: label {label!r} has no choice "
                    f"{foreign[0]!r}, only {self._all[label]}"
                )
        self._rng.bit_generator.state = state["generator"]
        self.current = None if state["current"] is None else dict(state["current"])
        self.candidates = {label: list(choices) for label, choices in state["candidates"].items()}
        self.reseated = state["reseated"]
