r"""MAGIC-T [Xu2022]: a random walk in which adjacent samples differ in ``k`` labels.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nni.mutable import LabeledMutable, Mutable, Sample

from ..children import samples
from .base import Sampler

__all__ = ["GradualSampler"]


class GradualSampler(Sampler):
    r"""MAGIC-T: a walk whose adjacent samples differ in ``k`` active labels [Xu2022].

    The first sample is uniform. Each step then picks ``k`` distinct labels uniformly and gives
    each a different choice, uniform over the others. The walk's stationary distribution is
    uniform over all samples. The lazy walk comes within

    .. math:: d_{TV}(\pi_t, \pi) \le N e^{-t/N}

    of it after ``t`` steps over ``N`` labels. (The paper prints :math:`e^{-t/N - \ln N}`, but its
    own corollary, :math:`t \ge N \ln N + N \ln(1/\epsilon)`, needs :math:`+ \ln N`.)

    Two limits of the walk that is not lazy:

    - With two candidates a label it never converges: for odd ``k`` it alternates between two
      halves of the space for ever (the walk is periodic), for even ``k`` it never leaves one.
      Use ``lazy=True`` there.
    - In a conditional space it changes active labels only, so that no step is wasted, and with
      ``k = 1`` visits a sample in proportion to the number of its active labels that have more
      than one candidate. The lazy walk picks among all labels and is uniform.

    A filter makes the walk propose another neighbour, so it visits a sample in proportion to the
    chance that a proposal from there is allowed. A filter that leaves no path of allowed
    neighbours between two samples keeps the walk on one side. An upper bound alone on a sum over
    independent labels, such as FLOPs, always leaves one for ``k = 1``: from every sample the walk
    can go down to the cheapest. Two bounds close together may not.

    Parameters
    ----------
    space, seed, filter
        See :class:`Sampler`.
    k
        Labels changed by a step. When progressive shrinking leaves fewer labels with a choice,
        all of these change; when it leaves none, the sample stays.
    lazy
        Draw the ``k`` labels from all their choices, the present one included, as the coupling
        proof of the mixing bound assumes.

    Raises
    ------
    ValueError
        If ``k`` is not from 1 to the number of labels, of which only those with several candidates
        count unless the walk is lazy.
    """

    def __init__(
        self,
        space: Mutable | Mapping[str, LabeledMutable],
        *,
        seed: int | Sequence[int],
        filter: Any = None,
        k: int = 1,
        lazy: bool = False,
    ) -> None:
        super().__init__(space, seed=seed, filter=filter)
        # The lazy walk also picks labels of which the only choice stays.
        n = sum(lazy or len(choices) > 1 for choices in self.candidates.values())
        if k not in range(1, max(1, n) + 1):
            raise ValueError(
                f"k is {k!r}; accepted are whole numbers from 1 to {max(1, n)}, the number of "
                "labels to pick from"
            )
        self.k = k
        self.lazy = lazy

    def propose(self) -> Sample:
        """Draw a neighbour of the current sample, or the walk's first sample."""
        if self.current is None:
            return self.draw(self.candidates)
        if self.lazy:
            labels = list(self.candidates)
            picked = self._rng.choice(len(labels), self.k, replace=False)
            redrawn = {labels[i]: self.candidates[labels[i]] for i in picked}
            return {**self.current, **samples.random_sample(redrawn, self._rng)}
        movable = [
            label for label in self.active_labels(self.current) if len(self.candidates[label]) > 1
        ]
        if not movable:
            return dict(self.current)
        k = min(self.k, len(movable))
        return samples.neighbour(self.current, self.candidates, self._rng, k, movable)
