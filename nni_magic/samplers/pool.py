"""PreNAS [Wang2023]: only the most promising children of every cost are trained.

[Wang2023] Wang et al., PreNAS: Preferred One-Shot Learning Towards Efficient Neural Architecture
Search.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from nni.mutable import LabeledMutable, Mutable, Sample

from ..children.costs import CostSum
from ..supernet.step import Turn
from ..support.errors import check_count, check_number
from .base import Probe
from .cost_groups import CostGroups
from .extremes import cost_range
from .uniform import UniformSampler

__all__ = ["PoolSampler", "best_of_groups"]

_logger = logging.getLogger(__name__)


def best_of_groups(
    children: Sequence[Sample], scores: Sequence[float], groups: Sequence[int], share: float
) -> list[Sample]:
    """Give the best share of the children of every group, one at least, best first.

    Children whose score is not finite are left out: they cannot be compared.

    Examples
    --------
    >>> best_of_groups([{"a": 0}, {"a": 1}, {"a": 2}], [1.0, 3.0, 2.0], [0, 0, 1], 0.5)
    [{'a': 1}, {'a': 2}]
    """
    members: dict[int, list[int]] = defaultdict(list)
    known = [i for i, score in enumerate(scores) if math.isfinite(score)]
    for i in sorted(known, key=lambda i: -scores[i]):
        members[groups[i]].append(i)
    return [
        children[i]
        for group in sorted(members)
        for i in members[group][: math.ceil(share * len(members[group]))]
    ]


class PoolSampler(UniformSampler):
    """Draws uniformly from a pool, which is chosen at the first step [Wang2023].

    Parameters
    ----------
    space, seed, filter
        See :class:`nni_magic.samplers.base.Sampler`.
    cost
        By which children are in groups.
    n_scored
        Uniform children that are scored by their saliency on the first batch; fewer where the
        space has no more.
    share
        Share of every group that makes the pool.
    n_groups
        Groups, of equal width between the costs of the smallest and the largest valid child.

    Attributes
    ----------
    children : list of dict or None
        The pool.

    Raises
    ------
    ValueError
        If all children cost the same.
    """

    def __init__(
        self,
        space: Mutable | Mapping[str, LabeledMutable],
        *,
        seed: int | Sequence[int],
        filter: Any = None,
        cost: CostSum,
        n_scored: int = 1000,
        share: float = 0.1,
        n_groups: int = 8,
    ) -> None:
        check_count("scored_children", n_scored)
        check_number("pool_share", share, above=0, at_most=1)
        check_count("cost_groups", n_groups)
        super().__init__(space, seed=seed, filter=filter)
        self.n_scored = n_scored
        self.share = share
        self.groups = CostGroups(cost, cost_range(self, cost), n_groups)

    def reset(self, seed: int | Sequence[int]) -> None:
        super().reset(seed)
        self.children = None

    def propose(self) -> Sample:
        """Draw from the pool; anywhere as long as there is none."""
        if self.children is None:
            return self.draw(self.candidates)
        return dict(self.children[int(self._rng.integers(len(self.children)))])

    def turns(self, probe: Probe) -> list[Turn]:
        """The next child of the pool, which is chosen now if it is not yet."""
        if self.children is None:
            self.children = self._chosen(probe)
        return [Turn(self.next())]

    def _chosen(self, probe: Probe) -> list[Sample] | None:
        """Choose the pool; not on a batch that the evaluator skips, or that gives no score."""
        found: dict[str, Sample] = {}
        for _ in range(10 * self.n_scored):
            child = self.next()
            found.setdefault(self.name(child), child)
            if len(found) == self.n_scored:
                break
        children = list(found.values())
        if math.isnan(probe.saliency(children[0])):
            return None
        scores = [probe.saliency(child) for child in children]
        pool = best_of_groups(children, scores, list(map(self.groups.of, children)), self.share)
        _logger.info("Of %d children scored %d make the pool", len(children), len(pool))
        return pool or None

    def state_dict(self) -> dict[str, Any]:
        pool = None if self.children is None else list(map(dict, self.children))
        return {**super().state_dict(), "pool": pool}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.children = state["pool"]
