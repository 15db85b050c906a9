r"""MAGIC-T [Xu2022]: a random walk in which adjacent samples differ in ``k`` labels.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nni.mutable import LabeledMutable, Mutable, Sample

from ..children import samples
from ..support.errors import check_count, check_flag
from .base import Sampler

__all__ = ["GradualSampler", "reaches_all"]


class GradualSampler(Sampler):
    r"""MAGIC-T: a walk whose adjacent samples differ in ``k`` active labels [Xu2022].

    The first sample is uniform. Each step then picks ``k`` distinct labels uniformly and gives
    each a different choice, uniform over the others. The walk's stationary distribution is
    uniform over all samples. The lazy walk comes within

    .. math:: d_{TV}(\pi_t, \pi) \le N e^{-t/N}

    of it after ``t`` steps over ``N`` labels. (The paper prints :math:`e^{-t/N - \ln N}`, but its
    own corollary, :math:`t \ge N \ln N + N \ln(1/\epsilon)`, needs :math:`+ \ln N`.)

    The walk that is not lazy has three limits, and ``lazy=True`` none of them:

    - It must change labels independently enough to reach all samples; see :func:`reaches_all`.
      Otherwise ``k`` is refused. (It is not refused in a conditional space, of which this is not
      known. While progressive shrinking deletes candidates, such a space may come about.)
    - With two candidates a label it never converges: it alternates between two halves of the
      space for ever (the walk is periodic).
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
        count unless the walk is lazy; or with this ``k`` the walk would not reach all samples.
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
        check_flag("lazy", lazy)
        # The lazy walk also picks labels of which the only choice stays.
        sizes = [n for n in map(len, self.candidates.values()) if lazy or n > 1]
        check_count("k", k, at_most=max(1, len(sizes)))
        if not (lazy or self._conditional or reaches_all(sizes, k)):
            raise ValueError(_too_alike(sizes, k))
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


def reaches_all(sizes: Sequence[int], k: int) -> bool:
    """Tell whether steps that change ``k`` labels each lead from any sample to any other.

    Labels of three candidates or more are free: two steps can undo each other in all labels but
    one. Of those with two candidates the number that differs from the start is all that counts.

    - With no others it stays even for ever where ``k`` is even: half of the samples are reached.
    - Where ``k`` is the number of all labels, they change all together at every step.

    Parameters
    ----------
    sizes
        Number of candidates, 2 at least, of every label.
    k
        Labels that a step changes, at most all.

    Examples
    --------
    >>> reaches_all([2, 2, 2], 2), reaches_all([2, 2, 2], 1), reaches_all([2, 2, 3], 2)
    (False, True, True)
    """
    pairs = sum(size == 2 for size in sizes)
    always_even = pairs == len(sizes) and k % 2 == 0
    return pairs < 2 or not (always_even or k == len(sizes))


def _too_alike(sizes: Sequence[int], k: int) -> str:
    """Say why a walk would not reach all samples."""
    if all(size == 2 for size in sizes):
        accepted, why = f"odd numbers below {len(sizes)}", "all labels have two candidates"
    else:
        accepted, why = f"1 to {len(sizes) - 1}", "several labels have two candidates"
    if k < len(sizes):
        never = "a walk that changes an even number of them never reaches half of the children"
    else:
        never = "a walk that changes all labels changes these together, and separates them never"
    return f"k is {k!r}; accepted are {accepted}, and with lazy=True all: {why}, and {never}"
